"""The statements we send to tenant servers, as values. Names and texts are quoted by the server that will run them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import accumulate, pairwise

from database_service.domain.plans import Limits

FIRST_OURS = 16384
"""Objects with lower ids are PostgreSQL's own."""

OWNER_MARK = "database-service: owner of a tenant database"
"""The comment by which we know an owner role again. Only a superuser, or who administers the role, can write it."""

LOGIN_MARK = "database-service: login of a tenant database"
"""The same for logins: a member of the owner role that somebody else made is not ours to close or drop."""

MOVER_MARK = "database-service: mover of a tenant database"
"""The same for the role that dumps and restores: there only while a database is on its way."""

OVERLAPPING_LOGINS = 2
"""Logins of one database that may use all their connections at once: the old and the new one of a rotation."""


@dataclass(frozen=True, slots=True)
class Script:
    """Statements that are one transaction. `values` fill its places in order: `%I` is a name, `%L` a text."""

    template: str
    values: tuple[str, ...] = ()


def joined(scripts: Iterable[Script]) -> Script:
    """All of them in one transaction."""
    parts = tuple(scripts)
    return Script(";\n".join(p.template for p in parts), tuple(v for p in parts for v in p.values))


RENDER = """
SELECT array_agg(format(t.template, VARIADIC ($2::text[])[t.first:t.last]) ORDER BY t.ordinal)
FROM unnest($1::text[], $3::int[], $4::int[]) WITH ORDINALITY AS t (template, first, last, ordinal)
"""


def render_arguments(scripts: Iterable[Script]) -> tuple[list[str], list[str], list[int], list[int]]:
    """What RENDER takes: templates, all values, and of which to which (from 1, inclusive) belong to each template."""
    parts = tuple(scripts)
    ends = list(accumulate((len(p.values) for p in parts), initial=0))
    first, last = [a + 1 for a, _ in pairwise(ends)], ends[1:]
    return [p.template for p in parts], [v for p in parts for v in p.values], first, last


# -- roles ------------------------------------------------------------------------------------------------------------


def change_password(role: str, verifier: str) -> Script:
    return Script("ALTER ROLE %I PASSWORD %L", (role, verifier))


def create_owner(owner: str) -> Script:
    return joined(
        (
            Script("CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS", (owner,)),
            Script("COMMENT ON ROLE %I IS %L", (owner, OWNER_MARK)),
        )
    )


def create_login(role: str, owner: str, verifier: str, limits: Limits) -> Script:
    """A login that acts as the owner. It keeps INHERIT, so that it may use what the owner may also after RESET ROLE."""
    return joined(
        (
            Script(
                "CREATE ROLE %I LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS "
                f"CONNECTION LIMIT {limits.connections:d} PASSWORD %L",
                (role, verifier),
            ),
            Script("COMMENT ON ROLE %I IS %L", (role, LOGIN_MARK)),
            Script("GRANT %I TO %I", (owner, role)),
            _acts_as(role, owner),
            _times(role, limits),
        )
    )


def reopen_login(role: str, owner: str, verifier: str, limits: Limits) -> Script:
    """The same for one that is there: the password that is stored becomes the server's, whatever it was."""
    opened = Script(f"ALTER ROLE %I LOGIN CONNECTION LIMIT {limits.connections:d} PASSWORD %L", (role, verifier))
    return joined((opened, _acts_as(role, owner), _times(role, limits)))


def limit_login(role: str, limits: Limits) -> Script:
    return joined((Script(f"ALTER ROLE %I CONNECTION LIMIT {limits.connections:d}", (role,)), _times(role, limits)))


def open_login(role: str) -> Script:
    return Script("ALTER ROLE %I LOGIN", (role,))


def close_login(role: str) -> Script:
    return Script("ALTER ROLE %I NOLOGIN", (role,))


def drop_role(role: str) -> Script:
    return Script("DROP ROLE IF EXISTS %I", (role,))


def give_up_objects(role: str, heir: str) -> Script:
    """In one database: what `role` owns goes to `heir`, what was granted to it is revoked."""
    return joined((Script("REASSIGN OWNED BY %I TO %I", (role, heir)), give_up_grants(role)))


def give_up_grants(role: str) -> Script:
    return Script("DROP OWNED BY %I", (role,))


def _acts_as(role: str, owner: str) -> Script:
    return Script("ALTER ROLE %I SET role = %L", (role, owner))


