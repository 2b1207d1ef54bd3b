"""Bring the control plane's own database to a revision, and tell the schema as one script."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from database_service.domain.errors import ControlDatabaseUnavailable, InvalidField, SchemaInUse
from database_service.store.pool import AWAY

HEAD = "head"
LOCK_S = 4
"""Less than what requests wait for a lock, so that none fails for a migration that cannot begin."""
LOCK_NOT_AVAILABLE = "55P03"
_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_LOCK = 0x6462735F6D696772  # "dbs_migr": the same number for everybody who migrates
_VERSION_TABLE = """\
CREATE TABLE alembic_version (
    version_num varchar(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version (version_num) VALUES ('{revision}');
"""


@asynccontextmanager
async def alone(dsn: str) -> AsyncIterator[AsyncConnection]:
    """One transaction on our own database that nobody else migrates beside: a second one waits, and finds it done.

    Raises ControlDatabaseUnavailable and SchemaInUse.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn, timeout=10), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            # Behind a table that a dump holds, everybody else would queue: better it fails soon and is tried again.
            await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_S}s'"))
            yield connection
    except (DBAPIError, *AWAY) as e:
        if getattr(getattr(e, "orig", e), "sqlstate", None) == LOCK_NOT_AVAILABLE:
            raise SchemaInUse from e
        if isinstance(e, DBAPIError) and not e.connection_invalidated:
            raise
        raise ControlDatabaseUnavailable from e
    finally:
        await engine.dispose()


async def migrate(dsn: str, to: str = HEAD) -> tuple[str, str]:
    """Go to this revision (`head`, `base` or an id), forward or back, in one transaction; give both, before and after.

    Raises ControlDatabaseUnavailable, and InvalidField where there is no such revision.
    """
    async with alone(dsn) as connection:
        return await connection.run_sync(_go, to)


async def revisions(dsn: str) -> tuple[str, str]:
    """The revision the database has (`base`: none) and the newest there is. Raises ControlDatabaseUnavailable."""
    async with alone(dsn) as connection:
        return await connection.run_sync(_current), newest()


def newest() -> str:
    """The id of the newest revision."""
    return ScriptDirectory.from_config(_config()).get_current_head() or "base"


def schema_script() -> str:
    """The whole schema as one script, stamped, so that a database made from it is not migrated again."""
    body = "\n".join(_sql(script, "up") for script in _oldest_first())
    return _script(
        "The whole schema as it stands: all revisions, oldest first.", body + _VERSION_TABLE.format(revision=newest())
    )


def rollback_script() -> str:
    """What takes `schema_script` back, and every table's data with it."""
    body = "\n".join(_sql(script, "down") for script in reversed(_oldest_first()))
    return _script("Takes the whole schema back. Everything in it is lost.", body + "DROP TABLE alembic_version;\n")


def _script(what: str, body: str) -> str:
    return f"""\
-- {what}
-- Made from the revisions by `make schema`; apply with: psql -v ON_ERROR_STOP=1 -f

BEGIN;

{body}
COMMIT;
"""


def _sql(script: Script, way: str) -> str:
    return (_VERSIONS / f"{script.path.rpartition('/')[2].removesuffix('.py')}.{way}.sql").read_text()


def _oldest_first() -> list[Script]:
    return list(ScriptDirectory.from_config(_config()).walk_revisions())[::-1]


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "database_service.store:migrations")
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or "base"


def _go(connection: Connection, to: str) -> tuple[str, str]:
    before = _current(connection)
    config = _config(connection)
    try:
        _direction(config, before, to)(config, to)
    except CommandError:
        raise InvalidField("revision", f"there is no revision {to!r}") from None
    return before, _current(connection)


def _direction(config: Config, current: str, to: str) -> Callable[[Config, str], None]:
    if to == HEAD or to not in _ancestors(config, current):
        return command.upgrade
    return command.downgrade


def _ancestors(config: Config, current: str) -> Iterator[str]:
    if current == "base":
        return
    yield "base"
    for script in ScriptDirectory.from_config(config).iterate_revisions(current, "base"):
        if script.revision != current:
            yield script.revision
