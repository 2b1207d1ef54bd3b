"""SQL on our own database: (conn, values) -> values. One statement per function; never a transaction of its own, never a decision."""
