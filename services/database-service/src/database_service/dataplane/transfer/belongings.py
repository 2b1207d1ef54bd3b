"""What belongs to a database and is in no dump of it: its settings and those of its roles, its comment, who may what with it."""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from database_service.dataplane import ddl
from database_service.dataplane.connect import Session
from database_service.dataplane.ddl import Script

PLAN_SETTINGS = ("role", "statement_timeout", "idle_in_transaction_session_timeout", "temp_file_limit")
"""A login's own, wherever it logs in: its plan sets them on the target."""
PRELOADED = ("local_preload_libraries", "session_preload_libraries")
"""They name files of one server."""


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    role: str
    """Whose; empty for everybody in the database."""
    here: bool
    """In this database alone."""
    name: str
    value: str


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    role: str
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True)
class Belongings:
    settings: Set[Setting]
    grants: Set[Grant]
    comment: str | None


_SETTINGS = """
SELECT coalesce(role.rolname::text, '') AS role, setdatabase <> 0 AS here,
       split_part(entry, '=', 1) AS name, substr(entry, strpos(entry, '=') + 1) AS value
FROM pg_db_role_setting CROSS JOIN unnest(setconfig) AS entry LEFT JOIN pg_authid role ON role.oid = setrole
WHERE (setdatabase = (SELECT oid FROM pg_database WHERE datname::text = $1) OR setdatabase = 0)
  AND (role.rolname::text = ANY ($2::text[]) OR setrole = 0 AND setdatabase <> 0)
  AND NOT (setdatabase = 0 AND split_part(entry, '=', 1) = ANY ($3::text[]))
"""

_GRANTS = """
SELECT pg_get_userbyid(acl.grantee)::text AS role, privilege_type AS privilege, is_grantable AS grantable
FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS acl
WHERE datname::text = $1 AND pg_get_userbyid(acl.grantee)::text = ANY ($2::text[])
"""

_COMMENT = "SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname::text = $1"


async def read(session: Session, database: str, roles: Sequence[str]) -> Belongings:
    settings = await session.rows(_SETTINGS, database, list(roles), list(PLAN_SETTINGS))
    grants = await session.rows(_GRANTS, database, list(roles))
    return Belongings(
        settings={Setting(**row) for row in settings},
        grants={Grant(**row) for row in grants},
        comment=(await session.row(_COMMENT, database))["comment"],
    )


def scripts(there: Belongings, here: Belongings, database: str) -> Iterator[Script]:
    """What makes `here`, which is of this database, like `there`."""
    for setting in sorted(there.settings - here.settings):
        if setting.name not in PRELOADED:
            yield ddl.set_for(database if setting.here else None, setting.role or None, setting.name, setting.value)
    for grant in sorted(there.grants - here.grants):
        yield ddl.grant_on_database(database, grant.privilege, grant.role, grantable=grant.grantable)
    for grant in sorted(here.grants - there.grants):
        yield ddl.revoke_on_database(database, grant.privilege, grant.role)
    if there.comment and there.comment != here.comment:
        yield ddl.comment_on_database(database, there.comment)


def differences(there: Belongings, here: Belongings) -> Iterator[str]:
    """In words, without values: a setting may be anything, also a secret."""
    for setting in sorted(_moved(there.settings) ^ _moved(here.settings)):
        whose = f"the role {setting.role!r}" if setting.role else "the database"
        yield f"The setting {setting.name} of {whose} differs."
    for grant in sorted(there.grants ^ here.grants):
        yield f"{grant.privilege} on the database differs for the role {grant.role!r}."
    if there.comment != here.comment:
        yield "The comment on the database differs."


def _moved(settings: Set[Setting]) -> Set[Setting]:
    return {setting for setting in settings if setting.name not in PRELOADED}
