"""What Alembic runs: our own `migrate` hands a connection in; the `alembic` command opens one from the settings."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from database_service.settings import load_settings
from database_service.store.migrate import alone


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=None)
    context.run_migrations()


async def run_from_command_line() -> None:
    async with alone(load_settings().database_dsn()) as connection:
        await connection.run_sync(run)


if context.is_offline_mode():
    raise SystemExit("Offline mode is not needed: shared/configs/postgres holds the whole schema as one script.")
if given := context.config.attributes.get("connection"):
    run(given)
else:
    asyncio.run(run_from_command_line())
