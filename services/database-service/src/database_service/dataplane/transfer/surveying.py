"""The look before a move: how much there is, what stands in the way, what would stay behind. Reads catalogs only."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from database_service.dataplane import databases, ddl
from database_service.dataplane.connect import AdminSessions, Session
from database_service.dataplane.transfer import belongings, fencing
from database_service.domain import naming
from database_service.domain.errors import NameTaken
from database_service.domain.tenancy import Admin, TenantSpec
from database_service.domain.transfers import MOVABLE_EXTENSIONS, Survey

FEW = 5
"""So many of a kind are named; the others are counted."""

FIRST_OURS = ddl.FIRST_OURS

COPIED_FROM = "default"
"""A copy brings all its objects along, so it begins in the template that has none."""


@dataclass(frozen=True, slots=True)
class Extension:
    name: str
    version: str
    schema: str
    schema_oid: int
    schema_owner: str
    owner: str


# -- what is in the way -----------------------------------------------------------------------------------------------

_OBJECTS = f"""
WITH named AS (
    SELECT 'pg_class'::regclass AS class, oid, 0 AS part, relowner AS owner, relacl AS acl FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, relowner, attacl
              FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE attacl IS NOT NULL
    UNION ALL SELECT 'pg_proc'::regclass, oid, 0, proowner, proacl FROM pg_proc
    UNION ALL SELECT 'pg_namespace'::regclass, oid, 0, nspowner, nspacl FROM pg_namespace
    UNION ALL SELECT 'pg_type'::regclass, t.oid, 0, typowner, typacl FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
              WHERE typtype <> 'c' OR c.relkind = 'c'
    UNION ALL SELECT 'pg_largeobject'::regclass, oid, 0, lomowner, lomacl FROM pg_largeobject_metadata
    UNION ALL SELECT 'pg_language'::regclass, oid, 0, lanowner, lanacl FROM pg_language
    UNION ALL SELECT 'pg_default_acl'::regclass, oid, 0, defaclrole, defaclacl FROM pg_default_acl
    UNION ALL SELECT 'pg_foreign_data_wrapper'::regclass, oid, 0, fdwowner, fdwacl FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'pg_foreign_server'::regclass, oid, 0, srvowner, srvacl FROM pg_foreign_server
    UNION ALL SELECT 'pg_operator'::regclass, oid, 0, oprowner, NULL FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid, 0, opcowner, NULL FROM pg_opclass
    UNION ALL SELECT 'pg_opfamily'::regclass, oid, 0, opfowner, NULL FROM pg_opfamily
    UNION ALL SELECT 'pg_collation'::regclass, oid, 0, collowner, NULL FROM pg_collation
    UNION ALL SELECT 'pg_conversion'::regclass, oid, 0, conowner, NULL FROM pg_conversion
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, 0, cfgowner, NULL FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, 0, dictowner, NULL FROM pg_ts_dict
    UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, 0, stxowner, NULL FROM pg_statistic_ext
    UNION ALL SELECT 'pg_publication'::regclass, oid, 0, pubowner, NULL FROM pg_publication
    UNION ALL SELECT 'pg_event_trigger'::regclass, oid, 0, evtowner, NULL FROM pg_event_trigger
), objects AS (
    SELECT named.*, EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = named.oid AND deptype = 'e') AS is_part
    FROM named
    WHERE (named.oid >= {FIRST_OURS} OR class = 'pg_namespace'::regclass AND named.oid = to_regnamespace('public')
           OR class = 'pg_largeobject'::regclass)
      AND NOT (class IN ('pg_proc'::regclass, 'pg_type'::regclass)
               AND EXISTS (SELECT FROM pg_depend WHERE classid = class AND objid = named.oid AND deptype = 'i'))
      AND NOT (class = 'pg_proc'::regclass AND EXISTS (SELECT FROM pg_proc p WHERE p.oid = named.oid
               AND pronamespace = 'pg_catalog'::regnamespace AND proname IN ('{ddl.ON_ROWS}', '{ddl.ON_OBJECTS}')))
      AND NOT (class = 'pg_event_trigger'::regclass
               AND EXISTS (SELECT FROM pg_event_trigger e WHERE e.oid = named.oid AND evtname = '{ddl.ON_OBJECTS}'))
      AND NOT EXISTS (SELECT FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
                      WHERE class = 'pg_class'::regclass AND pg_class.oid = named.oid AND n.nspname ~ '^pg_(toast|temp)')
      AND NOT (class = 'pg_namespace'::regclass
               AND EXISTS (SELECT FROM pg_namespace n WHERE n.oid = named.oid AND n.nspname ~ '^pg_(toast|temp)'))
)
"""
"""All that has an owner or can be granted, and is not PostgreSQL's own; `part` is a column's number.

