"""What databases use is sampled in one statement, and sizes are taken of those that may have changed."""

from datetime import timedelta

from database_service.domain.usage import Asked, Sample
from dataplane.house import House, until

NEVER = timedelta(days=1)


async def sample(house: House, asked: Asked, size_interval: timedelta = NEVER) -> Sample:
    [found] = await house.servers.usage(house.admin, [asked], size_interval)
    return found


async def settled(house: House, name: str) -> Sample:
    """Once no session is in it: counters are told when a session ends."""
    await until(lambda: _alone(house, name))
    return await sample(house, Asked(name))


async def _alone(house: House, name: str) -> bool:
    return await house.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = $1", name) == 0


async def test_a_sample_tells_sessions_size_counters_and_the_oldest_transaction(house: House) -> None:
    tenant = await house.tenant()
    async with house.inside(tenant) as one, house.inside(tenant):
        await one.execute("BEGIN; CREATE TABLE t (n int)")
        seen = await sample(house, Asked(tenant.name))
        assert seen.connections == 2
        assert seen.oldest_transaction_s is not None
        await one.execute("ROLLBACK")
    seen = await settled(house, tenant.name)
    assert (seen.connections, seen.oldest_transaction_s) == (0, None)
    assert seen.counters.transactions > 0
    assert seen.size_bytes == await house.ask("SELECT pg_database_size($1::text)", tenant.name)


async def test_what_is_not_there_is_left_out(house: House) -> None:
    tenant = await house.tenant()
    found = await house.servers.usage(house.admin, [Asked("nowhere"), Asked(tenant.name)], NEVER)
    assert [seen.name for seen in found] == [tenant.name]
    assert await house.servers.usage(house.admin, [], NEVER) == []


async def test_a_size_is_taken_again_of_what_was_written_to_or_is_being_used_and_else_only_after_a_while(
    house: House,
) -> None:
    tenant = await house.tenant()
    first = await settled(house, tenant.name)
    known = Asked(tenant.name, first.written, 10.0)
    assert (await sample(house, known)).size_bytes is None
    assert (await sample(house, known, timedelta(seconds=5))).size_bytes is not None
    async with house.inside(tenant) as conn:
        await conn.execute("BEGIN")
        assert (await sample(house, known)).size_bytes is not None, "what it writes is not counted before it ends"
        await conn.execute("ROLLBACK; CREATE TABLE t AS SELECT generate_series(1, 1000) n")
    await until(lambda: _alone(house, tenant.name))
    assert (await sample(house, known)).size_bytes is not None
