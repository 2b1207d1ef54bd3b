"""SQL on our own database: (conn, values) -> values. One statement per function; no transaction of its own, no decision."""
