"""A database that is too large: nothing new comes in, everything else goes on, and the tenant cannot help it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from database_service.dataplane import ddl, stopping
from database_service.domain.errors import TenantServerUnavailable
from database_service.domain.plans import GIB
from database_service.domain.tenancy import TenantSpec
from database_service.domain.usage import Stop
from dataplane.house import ENDED, Connection, House, cut_off_everywhere
from dataplane.move import Move

REFUSED = asyncpg.ConfigurationLimitExceededError
MADE = """
CREATE TABLE items (id int PRIMARY KEY, what text);
CREATE TABLE parts (id int PRIMARY KEY, item int REFERENCES items ON DELETE SET NULL);
CREATE TABLE notes (what text);
CREATE TABLE days (day int) PARTITION BY LIST (day); CREATE TABLE monday PARTITION OF days FOR VALUES IN (1);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO notes VALUES (TG_OP); RETURN NULL; END';
CREATE TRIGGER noted AFTER DELETE ON items FOR EACH ROW EXECUTE FUNCTION note();
CREATE VIEW shown AS SELECT * FROM items WHERE false;
CREATE FUNCTION let_in() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO notes VALUES (NEW.what); RETURN NULL; END';
CREATE TRIGGER let_in INSTEAD OF INSERT ON shown FOR EACH ROW EXECUTE FUNCTION let_in();
CREATE MATERIALIZED VIEW seen AS SELECT 1 AS n;
INSERT INTO items VALUES (1, 'a'), (2, 'b'); INSERT INTO parts VALUES (1, 1); INSERT INTO days VALUES (1)
"""
OURS = """
SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'dbs%') + (SELECT count(*) FROM pg_event_trigger)
     + (SELECT count(*) FROM pg_proc WHERE proname LIKE 'dbs%')
