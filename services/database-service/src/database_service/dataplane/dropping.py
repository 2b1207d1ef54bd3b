"""Databases that are dropped, and those whose drop a server's death cut short.

PostgreSQL marks a database as invalid (`datconnlimit` is -2) before it deletes files, and a mark outlives a crash. From then on
it refuses everything but another DROP: a session that alters such a database is ended.
"""

from collections.abc import Iterable

from database_service.dataplane import ddl
from database_service.dataplane.connect import Session

INVALID = "datconnlimit = -2"
"""SQL about a row of `pg_database`: its drop was begun and not ended."""

_TEMPLATES = "SELECT datname::text AS name FROM pg_database WHERE datname::text = ANY ($1::text[]) AND datistemplate"


async def drop_databases(session: Session, names: Iterable[str]) -> None:
    """All of these, which are there. A tenant may have declared its database a template, which could not be dropped."""
    going = sorted(names)
    if not going:
        return
    templates = await session.rows(_TEMPLATES, going)
    await session.run(*(ddl.no_template(row["name"]) for row in templates), *map(ddl.drop_database, going))
