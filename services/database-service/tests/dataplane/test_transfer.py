"""A database that is moved is the same database on another server."""

from dataplane import menagerie
from dataplane.house import a_login
from dataplane.move import Move

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
