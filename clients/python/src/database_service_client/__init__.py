"""The client of database-service: databases on demand, typed, sync and async."""
