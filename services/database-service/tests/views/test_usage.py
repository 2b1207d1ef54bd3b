"""How many databases are nearly full: of those that are in use, and of no others."""

from database_service.actions.allocate import allocate
from database_service.actions.release import release
from database_service.domain.ids import InstanceId
from database_service.views.usage import count_by_level
from support.house import WHO, House, ask

SAMPLED = """
INSERT INTO usage (database_id, server_id, sampled_at, connections, transactions, blocks, temp_bytes, busy_s, level)
SELECT id, server_id, now(), 0, 0, 0, 0, 0, CASE instance_id WHEN 'c' THEN 'ok' ELSE 'warning' END FROM databases
WHERE instance_id IS NOT NULL"""


async def test_a_database_that_was_released_is_not_among_those_that_are_nearly_full(house: House) -> None:
    await house.pool()
    for instance in ("a", "b", "c"):
        await allocate(house.deps, ask(instance), WHO)
    async with house.deps.db.transaction() as conn:
        await conn.execute(SAMPLED)
    assert await count_by_level(house.deps) == {"warning": 2, "critical": 0, "stopped": 0}
    await release(house.deps, InstanceId("b"), WHO)
    assert (await count_by_level(house.deps))["warning"] == 1