def _times(role: str, limits: Limits) -> Script:
    """Only a superuser may change temp_file_limit; the times a session may change itself, and `enforce` minds that."""
    settings = {
        "statement_timeout": _milliseconds(limits.statement_timeout),
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction_timeout),
        "temp_file_limit": f"{limits.temp_file_bytes // 1024}kB",
    }
    return joined(Script(f"ALTER ROLE %I SET {name} = '{value}'", (role,)) for name, value in settings.items())


def _milliseconds(span: timedelta) -> str:
    return f"{max(1, span // timedelta(milliseconds=1))}ms"


# -- databases --------------------------------------------------------------------------------------------------------


class Strategy(StrEnum):
    """FILE_COPY sustains more creations, WAL_LOG answers sooner: its pages are written again by the next checkpoint."""

    FILE_COPY = "FILE_COPY"
    WAL_LOG = "WAL_LOG"


def create_database(name: str, owner: str, template: str, strategy: Strategy) -> Script:
    """Nobody enters it before `open_database`: it is PUBLIC's until then, as no ACL is inherited from a template."""
    return Script(
        f"CREATE DATABASE %I OWNER %I TEMPLATE %I STRATEGY {strategy} ALLOW_CONNECTIONS false", (name, owner, template)
    )


def open_database(name: str, owner: str, limits: Limits) -> Script:
    """Its logins reach it through the owner role; nobody else may."""
    return joined(
        (
            close_to_public(name),
            Script("GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I", (name, owner)),
            Script(f"ALTER DATABASE %I ALLOW_CONNECTIONS true CONNECTION LIMIT {_sessions(limits):d}", (name,)),
        )
    )


def limit_database(name: str, limits: Limits) -> Script:
    return Script(f"ALTER DATABASE %I CONNECTION LIMIT {_sessions(limits):d}", (name,))


def close_database(name: str) -> Script:
    """A second bolt: it keeps out whom the tenant let in. Its owner could lift it, but nobody can log in as that."""
    return Script("ALTER DATABASE %I CONNECTION LIMIT 0", (name,))


def rename_database(old: str, new: str) -> Script:
    return Script("ALTER DATABASE %I RENAME TO %I", (old, new))


def no_template(name: str) -> Script:
    return Script("ALTER DATABASE %I IS_TEMPLATE false", (name,))


def drop_database(name: str) -> Script:
    return Script("DROP DATABASE %I WITH (FORCE)", (name,))


def close_to_public(name: str) -> Script:
    return Script("REVOKE ALL ON DATABASE %I FROM PUBLIC", (name,))


def clone_pristine(name: str) -> Script:
    return Script("CREATE DATABASE %I TEMPLATE template0 STRATEGY WAL_LOG", (name,))


def seal_template(name: str) -> Script:
    """No session can enter a sealed template, so none can stand in the way of CREATE DATABASE."""
    return Script("ALTER DATABASE %I IS_TEMPLATE true; ALTER DATABASE %I ALLOW_CONNECTIONS false", (name, name))


def _sessions(limits: Limits) -> int:
    return limits.connections * OVERLAPPING_LOGINS


# -- stops ------------------------------------------------------------------------------------------------------------

ON_ROWS = "dbs_storage_is_full"
"""Our function that refuses rows; its triggers begin with the same name."""

ON_OBJECTS = "dbs_storage_is_full_for_objects"
"""The function that refuses objects, and the event trigger that calls it."""

_PASSING = ("GRANT", "REVOKE", "COMMENT", "REINDEX")

_REFUSING = f"""
CREATE OR REPLACE FUNCTION pg_catalog.{ON_ROWS}() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $dbs$
BEGIN
    IF pg_trigger_depth() = 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded', MESSAGE = %L, HINT = %L;
    END IF;
    RETURN NULL;
END $dbs$;
CREATE OR REPLACE FUNCTION pg_catalog.{ON_OBJECTS}() RETURNS event_trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $dbs$
BEGIN
    IF tg_tag LIKE 'DROP %%' AND tg_tag <> 'DROP TRIGGER' OR tg_tag IN {_PASSING}
       OR (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
        RETURN;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'configuration_limit_exceeded', MESSAGE = tg_tag || ': ' || %L, HINT = %L;
END $dbs$"""
"""What a DELETE sets off, a foreign key's UPDATE or a note of a trigger's, passes: it is deeper than what a user says. DROP
TRIGGER and ALTER TABLE do not: both could take the refusal away."""

