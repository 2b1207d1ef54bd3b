"""SQL on our own database: (conn, values) → values. The query is a constant above its one function."""
