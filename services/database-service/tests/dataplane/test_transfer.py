"""A database that is moved is the same database on another server."""

from dataclasses import replace

from database_service.domain import naming
from dataplane import menagerie
from dataplane.house import a_login
from dataplane.move import NOW, Move

SHOP = """
CREATE TABLE customer (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer bigint NOT NULL REFERENCES customer, paid numeric DEFAULT 0);
INSERT INTO customer (name) SELECT 'c' || n FROM generate_series(1, 100) AS n;
INSERT INTO orders (customer, paid) SELECT 1 + n % 100, n FROM generate_series(1, 1000) AS n;
"""


async def test_a_moved_database_serves_the_same_login_on_the_other_server(move: Move) -> None:
    tenant = await move.tenant(SHOP)
    passage = await move.copied(tenant)
    assert await move.differences(passage) == []
    moved = await move.opened(passage)
    async with move.there.inside(moved) as conn:
        assert await conn.fetchval("SELECT sum(paid) FROM orders JOIN customer ON customer = customer.id") == 500500
        assert await conn.fetchval("INSERT INTO orders (customer) VALUES (1) RETURNING id") == 1001
    assert not await move.here.can_log_in(tenant.logins[0], tenant.name)
    assert [told.phase for told in move.progress] == ["preparing", "dumping", "restoring", "settling"]


async def test_one_of_everything_survives_and_is_found_equal(move: Move) -> None:
    tenant = await move.tenant(menagerie.SCRIPT, logins=(a_login(), a_login()))
    async with move.here.inside(tenant) as conn:
        await conn.execute(menagerie.between_logins(tenant))
    await move.here.do(f"ALTER DATABASE {tenant.name} SET our.setting = 'it''s ours, \"all\" of it'")
    survey = await move.transfers.survey(move.here.admin, tenant, move.there.admin)
    assert survey.blockers == []
    passage = await move.copied(tenant)
    assert await move.differences(passage) == []
    async with move.at_the_copy(passage) as conn:
        assert await conn.fetchval("SELECT length(lo_get(424242))") == 5000007
        assert await conn.fetchval("SELECT count(*) FROM private") == 2
        assert await conn.fetchval("SELECT nextval('used')") == 43


async def test_what_was_moved_equals_what_was_left_behind_also_after_a_rotation(move: Move) -> None:
    """As a rollback compares them: the other way round, and the login that was made since is on one side only."""
    tenant = await move.tenant("CREATE TABLE t (s varchar CHECK (s IN ('a', 'b'))); INSERT INTO t VALUES ('a')")
    moved = await move.opened(await move.copied(tenant))
    rotated = replace(moved, logins=(*moved.logins, a_login()))
    await move.there.servers.make_login(move.there.admin, moved, rotated.logins[1])
    await move.there.do(f"ALTER ROLE {rotated.logins[1].role} SET work_mem = '5MB'")
    await move.transfers.fence(move.there.admin, rotated, NOW)
    back = move.passage(rotated, source=move.there.admin, target=move.here.admin, staging=tenant.name)
    assert await move.differences(back) == []
    shape = naming.shape_database(back.mover.role)
    assert not await move.here.ask("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", shape)


async def test_a_database_that_was_left_by_a_comparison_goes_with_its_mover(move: Move) -> None:
    tenant = await move.tenant()
    passage = await move.copied(tenant)
    shape = naming.shape_database(passage.mover.role)
    await move.there.do(f"CREATE DATABASE {shape} OWNER {tenant.owner_role}")
    await move.transfers.dismiss(passage.target, passage.mover.role)
    assert not await move.there.ask("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", shape)
