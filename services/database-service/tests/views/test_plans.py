"""Queries of the hub's pages stay on their indexes, however often they were prepared and whatever is not asked for."""

from collections.abc import Sequence
from uuid import uuid4

import pytest

from database_service.store.pool import PLANNED_ANEW
from database_service.views import events, operations, requests, tokens, usage
from support.house import House

FILLED = """
INSERT INTO events (at, actor, action, subject, subject_id, instance_id)
SELECT now(), 'a', 'b', 'database', gen_random_uuid(), 'i-' || n FROM generate_series(1, 20000) n;
INSERT INTO requests (id, at, request_id, method, endpoint, status, ms, instance_id)
SELECT n, now() - n * interval '1 s', 'r-' || n, 'GET', '/e-' || n % 3,
  CASE WHEN n % 20 = 0 THEN 422 ELSE 200 END, 1, 'i-' || n FROM generate_series(1, 20000) n;
INSERT INTO servers (id, name, server_type, provisioner, status, status_since, max_instances, host, port, admin_user,
  admin_password_sealed, cpu_limit, memory_limit, created_at, updated_at)
VALUES (gen_random_uuid(), 's', 'shared', 'external', 'active', now(), 1, 'h', 1, 'a', 'x', 1, 1, now(), now());
INSERT INTO databases (id, status, status_since, instance_id, customer_id, asked_tier, server_type, plan_tier, limits_tier,
  server_id, rank, name, physical_name, owner_role, created_at)
SELECT gen_random_uuid(), 'ready', now(), 'i-' || n, 'c', 'free', 'shared', 'free', 'free', s.id, n, 'd' || n, 'd' || n, 'o', now()
FROM servers s, generate_series(1, 20000) n;
INSERT INTO usage (database_id, server_id, sampled_at, connections, transactions, blocks, temp_bytes, busy_s, level)
SELECT id, server_id, now(), 0, 0, 0, 0, 0, CASE WHEN rank % 100 = 0 THEN 'warning' ELSE 'ok' END FROM databases;
INSERT INTO operations (id, kind, state, state_since, created_by, due_at, created_at)
SELECT gen_random_uuid(), 'drain', 'running', now(), 'a', now(), now() FROM generate_series(1, 20);
INSERT INTO operation_steps (operation_id, ordinal, name, subject_id, held, state, state_since)
SELECT id, n, 's', gen_random_uuid(), true, 'pending', now() FROM operations, generate_series(1, 1000) n;
INSERT INTO tokens (id, name, hash, scopes, created_at, created_by)
SELECT gen_random_uuid(), 't', sha256(n::text::bytea), '{admin:read}', now(), 'a' FROM generate_series(1, 300) n"""

NOWHERE = (None,) * 10

PLANS = {
    "events of an instance": (events.PAGE, (events.NEWEST, "i-7", None, 51), "events_of_instance"),
    "events of a server": (events.PAGE, (events.NEWEST, None, uuid4(), 21), "events_of_subject"),
    "events, all of them": (events.PAGE, (events.NEWEST, None, None, 51), "events_pkey"),
    "requests of an instance": (requests.PAGE, (*NOWHERE[:8], "i-7", None, 51), "requests_of_instance"),
    "requests, all of them": (requests.PAGE, (*NOWHERE[:6], False, *NOWHERE[:3], 51), "requests_pkey"),
    "databases that are nearly full": (usage.NOT_OK, (), "databases_not_ready"),
    "a stretch of an operation's steps": (operations.STRETCH, (uuid4(), 501, 601), "operation_steps_pkey"),
    "a token": (tokens.ONE, (uuid4(),), "tokens_pkey"),
}


async def _fill(house: House) -> None:
    async with house.deps.db.connection() as conn:
        await conn.execute(f"SET session_replication_role = replica; {FILLED}; RESET session_replication_role")
        await conn.execute("VACUUM ANALYZE")


@pytest.mark.parametrize(("sql", "arguments", "index"), PLANS.values(), ids=PLANS)
async def test_a_page_is_read_by_an_index(house: House, sql: str, arguments: Sequence[object], index: str) -> None:
    await _fill(house)
    async with house.deps.db.reading() as conn:
        await conn.execute(PLANNED_ANEW)
        plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {sql}", *arguments))
    assert index in plan, plan
    for table in ("events", "requests", "databases", "operation_steps"):
        assert f"Seq Scan on {table}" not in plan, plan


READ = "SELECT coalesce(sum(idx_tup_read), 0)::int FROM pg_stat_user_indexes WHERE relname = 'events'"


async def test_events_of_an_instance_are_not_looked_for_among_all_events_by_a_plan_for_whatever_is_asked(
    house: House,
) -> None:
    """A session that PostgreSQL would plan for once and for all, as it may after some executions."""
    await _fill(house)
    async with house.deps.db.connection() as conn:
        await conn.execute("SET plan_cache_mode = force_generic_plan")
        await conn.execute("SELECT pg_stat_force_next_flush()")
        before = await conn.fetchval(READ)
    assert len((await events.page(house.deps, instance_id="i-7")).events) == 1
    async with house.deps.db.connection() as conn:
        assert await conn.fetchval("SHOW plan_cache_mode") == "force_generic_plan", "another session"
        await conn.execute("SELECT pg_stat_force_next_flush()")
        assert 0 < await conn.fetchval(READ) - before < 100
