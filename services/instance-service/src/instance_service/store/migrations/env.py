"""What Alembic runs: `store.migrate` hands a connection in."""

from alembic import context
from sqlalchemy import Connection

connection = context.config.attributes.get("connection")
if not isinstance(connection, Connection):
    raise SystemExit("The service migrates its own database when it first uses it; there is nothing to run by hand.")
context.configure(connection=connection, target_metadata=None)
context.run_migrations()
