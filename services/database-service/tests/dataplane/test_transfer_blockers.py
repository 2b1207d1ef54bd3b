"""What cannot be moved is said before anything is done, with what to do about it; and nothing else is refused."""

import pytest

from database_service.domain.errors import MoveBlocked
from dataplane.house import a_login
from dataplane.move import NOW, Move

# What a superuser does in the tenant's database ({db}, owned by {owner}), and how the survey tells it.
BLOCKERS = {
    "CREATE EXTENSION dblink": "The extension 'dblink' is not one that can be moved; drop it.",
    "CREATE TABLE theirs ()":
        "Table public.theirs belongs to 'admin', who is not of this database; drop it or give it to '{owner}'.",
    "GRANT SELECT ON plain TO pg_monitor":
        "SELECT on table public.plain is granted to 'pg_monitor', who is not of this database; "
        "say: REVOKE SELECT ON TABLE public.plain FROM pg_monitor.",
    "GRANT UPDATE (\"Odd\") ON plain TO pg_monitor":
        'UPDATE on column Odd of table public.plain is granted to \'pg_monitor\', who is not of this database; '
        'say: REVOKE UPDATE ("Odd") ON TABLE public.plain FROM pg_monitor.',
    "GRANT CREATE ON SCHEMA public TO pg_monitor":
        "CREATE on schema public is granted to 'pg_monitor', who is not of this database; "
        "say: REVOKE CREATE ON SCHEMA public FROM pg_monitor.",
    "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO pg_monitor":
        "SELECT on default privileges on new relations belonging to role {owner} is granted to 'pg_monitor', "
        "who is not of this database; "
        "say: ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE SELECT ON TABLES FROM pg_monitor.",
    "GRANT SELECT ON plain TO {me} WITH GRANT OPTION; SET ROLE {me}; GRANT SELECT ON plain TO {owner}, {other}":
        "SELECT on table public.plain was granted to '{other}' by '{me}', who does not own it; "
        "revoke that, and grant it as the owner.",
    "GRANT TEMPORARY ON DATABASE {db} TO pg_monitor":
        "TEMPORARY on the database is granted to 'pg_monitor', who is not of it; "
        'say: REVOKE TEMPORARY ON DATABASE "{db}" FROM "pg_monitor".',
    "GRANT CONNECT ON DATABASE {db} TO PUBLIC":
        'Every role of the server may connect to it; say: REVOKE CONNECT ON DATABASE "{db}" FROM PUBLIC.',
    "CREATE ROLE {db}_guest LOGIN IN ROLE {owner}":
        "The role '{db}_guest' is not of this database and may connect to it; "
        "revoke its CONNECT, or its membership in the database's roles.",
    "ALTER FUNCTION f() LEAKPROOF":
        "The function public.f() is LEAKPROOF, which only a superuser can make; drop it or have it made by a supported extension.",
    "CREATE PUBLICATION everything FOR ALL TABLES; ALTER PUBLICATION everything OWNER TO {owner}":
        "The publication everything is of all tables, or of whole schemas, which only a superuser can say; drop it, or name its "
        "tables.",
    "CREATE SUBSCRIPTION sub CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false)":
        "The subscription sub writes into this database; drop it.",
    "CREATE EXTENSION citext; ALTER EXTENSION citext ADD TABLE plain":
        "Table public.plain was made part of an extension, and would be missing; take it out with ALTER EXTENSION … DROP.",
    "CREATE EVENT TRIGGER spy ON ddl_command_start EXECUTE FUNCTION e()":
        "Event trigger spy belongs to 'admin', who is not of this database; drop it or give it to '{owner}'.",
    "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w; ALTER SERVER far OWNER TO {owner}":
        "The foreign server far may hold passwords, which are not moved; drop it.",
}  # fmt: skip

PLAIN = """
CREATE TABLE plain ("Odd" integer);
CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
"""


@pytest.mark.parametrize("obstacle", BLOCKERS)
async def test_an_obstacle_is_told_before_and_nothing_is_made_on_the_target(move: Move, obstacle: str) -> None:
    tenant = await move.tenant(PLAIN, logins=(a_login(), a_login()))
    me, other = (login.role for login in tenant.logins)
    names = {"db": tenant.name, "owner": tenant.owner_role, "me": me, "other": other}
    assert (await move.transfers.survey(move.here.admin, tenant, move.there.admin)).blockers == []
    await move.here.do(obstacle.format_map(names), tenant.name)
    survey = await move.transfers.survey(move.here.admin, tenant, None)
    assert any(sentence.startswith(BLOCKERS[obstacle].format_map(names)) for sentence in survey.blockers), (
        survey.blockers
    )
    with pytest.raises(MoveBlocked, match="cannot be moved") as refused:
        await move.transfers.copy(move.passage(tenant), move.folder, move.progress.append)
    assert list(refused.value.blockers) == list(survey.blockers)
    assert await move.there.leftovers(tenant) == 0


async def test_a_fence_refuses_whom_it_cannot_shut_out(move: Move) -> None:
    tenant = await move.tenant()
    await move.here.do(f"GRANT CONNECT ON DATABASE {tenant.name} TO PUBLIC; CREATE ROLE {tenant.name}_guest LOGIN")
    with pytest.raises(MoveBlocked, match="FROM PUBLIC"):
        await move.transfers.fence(move.here.admin, tenant, NOW)
    assert not await move.here.can_log_in(tenant.logins[0], tenant.name)


async def test_what_would_be_lost_is_told_and_hinders_nothing(move: Move) -> None:
    tenant = await move.tenant(
        "CREATE TABLE t AS SELECT 1 AS n; CREATE INDEX broken ON t (n); CREATE MATERIALIZED VIEW stale AS TABLE t;"
        "CREATE EXTENSION citext VERSION '1.5'; INSERT INTO t VALUES (2)"
    )
    await move.here.do("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass", tenant.name)
    survey = await move.transfers.survey(move.here.admin, tenant, move.there.admin)
    assert survey.blockers == []
    assert list(survey.losses) == [
        "The index public.broken is not valid; it would not be made again.",
        "The materialized view public.stale would be refreshed.",
        "Statistics are made anew: those for the planner at once, those of use (pg_stat_…) begin at zero.",
        "The extension 'citext' would be of version 1.8 instead of 1.5.",
    ]
    assert await move.differences(await move.copied(tenant)) == []


async def test_the_survey_counts_what_there_is(move: Move) -> None:
    tenant = await move.tenant("CREATE TABLE a (); CREATE TABLE b (); SELECT lo_create(0); CREATE EXTENSION hstore")
    survey = await move.transfers.survey(move.here.admin, tenant, move.there.admin)
    assert (survey.tables, survey.large_objects, survey.extensions) == (2, 1, ["hstore"])
    assert survey.size_bytes > 5_000_000


async def test_a_name_that_is_somebody_elses_on_the_target_is_told(move: Move) -> None:
    tenant = await move.tenant()
    await move.there.do(f"CREATE DATABASE {tenant.name}")
    survey = await move.transfers.survey(move.here.admin, tenant, move.there.admin)
    assert list(survey.blockers) == [f"A database '{tenant.name}' is on the server and is not owned by this tenant."]
