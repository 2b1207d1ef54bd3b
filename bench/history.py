"""History: what a large fleet has behind it when somebody opens its hub: events, requests, operations, drift, tokens, samples.

Made by SQL after the servers and the databases of `rows.py`, in sizes that a `Past` tells. What is ill, cordoned or failed is
so in the shares that a fleet has on an ordinary day, and never nothing: a page that finds nothing is quick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from bench.rows import Connection


@dataclass(frozen=True, slots=True)
class Past:
    """How much of each. `lately` are allocations of the last hour, `claimed` databases handed out in the last day, `gone`
    those that were given back and purged."""

    requests: int
    lately: int
    operations: int
    rollout: int
    """Steps of the largest operation: a server each."""
    drift: int
    tokens: int
    claimed: int
    gone: int
    large: int
    """Databases on the largest server."""
    hours: int
    days: int
    """So far back it is known what every server had, by the hour and by the day, and every database in use by the day."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """What of all this the pages are asked for."""

    full_server: UUID
    large_server: UUID
    full_instance: str
    token: UUID
    move: UUID
    rollout: UUID


async def add_past(conn: Connection, past: Past) -> None:
    """Over servers and databases that are there. Foreign keys and triggers are left out on the way in, as in `add_tenants`."""
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        for statement in _STATEMENTS:
            await conn.execute(_filled(statement, asdict(past)))


async def landmarks(conn: Connection) -> Landmarks:
    """One of each kind: the fullest server of the usual size, the largest, and operations with one step and with most."""
    row = await conn.fetchrow(_LANDMARKS)
    if row is None:
        raise RuntimeError("there is nothing to look at")
    return Landmarks(**dict(row))


def _filled(statement: str, numbers: Mapping[str, int]) -> str:
    for name, number in numbers.items():
        statement = statement.replace(f"{{{name}}}", str(number))
    return statement


# So that no two servers next to each other look alike on the map, and one of fifteen is full.
UNEVEN = "UPDATE servers SET max_instances = 50 + seq * 7919 % 15"
"""Before the free slots are added."""

_HEALTH = """
UPDATE servers SET
  health_status = CASE WHEN seq % 500 = 3 THEN 'unhealthy' WHEN seq % 300 = 4 THEN 'degraded' ELSE health_status END,
  health_message = CASE WHEN seq % 500 = 3 OR seq % 300 = 4 THEN 'it does not answer within 5 s' END,
  cordoned = seq % 200 = 5, cordon_reason = CASE WHEN seq % 200 = 5 THEN 'to be emptied' END,
  status = CASE WHEN seq % 1000 = 6 THEN 'error' WHEN seq % 2000 = 7 THEN 'deprovisioning' ELSE status END,
  facts = jsonb_build_object('connections_max', 320, 'connections', seq % 300, 'bytes', seq * 1000000000, 'databases', 50,
                             'oldest_transaction_s', 0.4, 'started_at', '2026-11-01T10:00:00+00:00', 'archiving', false)
