"""Rows: a control plane filled by SQL, because a million databases cannot be built for a benchmark.

Spares made here are what a built spare leaves behind, column for column, with a sealed password of their own; only the
database on the tenant server is not there.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg

from bench.system import HOST, Postgres
from database_service.domain import capacity, naming
from database_service.domain.ids import LoginId, ServerId
from database_service.domain.policy import Placement
from database_service.reconcilers.ordering import ADMIN_USER
from database_service.secretbox import SecretBox, new_password, random_name_bytes
from database_service.store.migrate import migrate

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

POOL_SLOTS = 50


async def control_database(control: Postgres, name: str) -> str:
    """A fresh database with the newest schema; gives its DSN."""
    admin = await asyncpg.connect(control.dsn())
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
    finally:
        await admin.close()
    await migrate(control.dsn(name))
    return control.dsn(name)


async def add_servers(
    conn: Connection, box: SecretBox, number: int, *, slots: int = POOL_SLOTS, status: str = "active"
) -> list[tuple[UUID, int]]:
    """Shared servers that nobody runs, without slots yet; gives id and seq of each."""
    now = datetime.now(UTC)
    columns = (
        *("id", "name", "server_type", "provisioner", "status", "status_since", "health_status", "last_health_check"),
        *("max_instances", "host", "port", "admin_user", "admin_password_sealed", "postgres_version", "cpu_limit"),
        *("memory_limit", "due_at", "created_at", "updated_at"),
    )
    ids = [ServerId(uuid4()) for _ in range(number)]
    sealed = box.seal(new_password(), ids[0])
    await conn.copy_records_to_table(
        "servers",
        columns=columns,
        records=[
            (
                *(
                    server_id,
                    naming.server_name("pool", random_name_bytes()),
                    "shared",
                    "external",
                    status,
                    now,
                    "healthy",
                ),
                *(
                    now,
                    slots,
                    HOST,
                    5432,
                    ADMIN_USER,
                    sealed,
                    "18.6",
                    2.0,
                    4 * 1024**3,
                    now + timedelta(days=1),
                    now,
                    now,
                ),
            )
            for server_id in ids
        ],
    )
    rows = await conn.fetch("SELECT id, seq FROM servers WHERE id = ANY ($1::uuid[]) ORDER BY seq", ids)
    return [(row["id"], row["seq"]) for row in rows]


async def add_spares(
    conn: Connection, box: SecretBox, servers: Sequence[tuple[UUID, int]], *, per_server: int, first_ordinal: int = 1
) -> int:
    """So many spares on each of these servers, in slots of their own from `first_ordinal` on; gives how many."""
    made = [
        _Spare(box, server_id, seq, ordinal)
        for ordinal in range(first_ordinal, first_ordinal + per_server)
        for server_id, seq in servers
    ]
    async with conn.transaction():
        await conn.copy_records_to_table("databases", columns=_DATABASE, records=[s.database for s in made])
        await conn.copy_records_to_table("slots", columns=_SLOT, records=[s.slot for s in made])
        await conn.copy_records_to_table("logins", columns=_LOGIN, records=[s.login for s in made])
    return len(made)


_DATABASE = (
    *("id", "status", "status_since", "server_type", "plan_tier", "limits_tier", "template", "server_id", "rank"),
    *("name", "physical_name", "owner_role", "version", "created_at"),
)
_SLOT = ("server_id", "ordinal", "rank", "database_id")
_LOGIN = ("id", "database_id", "role", "password_sealed", "state", "created_at")


class _Spare:
    """The three rows of one spare."""

    def __init__(self, box: SecretBox, server_id: UUID, seq: int, ordinal: int) -> None:
        now, database_id, login_id = datetime.now(UTC), uuid4(), LoginId(uuid4())
        rank = capacity.slot_rank(Placement.SPREAD, 0, seq, ordinal)
        name = naming.database_name(random_name_bytes())
        owner, role = naming.owner_role(random_name_bytes()), naming.login_role(random_name_bytes())
        built = (database_id, "spare", now, "shared", "free", "free", "default", server_id, rank)
        self.database = (*built, name, name, owner, 2, now)
        self.slot = (server_id, ordinal, rank, database_id)
        self.login = (login_id, database_id, role, box.seal(new_password(), login_id), "active", now)


async def add_tenants(conn: Connection, number: int, per_server: int) -> None:
    """Databases in use, `per_server` on each of the first servers: instances i-1 … i-`number`, each with its login and event.

    Foreign keys are not checked on the way in: the rows come from one query each, and a million checks take a minute.
    """
    async with conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        indexes = await conn.fetch(_INDEXES)
        for index in indexes:
            await conn.execute(f"DROP INDEX {index['name']}")
        for statement in (_TENANTS, _SLOTS, _LOGINS, _EVENTS, *(index["definition"] for index in indexes)):
            await conn.execute(statement.replace("{number}", str(number)).replace("{per_server}", str(per_server)))


async def add_free_slots(conn: Connection) -> None:
    """The slots that every server has beside those in use."""
    await conn.execute(_FREE_SLOTS)


_INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
WHERE indrelid IN ('databases'::regclass, 'slots'::regclass, 'logins'::regclass, 'events'::regclass)
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)"""
"""Those that no constraint needs: made after the rows, in a third of the time."""


# The rank is what `capacity.slot_rank` gives for spread: priority, ordinal, seq.
_TENANTS = """
INSERT INTO databases (id, status, status_since, instance_id, customer_id, asked_tier, server_type, plan_tier, limits_tier,
  server_id, rank, name, physical_name, owner_role, version, created_at, claimed_at, ready_at)
SELECT gen_random_uuid(), 'ready', since, 'i-' || n, 'c-' || n / 3, 'starter', 'shared', 'starter', 'starter', id,
  1000::bigint << 48 | ordinal::bigint << 24 | seq, 'db_' || n, 'db_' || n, 'own_' || n, 4, since, since, since
FROM (SELECT id, seq, ordinal, (row_number - 1) * {per_server} + ordinal AS n,
        now() - interval '1 day' - random() * interval '300 days' AS since
      FROM (SELECT id, seq, row_number() OVER (ORDER BY seq) FROM servers) s, generate_series(1, {per_server}) ordinal
     ) placed
WHERE n <= {number}"""

_SLOTS = """
INSERT INTO slots (server_id, ordinal, rank, database_id)
SELECT server_id, (rank >> 24 & 16777215)::integer, rank, id FROM databases WHERE status = 'ready'"""

_LOGINS = """
INSERT INTO logins (id, database_id, role, password_sealed, state, created_at)
SELECT gen_random_uuid(), id, 'u_' || instance_id, decode(repeat('ab', 66), 'hex'), 'active', created_at
FROM databases WHERE status = 'ready'"""

_EVENTS = """
INSERT INTO events (at, actor, action, subject, subject_id, instance_id, before, after)
SELECT ready_at, 'bench', 'database.claimed', 'database', id, instance_id, 'spare', 'ready' FROM databases WHERE status = 'ready'"""

_FREE_SLOTS = """
INSERT INTO slots (server_id, ordinal, rank)
SELECT id, ordinal, 1000::bigint << 48 | ordinal::bigint << 24 | seq FROM servers, generate_series(1, max_instances) ordinal
ON CONFLICT DO NOTHING"""
