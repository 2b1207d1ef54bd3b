"""Rows of `slots`: capacity as rows, so that taking a seat is one statement and no counter can drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from database_service.domain.capacity import Load, Room
from database_service.domain.ids import DatabaseId, ServerId
from database_service.store.pool import Conn

OPEN = "s.status = 'active' AND NOT s.cordoned AND NOT s.manual AND s.health_status <> 'unhealthy'"
"""A server that takes new databases."""


@dataclass(frozen=True, slots=True)
class Seat:
    server_id: ServerId
    rank: int


# Which slot hardly matters, so nobody queues for one: SKIP LOCKED hands out the next free one.
RESERVE = f"""
UPDATE slots t SET database_id = $1
WHERE (t.server_id, t.ordinal) = (
  SELECT f.server_id, f.ordinal FROM slots f JOIN servers s ON s.id = f.server_id
  WHERE f.database_id IS NULL AND s.server_type = 'shared' AND {OPEN}
    AND ($2::text IS NULL OR NOT EXISTS (SELECT 1 FROM databases x WHERE x.server_id = s.id AND x.name = $2))
  ORDER BY f.rank LIMIT 1 FOR UPDATE OF f SKIP LOCKED)
RETURNING t.server_id, t.rank"""


async def reserve(conn: Conn, database_id: DatabaseId, wanted_name: str | None = None) -> Seat | None:
    """A free slot on an open shared server (that has no database of this name), now taken. None: there is no room."""
    row = await conn.fetchrow(RESERVE, database_id, wanted_name)
    return Seat(row["server_id"], row["rank"]) if row else None


RESERVE_ON = """
UPDATE slots t SET database_id = $1
WHERE (t.server_id, t.ordinal) = (
  SELECT f.server_id, f.ordinal FROM slots f WHERE f.server_id = $2 AND f.database_id IS NULL
  ORDER BY f.rank LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING t.server_id, t.rank"""


async def reserve_on(conn: Conn, database_id: DatabaseId, server_id: ServerId) -> Seat | None:
    """A free slot on this very server, in whatever state it is: it was ordered for this database."""
    row = await conn.fetchrow(RESERVE_ON, database_id, server_id)
    return Seat(row["server_id"], row["rank"]) if row else None


COUNT_FREE = f"""
SELECT count(*) FROM (
  SELECT FROM slots f JOIN servers s ON s.id = f.server_id
  WHERE f.database_id IS NULL AND s.server_type = 'shared' AND {OPEN} LIMIT $1) counted"""


async def count_free(conn: Conn, most: int) -> int:
    """How many could be seated on open shared servers now; counted up to `most`."""
    count: int = await conn.fetchval(COUNT_FREE, most)
    return count


HAS_FREE = "SELECT EXISTS (SELECT FROM slots WHERE server_id = $1 AND database_id IS NULL)"


async def has_free(conn: Conn, server_id: ServerId) -> bool:
    return await conn.fetchval(HAS_FREE, server_id) is True


LIKELY = f"""
SELECT f.server_id FROM slots f JOIN servers s ON s.id = f.server_id
WHERE f.database_id IS NULL AND s.server_type = 'shared' AND {OPEN}
  AND NOT EXISTS (SELECT 1 FROM databases x WHERE x.server_id = s.id AND x.name = $1)
ORDER BY f.rank LIMIT 1"""


async def likely(conn: Conn, wanted_name: str) -> ServerId | None:
    """Where `reserve` would find a slot now; none is taken."""
    found: ServerId | None = await conn.fetchval(LIKELY, wanted_name)
    return found


LOADS = f"""
SELECT s.id, s.max_instances AS slots, count(f.server_id) FILTER (WHERE f.database_id IS NULL) AS free,
  (SELECT count(*) FROM databases d WHERE d.server_id = s.id AND d.status = 'ready') AS tenants
FROM servers s JOIN slots f ON f.server_id = s.id WHERE s.server_type = 'shared' AND {OPEN} GROUP BY s.id ORDER BY s.seq"""


async def loads(conn: Conn) -> list[Load]:
    """How full every open pool is."""
    return [Load(row["id"], row["slots"], row["free"], row["tenants"]) for row in await conn.fetch(LOADS)]


FREE = "UPDATE slots SET database_id = NULL WHERE database_id = $1"


async def free(conn: Conn, database_id: DatabaseId) -> None:
    await conn.execute(FREE, database_id)


LOCK = "SELECT ordinal, database_id FROM slots WHERE server_id = $1 ORDER BY ordinal FOR UPDATE"


async def lock(conn: Conn, server_id: ServerId) -> Mapping[int, DatabaseId | None]:
    """All slots of a server and who has them, held until the transaction ends. A reservation in flight is waited for; those
    that come meanwhile pass by."""
    return {row["ordinal"]: row["database_id"] for row in await conn.fetch(LOCK, server_id)}


ADD = "INSERT INTO slots (server_id, ordinal, rank) SELECT $1, o, r FROM unnest($2::int[], $3::bigint[]) AS t (o, r)"


async def add(conn: Conn, server_id: ServerId, ranks: Mapping[int, int]) -> None:
    """A slot for each ordinal, with its rank."""
    await conn.execute(ADD, server_id, list(ranks.keys()), list(ranks.values()))


REMOVE = "DELETE FROM slots WHERE server_id = $1 AND ordinal = ANY($2::int[]) AND database_id IS NULL"


async def remove(conn: Conn, server_id: ServerId, ordinals: Sequence[int]) -> None:
    """These, which are free; for slots that are locked."""
    await conn.execute(REMOVE, server_id, list(ordinals))


REMOVE_FREE = "DELETE FROM slots WHERE server_id = $1 AND database_id IS NULL"


async def remove_free(conn: Conn, server_id: ServerId) -> None:
    """Close a server for good. A reservation in flight holds its slot's row and is waited for."""
    await conn.execute(REMOVE_FREE, server_id)


REMOVE_ALL = "DELETE FROM slots WHERE server_id = $1"


async def remove_all(conn: Conn, server_id: ServerId) -> None:
    await conn.execute(REMOVE_ALL, server_id)


OCCUPIED = "SELECT count(*) FROM slots WHERE server_id = $1 AND database_id IS NOT NULL"


async def occupied(conn: Conn, server_id: ServerId) -> int:
    count: int = await conn.fetchval(OCCUPIED, server_id)
    return count


CAPACITY_LOCK = 0x64627363  # "dbsc": one decision about capacity at a time, over all processes
LOCK_CAPACITY = f"SELECT pg_try_advisory_xact_lock({CAPACITY_LOCK})"


async def lock_capacity(conn: Conn) -> bool:
    """The right to decide about capacity, until this transaction ends. False: somebody is just deciding."""
    granted: bool = await conn.fetchval(LOCK_CAPACITY)
    return granted


ROOM = f"""
SELECT
  (SELECT count(*) FROM databases WHERE status = 'waiting' AND server_type = 'shared') AS waiting,
  (SELECT count(*) FROM moves m JOIN operation_steps p USING (operation_id, ordinal)
    WHERE m.phase = 'seating' AND m.twin_id IS NULL AND m.target_id IS NULL AND m.type_after = 'shared' AND m.tries > 0
      AND p.state = 'running') AS stranded,
  (SELECT count(*) FROM databases d JOIN servers s ON s.id = d.server_id
    WHERE d.instance_id IS NULL AND d.status IN ('spare', 'creating') AND {OPEN}) AS spares,
  (SELECT count(*) FROM slots f JOIN servers s ON s.id = f.server_id
    WHERE f.database_id IS NULL AND s.server_type = 'shared' AND {OPEN}) AS free,
  (SELECT coalesce(sum(s.max_instances), 0) FROM servers s
    WHERE s.server_type = 'shared' AND NOT s.cordoned AND NOT s.manual
      AND (s.status IN ('provisioning', 'initializing') OR s.status = 'error' AND s.postgres_version IS NULL)) AS coming,
  (SELECT count(*) FROM servers s WHERE s.server_type = 'shared' AND {OPEN}) AS open_servers,
  (SELECT count(*) FROM servers s WHERE s.server_type = 'shared' AND s.status NOT IN ('deprovisioning', 'gone')) AS servers,
  (SELECT count(*) FROM databases WHERE claimed_at > $1) AS claims"""


async def room(conn: Conn, since: datetime, minutes: float) -> Room:
    """The shared fleet, counted; demand is measured from `since`, `minutes` ago."""
    row = await conn.fetchrow(ROOM, since)
    if row is None:
        raise LookupError("a query without FROM returned no row")
    return Room(
        waiting=row["waiting"],
        stranded=row["stranded"],
        spares=row["spares"],
        free=row["free"],
        coming=row["coming"],
        open_servers=row["open_servers"],
        servers=row["servers"],
        claims_per_minute=row["claims"] / minutes,
    )