Nor what stops a database that is too large: that is taken away before it is moved, and only a superuser could have made it."""

_FOREIGN = f"""{_OBJECTS}
SELECT pg_describe_object(class, oid, 0) AS what, pg_get_userbyid(owner)::text AS owner
FROM objects
WHERE NOT is_part AND pg_get_userbyid(owner)::text <> ALL ($1::text[] || 'pg_database_owner'::text)
ORDER BY what
"""

_ADDED = f"""{_OBJECTS}
SELECT pg_describe_object(class, oid, 0) AS what FROM objects
WHERE is_part AND pg_get_userbyid(owner)::text = ANY ($1::text[]) ORDER BY what
"""

_GRANTED = f"""{_OBJECTS}
SELECT DISTINCT pg_describe_object(class, objects.oid, part) AS what, entry.privilege_type AS privilege,
       pg_get_userbyid(entry.grantee)::text AS grantee, pg_get_userbyid(entry.grantor)::text AS grantor,
       entry.grantor <> owner AS lent, coalesce(future.begins, '') AS begins,
       format('%s%s ON %s FROM %I', entry.privilege_type, ' (' || quote_ident(attname) || ')',
              CASE class WHEN 'pg_class'::regclass THEN 'TABLE ' || objects.oid::regclass
                         WHEN 'pg_proc'::regclass THEN 'ROUTINE ' || objects.oid::regprocedure
                         WHEN 'pg_namespace'::regclass THEN 'SCHEMA ' || objects.oid::regnamespace
                         WHEN 'pg_type'::regclass THEN 'TYPE ' || objects.oid::regtype
                         WHEN 'pg_largeobject'::regclass THEN 'LARGE OBJECT ' || objects.oid
                         WHEN 'pg_default_acl'::regclass THEN future.kind
                         ELSE pg_describe_object(class, objects.oid, part) END,
              pg_get_userbyid(entry.grantee)) AS revocation
FROM objects CROSS JOIN aclexplode(acl) AS entry
LEFT JOIN pg_attribute ON class = 'pg_class'::regclass AND attrelid = objects.oid AND attnum = part AND part > 0
LEFT JOIN (SELECT oid, format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s ', pg_get_userbyid(defaclrole),
                              ' IN SCHEMA ' || nullif(defaclnamespace, 0)::regnamespace) AS begins,
                  CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES'
                                     WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind
           FROM pg_default_acl) AS future ON class = 'pg_default_acl'::regclass AND future.oid = objects.oid
WHERE NOT is_part AND coalesce(shobj_description(entry.grantee, 'pg_authid'), '') <> '{ddl.MOVER_MARK}'
  AND (entry.grantor <> owner
       OR entry.grantee <> 0 AND pg_get_userbyid(entry.grantee)::text <> ALL ($1::text[] || 'pg_database_owner'::text))
ORDER BY what, privilege
"""
"""Of a role that is not of the database, or by one that is not the owner."""

_DATABASE_GRANTS = """
SELECT pg_get_userbyid(acl.grantee)::text AS role, privilege_type AS privilege
FROM pg_database, aclexplode(datacl) AS acl
WHERE datname::text = $1 AND acl.grantee <> 0 AND pg_get_userbyid(acl.grantee)::text <> ALL ($2::text[])
ORDER BY role, privilege
"""

_OBSTACLES = f"""
SELECT 'The ' || CASE prokind WHEN 'p' THEN 'procedure ' ELSE 'function ' END || oid::regprocedure::text
       || CASE WHEN proleakproof THEN ' is LEAKPROOF' ELSE ' is written in ' || lanname END
       || ', which only a superuser can make; drop it or have it made by a supported extension.' AS sentence
FROM (SELECT p.*, lanname, lanpltrusted FROM pg_proc p JOIN pg_language l ON l.oid = prolang) AS functions
WHERE oid >= {FIRST_OURS} AND prokind <> 'a' AND (proleakproof OR NOT lanpltrusted)
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = functions.oid AND deptype IN ('e', 'i'))
UNION ALL
SELECT 'The operator class ' || quote_ident(opcname) || ' can be made by a superuser only; drop it.' FROM pg_opclass
WHERE oid >= {FIRST_OURS}
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_opclass'::regclass AND objid = pg_opclass.oid AND deptype = 'e')
UNION ALL
SELECT 'The publication ' || quote_ident(pubname) || ' is of all tables, or of whole schemas, which only a superuser can say; '
       || 'drop it, or name its tables.'