WHERE seq > 1"""

_LARGE_SERVER = """
WITH made AS (
  INSERT INTO servers (id, name, server_type, provisioner, status, status_since, health_status, last_health_check, max_instances,
    host, port, admin_user, admin_password_sealed, postgres_version, cpu_limit, memory_limit, due_at, created_at, updated_at)
  SELECT gen_random_uuid(), 'pool-large', server_type, provisioner, 'active', now(), 'healthy', now(), least(2 * {large}, 10000),
    host, port, admin_user, admin_password_sealed, postgres_version, 16, memory_limit * 16, due_at, now(), now()
  FROM servers WHERE status = 'active' ORDER BY seq LIMIT 1 RETURNING id, seq, max_instances
), seated AS (
  INSERT INTO databases (id, status, status_since, instance_id, customer_id, asked_tier, server_type, plan_tier, limits_tier,
    server_id, rank, name, physical_name, owner_role, version, created_at, claimed_at, ready_at)
  SELECT gen_random_uuid(), 'ready', now(), 'large-' || n, 'c-large', 'starter', 'shared', 'starter', 'starter', made.id,
    1000::bigint << 48 | n::bigint << 24 | seq, 'db_large_' || n, 'db_large_' || n, 'own_large_' || n, 4, now() - interval '2 days',
    now() - interval '2 days', now() - interval '2 days'
  FROM made, generate_series(1, {large}) n RETURNING id, rank
)
INSERT INTO slots (server_id, ordinal, rank, database_id)
SELECT made.id, n, 1000::bigint << 48 | n::bigint << 24 | seq, seated.id
FROM made CROSS JOIN generate_series(1, made.max_instances) n
LEFT JOIN seated ON seated.rank = 1000::bigint << 48 | n::bigint << 24 | made.seq"""

_CLAIMED = """
UPDATE databases SET claimed_at = now() - random() * interval '24 hours'
WHERE id IN (SELECT id FROM databases WHERE status = 'ready' LIMIT {claimed})"""

_SERVER_EVENTS = """
INSERT INTO events (at, actor, action, subject, subject_id, before, after)
SELECT created_at + each.ordinal * interval '30 seconds', 'capacity', each.action, 'server', id, each.before, each.after
FROM servers CROSS JOIN (VALUES (1, 'server.ordered', NULL, 'provisioning'),
  (2, 'server.initializing', 'provisioning', 'initializing'),
  (3, 'server.active', 'initializing', 'active')) AS each (ordinal, action, before, after)"""

_TOKENS = """
INSERT INTO tokens (id, name, hash, scopes, created_at, created_by, expires_at, revoked_at, last_used_at)
SELECT gen_random_uuid(), 'service-' || n, sha256(('bench ' || n)::bytea), ARRAY['databases:read', 'databases:write'],
  now() - n * interval '1 day', 'bench', CASE WHEN n % 3 = 0 THEN now() + interval '90 days' END,
  CASE WHEN n % 10 = 0 THEN now() - interval '1 hour' END, now() - n * interval '1 minute'
FROM generate_series(1, {tokens}) n"""

# A month of them; the last hour's allocations are as many as the page's figures look at, and more.
_REQUESTS = """
WITH named AS (SELECT array_agg(id) AS ids, array_agg(name) AS names FROM tokens)
INSERT INTO requests (id, at, request_id, token_id, token_name, method, endpoint, instance_id, customer_id, status, ms, code,
  request_body, response_body)
SELECT n, CASE WHEN n <= {lately} THEN now() - random() * interval '1 hour'
          ELSE now() - interval '1 hour' - random() * interval '30 days' END,
  md5(n::text), ids[1 + n % array_length(ids, 1)], names[1 + n % array_length(names, 1)],
  CASE WHEN read AND n > {lately} THEN 'GET' ELSE 'POST' END,
  CASE WHEN read AND n > {lately} THEN '/api/database/databases/{instance_id}' ELSE '/api/database/allocate' END,
  'i-' || 1 + n * 7 % 1000000, 'c-' || n % 9000, status, 1 + random() * 20, CASE WHEN status >= 400 THEN 'invalid_request' END,
  CASE WHEN NOT read THEN jsonb_build_object('instance_id', 'i-' || n, 'customer_id', 'c-' || n % 9000, 'plan_tier', 'starter') END,
  jsonb_build_object('status', 'allocated', 'db_server_id', md5(n::text), 'db_host', 'pool-' || n % 20000 || '.example',
    'db_port', 5432, 'db_name', 'db_' || n, 'db_user', 'u_' || n, 'db_password', '***', 'instance_id', 'i-' || n)
FROM named, LATERAL (SELECT n, n % 3 = 0 AS read, CASE WHEN n % 200 = 0 THEN 422 WHEN n % 5000 = 1 THEN 503 ELSE 200 END AS status
                     FROM generate_series(1, {requests}) n) each"""

# Mostly moves of one step; one in fifty is a drain of fifty; the first is a rollout over all servers, and it runs.
_OPERATIONS = """
INSERT INTO operations (id, kind, state, state_since, target, created_by, due_at, last_error, created_at, finished_at)
SELECT gen_random_uuid(), kind, state, at, '{"tier": "starter"}', 'bench', CASE WHEN state = 'running' THEN now() END,
  CASE WHEN state = 'failed' THEN 'the copy differs from its source in 3 rows of public.orders' END, at - interval '1 hour',
  CASE WHEN state <> 'running' THEN at END
