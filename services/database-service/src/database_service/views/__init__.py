"""What the doors may show: SELECTs in READ ONLY transactions. Never a write, never a secret."""