_ALLOWING = f"""
CREATE OR REPLACE FUNCTION pg_catalog.{ON_ROWS}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
DROP EVENT TRIGGER IF EXISTS {ON_OBJECTS};
DROP FUNCTION IF EXISTS pg_catalog.{ON_OBJECTS}()"""

_HINT = (
    "SELECT, DELETE, TRUNCATE, DROP and VACUUM work. TRUNCATE and DROP free space at once, DELETE only with a VACUUM FULL "
    "of the table. Or change to a bigger plan."
)
_BRIEFLY = Script("SET LOCAL lock_timeout = '1s'")
"""Whoever waits for a table keeps others waiting behind."""


def refusing(storage: str) -> Script:
    said = f"this database uses all of the {storage} of its plan; it takes new rows and objects again below 90 percent of that"
    return Script(_REFUSING, (said, _HINT, said, _HINT))


def refuse_objects_from_now_on() -> Script:
    return Script(f"CREATE EVENT TRIGGER {ON_OBJECTS} ON ddl_command_start EXECUTE FUNCTION pg_catalog.{ON_OBJECTS}()")


def refuse_rows(trigger: str, schema: str, table: str) -> Script:
    create = (
        f"CREATE TRIGGER %I BEFORE INSERT OR UPDATE ON %I.%I FOR EACH STATEMENT EXECUTE FUNCTION pg_catalog.{ON_ROWS}()"
    )
    return joined((_BRIEFLY, Script(create, (trigger, schema, table))))


def take_rows(trigger: str, schema: str, table: str) -> Script:
    return joined((_BRIEFLY, Script("DROP TRIGGER IF EXISTS %I ON %I.%I", (trigger, schema, table))))


def allowing() -> Script:
    """At once, and waiting for nobody: triggers that are still there let everything pass."""
    return Script(_ALLOWING)


def forget_refusing() -> Script:
    return Script(f"DROP FUNCTION IF EXISTS pg_catalog.{ON_ROWS}()")


# -- movers -----------------------------------------------------------------------------------------------------------

MOVER_SESSIONS = 32
"""Jobs of a dump or restore, and those who compare. A tenant's function that calls itself the mover gets no more either."""


def create_mover(role: str, verifier: str, until: str) -> Script:
    """It sees every row, whatever the policies say, of what it is made a member of; and is nobody's superuser."""
    return joined(
        (
            Script(f"CREATE ROLE %I {_MOVER} PASSWORD %L VALID UNTIL %L", (role, verifier, until)),
            Script("COMMENT ON ROLE %I IS %L", (role, MOVER_MARK)),
        )
    )


def renew_mover(role: str, verifier: str, until: str) -> Script:
    return Script(f"ALTER ROLE %I {_MOVER} PASSWORD %L VALID UNTIL %L", (role, verifier, until))


_MOVER = f"LOGIN INHERIT BYPASSRLS NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT {MOVER_SESSIONS}"


def lend(role: str, mover: str) -> Script:
    """What `role` may, and to make things that are its own."""
    return Script("GRANT %I TO %I WITH INHERIT TRUE, SET TRUE", (role, mover))


def show(what: str, names: Sequence[str], mover: str) -> Script:
    """`what` has places for the names. A superuser grants as the owner, so the owner could do the same."""
    privilege = "USAGE" if what.startswith("SCHEMA") else "SELECT"
    return Script(f"GRANT {privilege} ON {what} TO %I", (*names, mover))


def show_settings(mover: str) -> Script:
    return Script("GRANT SELECT ON pg_catalog.pg_db_role_setting TO %I", (mover,))


def hide_settings(mover: str) -> Script:
    return Script("REVOKE SELECT ON pg_catalog.pg_db_role_setting FROM %I", (mover,))


def forget_settings(role: str, database: str) -> Script:
    """Whoever acted as the role may have set something for its next session."""
    return Script("ALTER ROLE %I RESET ALL; ALTER ROLE %I IN DATABASE %I RESET ALL", (role, role, database))


def unlimit_database(name: str) -> Script:
    """Its logins are shut out, so the limit would be in nobody's way but the mover's."""
    return Script("ALTER DATABASE %I CONNECTION LIMIT -1", (name,))


def analyze() -> Script:
    """All tables of the database that the role may analyze."""
    return Script("ANALYZE")


# -- what a dump leaves to us -----------------------------------------------------------------------------------------


def create_schema(name: str, owner: str) -> Script:
    return Script("CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION %I", (name, owner))


def drop_public() -> Script:
    return Script("DROP SCHEMA public")


