"""The terminal door, `dbs`: it talks to the API, except where there is none yet (up, serve, migrate, doctor)."""