FROM (SELECT n, now() - ({operations} - n) * interval '9 minutes' AS at,
        CASE WHEN n = {operations} - 20 THEN 'rollout' WHEN n % 50 = 0 THEN 'drain' ELSE 'move' END AS kind,
        CASE WHEN n > {operations} - 21 AND n % 10 = 0 THEN 'running' WHEN n % 100 = 1 THEN 'failed' ELSE 'succeeded' END AS state
      FROM generate_series(1, {operations}) n ORDER BY n) each"""

_STEPS = """
INSERT INTO operation_steps (operation_id, ordinal, name, subject_id, held, state, state_since, error, started_at, finished_at)
SELECT o.id, ordinal, CASE o.kind WHEN 'rollout' THEN 'pool-' || ordinal ELSE 'i-' || o.seq * 50 + ordinal END,
  gen_random_uuid(), o.finished_at IS NULL, each.state, o.state_since, CASE WHEN each.state = 'failed' THEN o.last_error END,
  CASE WHEN each.state <> 'pending' THEN o.created_at END,
  CASE WHEN each.state NOT IN ('pending', 'running') THEN o.state_since END
FROM operations o
CROSS JOIN LATERAL generate_series(1, CASE o.kind WHEN 'rollout' THEN {rollout} WHEN 'drain' THEN 50 ELSE 1 END) ordinal
CROSS JOIN LATERAL (SELECT CASE WHEN o.finished_at IS NOT NULL THEN o.state WHEN o.kind = 'rollout' AND ordinal < {rollout} / 2
    THEN 'succeeded' WHEN ordinal = CASE o.kind WHEN 'rollout' THEN {rollout} / 2 ELSE 1 END THEN 'running'
    ELSE 'pending' END AS state) each"""

_MOVES = """
INSERT INTO moves (operation_id, ordinal, database_id, source_id, target_id, twin_id, tier_before, tier_after, type_before,
  type_after, dedicated_before, dedicated_after, back, phase, phase_since, mover_role, mover_password_sealed, size_bytes,
  fraction, fenced_at, switched_at, opened_at)
SELECT p.operation_id, p.ordinal, d.id, s.id, t.id, d.id, 'starter', 'starter', 'shared', 'shared', false, false, false, 'done',
  p.state_since, 'mover_' || p.operation_id || '_' || p.ordinal, 'x', 123456789, 1, p.state_since - interval '9 s',
  p.state_since - interval '2 s', p.state_since
FROM operation_steps p JOIN operations o ON o.id = p.operation_id AND o.kind IN ('move', 'drain'),
  (SELECT id FROM databases WHERE status = 'ready' LIMIT 1) d, (SELECT id FROM servers ORDER BY seq LIMIT 1) s,
  (SELECT id FROM servers ORDER BY seq OFFSET 1 LIMIT 1) t
WHERE p.state = 'succeeded'"""

_OPERATION_EVENTS = """
INSERT INTO events (at, actor, action, subject, subject_id, before, after)
SELECT state_since, 'bench', 'operation.' || state, 'operation', id, 'running', state FROM operations ORDER BY seq"""

_DRIFT = """
INSERT INTO drift (id, kind, provisioner, server_id, server_name, thing, told, remark, first_seen, last_seen)
SELECT gen_random_uuid(), CASE n % 3 WHEN 0 THEN 'role_without_row' WHEN 1 THEN 'database_without_row' ELSE 'database_gone' END,
  'process', gen_random_uuid(), 'pool-' || n, 'thing_' || n,
  jsonb_build_array('it was made at 2026-11-20 10:00:00', 'it has 12 tables and 3.4 MB', 'nobody is connected to it'), '',
  now() - n * interval '1 minute', now()
FROM generate_series(1, {drift}) n"""

# Databases that were given back long ago: their rows stay.
_TOMBSTONES = """
INSERT INTO databases (id, status, status_since, instance_id, customer_id, asked_tier, server_type, plan_tier, limits_tier, name,
  owner_role, version, created_at, claimed_at, ready_at, released_at)
