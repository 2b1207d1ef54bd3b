"""The register of a server: a table that tells whose its databases are, in the maintenance database, for superusers alone.

Not a comment: every tenant may read the comments on databases and roles, and the owner of a database may change its own.
"""

import json
from collections.abc import Mapping, Sequence

from database_service.dataplane import ddl
from database_service.dataplane.connect import Session
from database_service.dataplane.ddl import Script
from database_service.domain.ids import ServerId
from database_service.domain.register import Entry, Kind, Registered, Standing

SCHEMA = "dbs_register"

_MAKE = f"""
SELECT pg_advisory_xact_lock(hashtext('{SCHEMA}'));
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE IF NOT EXISTS {SCHEMA}.entries (
  id uuid PRIMARY KEY, kind text NOT NULL, server_id uuid NOT NULL, owner_role text NOT NULL, version bigint NOT NULL,
  told jsonb NOT NULL)"""
"""Nobody but superusers has anything in a schema that is made like this."""

_TOLD = "jsonb_to_recordset(%L::jsonb) AS e (id uuid, kind text, server_id uuid, owner_role text, version bigint, told jsonb)"

_CLEAR = f"""
DELETE FROM {SCHEMA}.entries r WHERE r.server_id = %L::uuid AND r.kind = 'database'
  AND (NOT EXISTS (SELECT FROM pg_database d JOIN pg_authid o ON o.oid = d.datdba WHERE o.rolname::text = r.owner_role)
    OR r.owner_role IN (SELECT owner_role FROM {_TOLD}) AND r.id NOT IN (SELECT id FROM {_TOLD}))"""
"""What is not there any more is forgotten, and what is now known as something else. What only has no row is not: its row may
have been lost."""

_WRITE = f"""
INSERT INTO {SCHEMA}.entries AS r SELECT * FROM {_TOLD}
ON CONFLICT (id) DO UPDATE SET server_id = excluded.server_id, owner_role = excluded.owner_role, version = excluded.version,
  told = excluded.told
WHERE r.version < excluded.version
  OR r.version = excluded.version
    AND (r.server_id, r.owner_role, r.told) <> (excluded.server_id, excluded.owner_role, excluded.told)"""
"""A row that came out of a backup does not write over what is newer; what is there already is not written again."""


async def make(session: Session) -> None:
    """Have an empty one, where there is none."""
    await session.run(Script(_MAKE))


async def write(session: Session, server_id: ServerId, entries: Sequence[Entry]) -> None:
    """See Tenants.write_register."""
    told = json.dumps([_as_json(entry) for entry in entries])
    scripts = (Script(_MAKE), Script(_CLEAR, (str(server_id), told, told)), Script(_WRITE, (told,)))
    await session.run(ddl.joined(scripts))


def _as_json(entry: Entry) -> Mapping[str, object]:
    return {
        "id": str(entry.id),
        "kind": entry.kind,
        "server_id": str(entry.server_id),
        "owner_role": entry.owner_role,
        "version": entry.version,
        "told": dict(entry.told),
    }


_THERE = f"SELECT to_regclass('{SCHEMA}.entries') IS NOT NULL AS there"

_ENTRIES = (
    f"SELECT id, kind, server_id, owner_role, version, told::text AS told FROM {SCHEMA}.entries ORDER BY kind, id"
)

_DATABASES = """
SELECT d.datname::text AS name, o.rolname::text AS owner,
       coalesce(bool_or(l.rolcanlogin), false) AS open,
       coalesce(array_agg(l.rolname::text) FILTER (WHERE l.oid IS NOT NULL), '{}') AS logins
FROM pg_database d JOIN pg_authid o ON o.oid = d.datdba
LEFT JOIN pg_auth_members m ON m.roleid = o.oid
LEFT JOIN pg_authid l ON l.oid = m.member AND shobj_description(l.oid, 'pg_authid') = $2
WHERE NOT o.rolsuper AND NOT o.rolcanlogin AND shobj_description(o.oid, 'pg_authid') = $1
GROUP BY d.datname, o.rolname ORDER BY name
"""


async def read(session: Session) -> Registered:
    """See Tenants.registered."""
    there = (await session.row(_THERE))["there"]
    entries = await session.rows(_ENTRIES) if there else ()
    databases = await session.rows(_DATABASES, ddl.OWNER_MARK, ddl.LOGIN_MARK)
    return Registered(
        entries=tuple(
            Entry(
                id=row["id"],
                kind=Kind(row["kind"]),
                server_id=row["server_id"],
                owner_role=row["owner_role"],
                version=row["version"],
                told=json.loads(row["told"]),
            )
            for row in entries
        ),
        databases=tuple(
            Standing(row["name"], row["owner"], row["open"], frozenset(row["logins"])) for row in databases
        ),
    )