"""


async def stop(house: House, tenant: TenantSpec, how: Stop = Stop.WRITES) -> None:
    await house.servers.stop(house.admin, tenant, how, GIB)


@pytest.fixture
async def stopped(house: House) -> AsyncIterator[Connection]:
    """A session in a stopped database that was there before."""
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute(MADE)
        await stop(house, tenant)
        yield conn


NEW = (
    "INSERT INTO items VALUES (3, 'c')",
    "INSERT INTO items VALUES (1, 'c') ON CONFLICT (id) DO UPDATE SET what = 'c'",
    "UPDATE items SET what = 'c'",
    "MERGE INTO items USING (SELECT 9 AS id) s ON items.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (9, 'z')",
    "INSERT INTO days VALUES (1)",
    "INSERT INTO monday VALUES (1)",
    "INSERT INTO shown VALUES (3, 'c')",
    "CREATE TABLE more (n int)",
    "CREATE TABLE more AS SELECT 1",
    "SELECT 1 INTO more",
    "CREATE TEMP TABLE more (n int)",
    "CREATE INDEX ON items (what)",
    "REFRESH MATERIALIZED VIEW seen",
    "ALTER TABLE items DISABLE TRIGGER ALL",
    "ALTER TABLE items ADD COLUMN more text DEFAULT 'x'",
    "DROP TRIGGER {trigger} ON items",
    "CREATE RULE around AS ON INSERT TO items DO INSTEAD NOTHING",
    "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE SCHEMA more CREATE TABLE t (n int)",
)


async def test_nothing_new_comes_in_and_the_error_says_why(stopped: Connection) -> None:
    trigger = await stopped.fetchval("SELECT tgname FROM pg_trigger WHERE tgname LIKE 'dbs%' LIMIT 1")
    for attempt in NEW:
        with pytest.raises(REFUSED, match="uses all of the 1 GiB of its plan") as refused:
            await stopped.execute(attempt.format(trigger=trigger))
        assert refused.value.hint is not None
        assert "TRUNCATE and DROP free space at once" in refused.value.hint


async def test_nothing_is_copied_in(stopped: Connection) -> None:
    with pytest.raises(REFUSED, match="uses all of"):
        await stopped.copy_records_to_table("items", records=[(5, "e")])


CLEANING = (
    "SELECT * FROM items",
    "DELETE FROM items",
    "TRUNCATE items, parts",
    "TRUNCATE monday",
    "DROP TABLE parts",
    "DROP TABLE items CASCADE",
    "DROP VIEW shown; DROP MATERIALIZED VIEW seen",
    "DROP SCHEMA public CASCADE",
    "DROP OWNED BY CURRENT_USER",
    "REINDEX TABLE items",
    "ANALYZE",
    "GRANT SELECT ON items TO PUBLIC",
    "LOCK TABLE items IN EXCLUSIVE MODE",
)


async def test_reading_deleting_and_cleaning_go_on(stopped: Connection) -> None:
    for cleaning in ("VACUUM items", "VACUUM FULL items", "CLUSTER items USING items_pkey", "VACUUM"):
        await stopped.execute(cleaning)
    for cleaning in CLEANING:
        await stopped.execute(f"BEGIN; {cleaning}; ROLLBACK")


async def test_what_a_delete_sets_off_is_part_of_it(stopped: Connection) -> None:
    await stopped.execute("DELETE FROM items")
    assert await stopped.fetchval("SELECT count(*) FROM notes") == 2
    assert await stopped.fetchval("SELECT item FROM parts") is None


BREAKING = (
    f"DROP EVENT TRIGGER {ddl.ON_OBJECTS}",
    f"ALTER EVENT TRIGGER {ddl.ON_OBJECTS} DISABLE",
    f"DROP FUNCTION pg_catalog.{ddl.ON_ROWS}() CASCADE",
    f"ALTER FUNCTION pg_catalog.{ddl.ON_ROWS}() RENAME TO gone",
    "SET session_replication_role = replica",
    "SET event_triggers = off",
)


async def test_a_tenant_cannot_take_the_stop_away(stopped: Connection) -> None:
    for attempt in BREAKING:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, REFUSED)):
            await stopped.execute(attempt)


async def test_once_it_is_allowed_again_everything_is_as_it_was_before(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute(MADE)
        before = await _catalog(house, tenant)
        await stop(house, tenant)
        await stop(house, tenant)
        await stop(house, tenant, Stop.NONE)
        await conn.execute(
            "INSERT INTO items VALUES (3, 'c'); INSERT INTO shown VALUES (4, 'd'); CREATE TABLE more (n int)"
        )
        await conn.execute("DROP TABLE more")
    assert await _catalog(house, tenant) == before
    await stop(house, tenant, Stop.NONE)


async def _catalog(house: House, tenant: TenantSpec) -> object:
    async with house.superuser(tenant.name) as conn:
        return [
            await conn.fetchval(OURS),
            *await conn.fetch("SELECT oid, relacl::text, relname FROM pg_class WHERE oid >= 16384 ORDER BY oid"),
            *await conn.fetch("SELECT tgname, tgenabled FROM pg_trigger ORDER BY oid"),
            *await conn.fetch("SELECT nspname, nspacl::text FROM pg_namespace WHERE nspname !~ 'temp' ORDER BY oid"),
        ]


async def test_a_tenants_own_function_of_our_name_is_never_called(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute(
            f"""CREATE FUNCTION public.{ddl.ON_ROWS}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
                CREATE TABLE t (n int);
                CREATE TRIGGER {ddl.ON_ROWS} BEFORE INSERT ON t EXECUTE FUNCTION public.{ddl.ON_ROWS}()"""
        )
        await stop(house, tenant)
        with pytest.raises(REFUSED):
            await conn.execute("INSERT INTO t VALUES (1)")
        await stop(house, tenant, Stop.NONE)
        assert await conn.fetchval("SELECT count(*) FROM pg_trigger") == 1


async def test_a_table_in_use_does_not_keep_the_others_from_being_stopped_and_is_the_next_times(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as writer, house.inside(tenant) as other:
        await other.execute("CREATE TABLE a (n int); CREATE TABLE b (n int)")
        await writer.execute("BEGIN; INSERT INTO a VALUES (1)")
        with pytest.raises(TenantServerUnavailable, match="1 table"):
            await stop(house, tenant)
        with pytest.raises(REFUSED):
            await other.execute("INSERT INTO b VALUES (1)")
        await writer.execute("COMMIT")
        await stop(house, tenant)
        with pytest.raises(REFUSED):
            await writer.execute("INSERT INTO a VALUES (1)")


async def test_a_transaction_that_writes_for_long_does_not_keep_a_stop_from_its_table(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as writer, house.inside(tenant) as reader:
        await reader.execute("CREATE TABLE a (n int)")
        await reader.execute("BEGIN; SELECT * FROM a")
        await writer.execute("BEGIN; INSERT INTO a VALUES (1)")
        monkeypatch.setattr(stopping, "HOLD_OUT_S", 0.0)
        await stop(house, tenant)
        with pytest.raises(ENDED):
            await writer.execute("INSERT INTO a VALUES (2)")
        assert await reader.fetchval("SELECT count(*) FROM a") == 0
        with pytest.raises(REFUSED):
            await reader.execute("COMMIT; INSERT INTO a VALUES (3)")


async def test_a_long_reader_does_not_keep_writes_from_being_allowed_again(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as reader, house.inside(tenant) as writer:
        await writer.execute("CREATE TABLE a (n int)")
        await stop(house, tenant)
        await reader.execute("BEGIN; SELECT * FROM a")
        with pytest.raises(TenantServerUnavailable):
            await stop(house, tenant, Stop.NONE)
        await writer.execute("INSERT INTO a VALUES (1); CREATE TABLE b (n int)")
        await reader.execute("COMMIT")
        await stop(house, tenant, Stop.NONE)
    async with house.superuser(tenant.name) as conn:
        assert await conn.fetchval(OURS) == 0


async def test_a_shut_door_ends_sessions_and_opens_for_the_same_logins(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute("CREATE TABLE a (n int)")
        await stop(house, tenant, Stop.DOOR)
        with pytest.raises(ENDED):
            await conn.execute("SELECT 1")
    assert not await house.can_log_in(tenant.logins[0], tenant.name)
    await stop(house, tenant)
    async with house.inside(tenant) as conn:
        with pytest.raises(REFUSED):
            await conn.execute("INSERT INTO a VALUES (1)")


async def test_a_stop_and_its_end_cut_off_anywhere_are_finished_by_the_next(house: House) -> None:
    async def stopping_one():
        tenant = await _two_tables(house)
        return (lambda servers: servers.stop(house.admin, tenant, Stop.WRITES, GIB)), (lambda: _refuses(house, tenant))

    async def freeing_one():
        tenant = await _two_tables(house)
        await stop(house, tenant)
        return (lambda servers: servers.stop(house.admin, tenant, Stop.NONE, GIB)), (lambda: _allows(house, tenant))

    assert len(await cut_off_everywhere(stopping_one)) >= 8
    assert len(await cut_off_everywhere(freeing_one)) >= 10


async def _two_tables(house: House) -> TenantSpec:
    tenant = await house.tenant()
    async with house.inside(tenant) as conn:
        await conn.execute("CREATE TABLE a (n int); CREATE TABLE b (n int)")
    return tenant


async def _refuses(house: House, tenant: TenantSpec) -> None:
    async with house.inside(tenant) as conn:
        for attempt in ("INSERT INTO a VALUES (1)", "UPDATE b SET n = 1", "CREATE TABLE c ()"):
            with pytest.raises(REFUSED):
                await conn.execute(attempt)


async def _allows(house: House, tenant: TenantSpec) -> None:
    async with house.inside(tenant) as conn:
        await conn.execute("INSERT INTO a VALUES (1); UPDATE b SET n = 1; CREATE TABLE c ()")
    async with house.superuser(tenant.name) as conn:
        assert await conn.fetchval(OURS) == 0


async def test_a_stopped_database_moves_without_its_stop(move: Move) -> None:
    tenant = await move.tenant("CREATE TABLE a (n int); INSERT INTO a VALUES (1)")
    await move.here.servers.stop(move.here.admin, tenant, Stop.WRITES, GIB)
    survey = await move.transfers.survey(move.here.admin, tenant, move.there.admin)
    assert survey.blockers == []
    passage = await move.copied(tenant)
    assert await move.differences(passage) == []
    moved = await move.opened(passage)
    async with move.there.inside(moved) as conn:
        await conn.execute("INSERT INTO a VALUES (2)")