def create_extension(name: str, schema: str) -> Script:
    return Script("CREATE EXTENSION %I SCHEMA %I", (name, schema))


def as_role(role: str, script: Script) -> Script:
    """One transaction in which that role does it."""
    return joined((Script("SET LOCAL ROLE %I", (role,)), script))


def comment_on_database(name: str, text: str) -> Script:
    return Script("COMMENT ON DATABASE %I IS %L", (name, text))


def grant_on_database(name: str, privilege: str, role: str, *, grantable: bool) -> Script:
    """`privilege` is a word of PostgreSQL's own, as its catalogs tell it."""
    return Script(f"GRANT {privilege} ON DATABASE %I TO %I{' WITH GRANT OPTION' if grantable else ''}", (name, role))


def revoke_on_database(name: str, privilege: str, role: str) -> Script:
    return Script(f"REVOKE {privilege} ON DATABASE %I FROM %I", (name, role))


LIST_SETTINGS = frozenset({"search_path", "temp_tablespaces"})
"""Lists of quoted names: one text in quotes would be one name."""


def set_for(database: str | None, role: str | None, name: str, value: str) -> Script:
    """A setting of the database, of the role, or of the role in the database."""
    whose, names = _whose(database, role)
    if name in LIST_SETTINGS:
        return joined(
            (
                Script("SELECT set_config(%L, %L, true)", (name, value)),
                Script(f"ALTER {whose} SET %I FROM CURRENT", (*names, name)),
            )
        )
    # A name with a dot is two identifiers, and no more may be quoted as one.
    parts = tuple(name.split("."))
    return Script(f"ALTER {whose} SET {'.'.join('%I' for _ in parts)} TO %L", (*names, *parts, value))


def _whose(database: str | None, role: str | None) -> tuple[str, tuple[str, ...]]:
    if role is None:
        return "DATABASE %I", (database or "",)
    if database is None:
        return "ROLE %I", (role,)
    return "ROLE %I IN DATABASE %I", (role, database)


# -- catalogs ---------------------------------------------------------------------------------------------------------

RESTRICT_CATALOGS = """
SELECT string_agg(statement, '; ' ORDER BY ordinal) FROM (
    SELECT 1 AS ordinal, 'REVOKE ALL ON SCHEMA public FROM PUBLIC' AS statement
    FROM pg_namespace WHERE nspname = 'public'
    UNION ALL
    SELECT 2, 'REVOKE SELECT ON pg_catalog.pg_db_role_setting FROM PUBLIC'
    UNION ALL
    SELECT 3, format('REVOKE SELECT ON pg_catalog.%1$I FROM PUBLIC; GRANT SELECT (%2$s) ON pg_catalog.%1$I TO PUBLIC',
                     c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE c.oid IN ('pg_roles'::regclass, 'pg_user'::regclass)
      AND a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ('rolconfig', 'useconfig')
    GROUP BY c.relname
) AS statements
"""
"""A query that writes the script for the database it runs in: settings of roles are hidden from all but superusers.

pg_roles and pg_user stay readable but for the column that shows settings, so `\\du` and introspection work for tenants.
Which columns there are depends on the version, so the server writes the list.
"""

REMEMBER_AS_INITIAL = """
DELETE FROM pg_catalog.pg_init_privs
WHERE classoid = 'pg_class'::regclass
  AND objoid IN ('pg_roles'::regclass, 'pg_user'::regclass, 'pg_db_role_setting'::regclass);
INSERT INTO pg_catalog.pg_init_privs (objoid, classoid, objsubid, privtype, initprivs)
SELECT oid, 'pg_class'::regclass, 0, 'i', relacl FROM pg_class
WHERE oid IN ('pg_roles'::regclass, 'pg_user'::regclass, 'pg_db_role_setting'::regclass)
UNION ALL
SELECT attrelid, 'pg_class'::regclass, attnum, 'i', attacl FROM pg_attribute
WHERE attrelid IN ('pg_roles'::regclass, 'pg_user'::regclass) AND attacl IS NOT NULL
"""
"""pg_dump writes down every privilege on a catalog that differs from the initial ones. A tenant's dump would carry our
REVOKEs, and restoring it as a tenant would fail on them; so here they become the initial ones."""


def restrict_catalogs(statements: str) -> Script:
    """`statements` is what RESTRICT_CATALOGS answered."""
    return Script("%s;" + REMEMBER_AS_INITIAL, (statements,))
