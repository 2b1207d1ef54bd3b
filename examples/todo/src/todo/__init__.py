"""A list of things to do, kept in a PostgreSQL database."""