SELECT gen_random_uuid(), 'purged', now() - interval '40 days', 'old-' || n, 'c-' || n % 9000, 'free', 'shared', 'free', 'free',
  'db_old_' || n, 'own_old_' || n, 9, now() - interval '200 days', now() - interval '200 days', now() - interval '200 days',
  now() - interval '50 days'
FROM generate_series(1, {gone}) n"""

_LOOK = "INSERT INTO drift_look (began_at, ended_at) VALUES (now() - interval '1 minute', now())"

# One in a hundred is nearly full, one in a thousand is stopped.
_USAGE = """
INSERT INTO usage (database_id, server_id, sampled_at, connections, oldest_transaction_s, transactions, blocks, temp_bytes, busy_s,
  transactions_per_s, blocks_per_s, temp_bytes_per_s, busy, size_bytes, written, sized_at, tier, level, level_since, stopped_bytes)
SELECT id, server_id, now() - random() * interval '1 minute', n % 7, 0.1, n, n * 10, 0, n, n % 50, n % 5000, 0, (n % 100) / 100.0,
  level_bytes, n, now(), 'starter', level, now(), CASE WHEN level = 'stopped' THEN level_bytes END
FROM (SELECT id, server_id, n, n % 90000000 AS level_bytes,
        CASE WHEN n % 1000 = 0 THEN 'stopped' WHEN n % 100 = 1 THEN 'warning' ELSE 'ok' END AS level
      FROM (SELECT id, server_id, row_number() OVER () AS n FROM databases WHERE status = 'ready') numbered) each"""

# One in four hundred will be full within two weeks.
_SERVER_GROWTH = """
INSERT INTO server_history (server_id, hours, at, databases, slots, connections, size_bytes, full_on)
SELECT id, hours, date_trunc(unit, now()) - n * ('1 ' || unit)::interval, greatest(50 - n * hours / 48, 0),
  greatest(52 - n * hours / 48, 0), (seq * 7 + n) % 300, greatest(50 - n * hours / 48, 0) * 20000000::bigint,
  CASE WHEN hours = 24 AND n = 0 AND seq % 400 = 9 THEN current_date + (seq % 14)::int END
FROM servers CROSS JOIN (VALUES (1, 'hour', {hours}), (24, 'day', {days})) AS stretch (hours, unit, most)
CROSS JOIN LATERAL generate_series(0, most) n"""

# One in a thousand will be.
_DATABASE_GROWTH = """
INSERT INTO database_history (database_id, last_day, sizes, full_on)
SELECT database_id, current_date, ARRAY(SELECT (size_bytes * (1 - n / 100.0))::real FROM generate_series({days}, 0, -1) n),
  CASE WHEN transactions % 1000 = 5 THEN current_date + (transactions % 14)::int END
FROM usage"""

_STATEMENTS: Sequence[str] = (
    _HEALTH, _LARGE_SERVER, _CLAIMED, _SERVER_EVENTS, _TOKENS, _REQUESTS, _OPERATIONS, _STEPS, _MOVES, _OPERATION_EVENTS, _DRIFT,
    _LOOK, _TOMBSTONES, _USAGE, _SERVER_GROWTH, _DATABASE_GROWTH,
)  # fmt: skip

_LANDMARKS = """
WITH full_server AS (
  SELECT s.id FROM servers s
  WHERE s.status = 'active' AND NOT s.cordoned AND EXISTS (SELECT FROM databases d WHERE d.server_id = s.id AND d.status = 'ready')
  ORDER BY (SELECT count(*) FROM slots f WHERE f.server_id = s.id AND f.database_id IS NULL), s.seq DESC LIMIT 1
)
SELECT (SELECT id FROM full_server) AS full_server, (SELECT id FROM servers ORDER BY max_instances DESC LIMIT 1) AS large_server,
  (SELECT instance_id FROM databases WHERE server_id = (SELECT id FROM full_server) AND status = 'ready' LIMIT 1) AS full_instance,
  (SELECT id FROM tokens WHERE created_by = 'bench' ORDER BY id LIMIT 1) AS token,
  (SELECT id FROM operations WHERE kind = 'move' ORDER BY seq LIMIT 1) AS move,
  (SELECT id FROM operations WHERE kind = 'rollout' ORDER BY seq LIMIT 1) AS rollout"""
