"""How many requests are worked on at once, and who waits, stands aside or is sent away. Knows nothing of HTTP, rows or servers."""