FROM pg_publication
WHERE puballtables OR EXISTS (SELECT FROM pg_publication_namespace WHERE pnpubid = pg_publication.oid)
UNION ALL
SELECT 'The subscription ' || quote_ident(subname) || ' writes into this database; drop it.' FROM pg_subscription
WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
UNION ALL
SELECT 'The logical replication slot ' || quote_ident(slot_name) || ' is of this server; drop it.' FROM pg_replication_slots
WHERE database = current_database()
UNION ALL
SELECT 'The foreign server ' || quote_ident(srvname) || ' may hold passwords, which are not moved; drop it.'
FROM pg_foreign_server
"""

_EXTENSIONS = """
SELECT extname::text AS name, extversion AS version, nspname::text AS schema, n.oid::int8 AS schema_oid,
       pg_get_userbyid(nspowner)::text AS schema_owner, pg_get_userbyid(extowner)::text AS owner
FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace
WHERE extname <> 'plpgsql' ORDER BY e.oid
"""
"""In the order they were made, so one that needs another comes after it."""

_AVAILABLE = "SELECT name::text AS name, default_version AS version FROM pg_available_extensions"

_LOCALE = """
SELECT format('encoding %s, provider %s, collation %s, character type %s, locale %s', pg_encoding_to_char(encoding),
              datlocprovider, datcollate, datctype,
              coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale', 'none')) AS locale
FROM pg_database d WHERE datname::text = $1
"""

_MAJOR = "SELECT current_setting('server_version_num')::int / 10000 AS major"

# -- what stays behind ------------------------------------------------------------------------------------------------

_LOSSES = f"""
SELECT 'The index ' || indexrelid::regclass::text || ' is not valid; it would not be made again.' AS sentence
FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE NOT indisvalid AND c.relkind <> 'p'
UNION ALL
SELECT 'The materialized view ' || oid::regclass::text || ' would be refreshed.' FROM pg_class
WHERE relkind = 'm' AND relispopulated AND oid >= {FIRST_OURS}
UNION ALL
SELECT 'What is in the tablespace ' || quote_ident(spcname) || ' would be in the default one.' FROM pg_tablespace
WHERE oid IN (SELECT reltablespace FROM pg_class WHERE oid >= {FIRST_OURS})
ORDER BY sentence
"""

_STATISTICS = "Statistics are made anew: those for the planner at once, those of use (pg_stat_…) begin at zero."

_SIZE = f"""
SELECT pg_database_size(current_database()) AS size,
       (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND oid >= {FIRST_OURS} AND relpersistence <> 't') AS tables,
       (SELECT count(*) FROM pg_largeobject_metadata) AS large_objects
"""


async def survey(
    sessions: AdminSessions, source: Admin, tenant: TenantSpec, target: Admin | None, tools: int
) -> Survey:
    """See Transfers.survey. `tools` is the major version of pg_dump."""
    async with sessions.on(source) as outside:
        name = (await databases.look(outside, tenant)).require_database(tenant)
        async with sessions.inside(source, name) as inside:
            found = await extensions(inside)
            size = await inside.row(_SIZE)
            blockers = await obstacles(outside, inside, tenant, name, found)
            losses = await _losses(outside, inside, tenant, name)
        if target is not None:
            more, lost = await _meeting(sessions, outside, target, tenant, name, found, tools)
            blockers, losses = [*blockers, *more], [*losses, *lost]
    return Survey(
        size_bytes=size["size"],
        tables=size["tables"],
        large_objects=size["large_objects"],
        extensions=[each.name for each in found],
        blockers=blockers,
        losses=losses,
    )


async def extensions(inside: Session) -> Sequence[Extension]:
    """What a database has beside plpgsql, each after what it needs."""
    return [Extension(**row) for row in await inside.rows(_EXTENSIONS)]


async def obstacles(
    outside: Session, inside: Session, tenant: TenantSpec, name: str, found: Sequence[Extension]
) -> Sequence[str]:
    """Why no dump of this database by a mover could be restored by one; also whether somebody else could write to it."""
    roles = list(roles_of(tenant))
    foreign = await inside.rows(_FOREIGN, roles)
    added = await inside.rows(_ADDED, roles)
    obstacles = await inside.rows(_OBSTACLES)
    return [
        *(f"The extension {each.name!r} is not one that can be moved; drop it." for each in found if not _movable(each)),
        *_few(f"{_start(row['what'])} belongs to {row['owner']!r}, who is not of this database; drop it or give it "
              f"to {tenant.owner_role!r}." for row in foreign),
        *_few(f"{_start(row['what'])} was made part of an extension, and would be missing; "
              f"take it out with ALTER EXTENSION … DROP." for row in added),
        *_few(_of_grant(row) for row in await inside.rows(_GRANTED, roles)),
        *_few(f'{row["privilege"]} on the database is granted to {row["role"]!r}, who is not of it; '
              f'say: REVOKE {row["privilege"]} ON DATABASE "{name}" FROM "{row["role"]}".'
              for row in await outside.rows(_DATABASE_GRANTS, name, roles)),
        *_few(row["sentence"] for row in obstacles),
        *await fencing.others(outside, name, roles),
        *await fencing.prepared(outside, name),
    ]  # fmt: skip


def roles_of(tenant: TenantSpec) -> Sequence[str]:
    return (tenant.owner_role, *(login.role for login in tenant.logins))


def _movable(extension: Extension) -> bool:
    return extension.name in MOVABLE_EXTENSIONS


def _start(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _of_grant(row: asyncpg.Record) -> str:
    """A role that is not there cannot be granted anything, and only a superuser grants in somebody else's name."""
    what, privilege = row["what"], row["privilege"]
    if row["lent"]:
        return (
            f"{privilege} on {what} was granted to {row['grantee']!r} by {row['grantor']!r}, who does not own it; "
            f"revoke that, and grant it as the owner."
        )
    return (
        f"{privilege} on {what} is granted to {row['grantee']!r}, who is not of this database; "
        f"say: {row['begins']}REVOKE {row['revocation']}."
    )


def _few(sentences: Iterator[str]) -> Sequence[str]:
    found = list(sentences)
    return found if len(found) <= FEW else [*found[:FEW], f"… and {len(found) - FEW} more of this kind."]


async def _losses(outside: Session, inside: Session, tenant: TenantSpec, name: str) -> Sequence[str]:
    known = await belongings.read(outside, name, roles_of(tenant))
    return [
        *(row["sentence"] for row in await inside.rows(_LOSSES)),
        *(f"The setting {each.name} names files of its server and would be left out."
          for each in sorted(known.settings) if each.name in belongings.PRELOADED),
        _STATISTICS,
    ]  # fmt: skip


# -- both servers -----------------------------------------------------------------------------------------------------


async def _meeting(
    sessions: AdminSessions,
    outside: Session,
    target: Admin,
    tenant: TenantSpec,
    name: str,
    found: Sequence[Extension],
    tools: int,
) -> tuple[Sequence[str], Sequence[str]]:
    """Blockers and losses that only show between two servers."""
    async with sessions.on(target) as there:
        available = {row["name"]: row["version"] for row in await there.rows(_AVAILABLE)}
        blockers = [
            *_versions(await _major(outside), await _major(there), tools),
            *await _locales(outside, name, there),
            *await _taken(there, tenant),
            *(
                f"The target does not have the extension {each.name!r}; install it there, or drop it."
                for each in found
                if _movable(each) and each.name not in available
            ),
        ]
    return blockers, list(_other_versions(found, available))


def _other_versions(found: Sequence[Extension], available: Mapping[str, str]) -> Iterator[str]:
    for each in found:
        version = available.get(each.name, each.version)
        if version != each.version:
            yield f"The extension {each.name!r} would be of version {version} instead of {each.version}."


async def _major(session: Session) -> int:
    major: int = (await session.row(_MAJOR))["major"]
    return major


def _versions(source: int, target: int, tools: int) -> Iterator[str]:
    if source > target:
        yield f"The source is PostgreSQL {source} and the target only {target}; move it to one that is not older."
    if tools < max(source, target):
        yield (
            f"pg_dump and pg_restore are of PostgreSQL {tools} and the servers of up to {max(source, target)}; "
            f"set POSTGRES_BIN_DIR to programs that are not older."
        )


async def _locales(outside: Session, name: str, there: Session) -> Iterator[str]:
    here = (await outside.row(_LOCALE, name))["locale"]
    template = await there.rows(_LOCALE, naming.template_database(COPIED_FROM))
    if not template:
        return iter(["The target has no template to make databases from; have it hardened first."])
    if template[0]["locale"] != here:
        return iter([f"The source has {here}; the target has {template[0]['locale']}. Choose another target."])
    return iter(())


async def _taken(there: Session, tenant: TenantSpec) -> Sequence[str]:
    standing = await databases.look(there, tenant)
    try:
        standing.refuse_foreign_roles(tenant, *(login.role for login in tenant.logins))
        standing.refuse_foreign_databases()
    except NameTaken as e:
        return [str(e)]
    return ()
