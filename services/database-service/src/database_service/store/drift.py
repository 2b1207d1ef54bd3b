"""Rows of `drift` and `drift_look`, and what rows say that the world is compared with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from database_service.domain.drift import Drift, Finding, Tenant
from database_service.domain.ids import DriftId, ServerId, Who
from database_service.domain.servers import Server
from database_service.store.pool import Conn
from database_service.store.rows import DRIFT, SERVER, drift_of, server_of

# -- what rows say ----------------------------------------------------------------------------------------------------

LIVE = f"SELECT {SERVER} FROM servers s WHERE s.status <> 'gone' ORDER BY s.seq"


async def live_servers(conn: Conn) -> Mapping[ServerId, Server]:
    """Every server that is not gone."""
    return {server.id: server for server in map(server_of, await conn.fetch(LIVE))}


WANTED = "SELECT DISTINCT server_id FROM databases WHERE server_id = ANY ($1::uuid[])"


async def wanted(conn: Conn, server_ids: Sequence[ServerId]) -> frozenset[ServerId]:
    """Those of these servers that any database's row points to."""
    return frozenset(ServerId(row["server_id"]) for row in await conn.fetch(WANTED, list(server_ids)))


TENANTS = """
SELECT d.name, d.instance_id, d.owner_role, d.version,
       d.status IN ('spare', 'ready', 'released') AND d.physical_name = d.name
         AND d.lease_until IS NULL AND (d.due_at IS NULL OR d.due_at > $2) AS settled,
       array_agg(l.role) FILTER (WHERE l.state = 'active' AND (l.expires_at IS NULL OR l.expires_at > $2)) AS logins,
       array_agg(l.role) FILTER (WHERE l.state = 'pending' OR l.state = 'active' AND l.expires_at <= $2) AS other_logins
FROM databases d LEFT JOIN logins l ON l.database_id = d.id AND l.state <> 'dropped'
WHERE d.server_id = $1 GROUP BY d.id"""


async def tenants(conn: Conn, server_id: ServerId, now: datetime) -> list[Tenant]:
    """Every database that has its seat on this server, also those still to be made or dropped."""
    return [
        Tenant(
            name=row["name"],
            instance_id=row["instance_id"],
            owner_role=row["owner_role"],
            logins=frozenset(row["logins"] or ()),
            other_logins=frozenset(row["other_logins"] or ()),
            version=row["version"],
            settled=row["settled"] is True,
        )
        for row in await conn.fetch(TENANTS, server_id, now)
    ]


KNOWN = """
SELECT owner_role AS role FROM databases
WHERE owner_role = ANY ($1::text[]) AND (status <> 'purged' OR server_id IS NOT NULL)
UNION ALL SELECT role FROM logins WHERE role = ANY ($1::text[]) AND state <> 'dropped'
UNION ALL SELECT mover_role FROM moves WHERE mover_role = ANY ($1::text[]) AND phase NOT IN ('done', 'undone')
UNION ALL SELECT l.role FROM logins l JOIN databases t ON t.twin_of = l.database_id AND t.server_id IS NOT NULL
  WHERE l.role = ANY ($1::text[])"""


async def known_roles(conn: Conn, roles: Sequence[str]) -> frozenset[str]:
    """Those of these roles that any row of any server knows."""
    return frozenset(row["role"] for row in await conn.fetch(KNOWN, list(roles)))


# -- findings ---------------------------------------------------------------------------------------------------------

RECORD = """
WITH found AS (
  SELECT * FROM jsonb_to_recordset($1::jsonb) AS f (kind text, provisioner text, server_id uuid, server_name text, thing text,
                                                    told jsonb, remark text, kept text)
), recorded AS (
  INSERT INTO drift AS d (id, kind, provisioner, server_id, server_name, thing, told, remark, kept, first_seen, last_seen)
  SELECT gen_random_uuid(), f.*, $2, $2 FROM found f
  ON CONFLICT (kind, server_id, thing) DO UPDATE SET
    provisioner = excluded.provisioner, server_name = excluded.server_name, told = excluded.told, remark = excluded.remark,
    kept = excluded.kept, last_seen = excluded.last_seen, gone_at = NULL,
    first_seen = CASE WHEN d.gone_at IS NULL THEN d.first_seen ELSE excluded.first_seen END,
    confirmation = CASE WHEN d.gone_at IS NULL THEN d.confirmation END,
    confirmed_at = CASE WHEN d.gone_at IS NULL THEN d.confirmed_at END,
    confirmed_by = CASE WHEN d.gone_at IS NULL THEN d.confirmed_by END,
    begun_at = CASE WHEN d.gone_at IS NULL THEN d.begun_at END
  -- A look that began before another ended may say what is no longer so.
  WHERE CASE WHEN d.gone_at IS NULL THEN d.last_seen <= excluded.last_seen ELSE d.gone_at < excluded.last_seen END
  RETURNING d.id, d.kind, d.told, d.first_seen = $2 AS fresh
), noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, after, why, request_id)
  SELECT $3, $4, 'drift.found', 'drift', id, kind, (SELECT string_agg(t, '; ') FROM jsonb_array_elements_text(told) t), $5
  FROM recorded WHERE fresh
)
SELECT count(*) FILTER (WHERE fresh) FROM recorded"""


async def record(conn: Conn, findings: Sequence[Finding], began: datetime, now: datetime, who: Who) -> int:
    """What a look that began then has found; returns how much of it is new."""
    return int(await conn.fetchval(RECORD, [_told(f) for f in findings], began, now, who.actor, who.request_id))


def _told(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind,
        "provisioner": finding.provisioner,
        "server_id": str(finding.server_id),
        "server_name": finding.server_name,
        "thing": finding.thing,
        "told": list(finding.told),
        "remark": finding.remark,
        "kept": finding.kept,
    }


THERE = f"SELECT {DRIFT} FROM drift d WHERE d.gone_at IS NULL ORDER BY d.seq"


async def there(conn: Conn) -> list[Drift]:
    """Every finding that was still there at the last look."""
    return [drift_of(row) for row in await conn.fetch(THERE)]


HEAL = """
WITH healed AS (
  UPDATE drift SET gone_at = $3, due_at = NULL
  WHERE id = ANY ($1::uuid[]) AND gone_at IS NULL AND begun_at IS NULL AND last_seen < $2
  RETURNING id, kind
), noted AS (
  INSERT INTO events (at, actor, action, subject, subject_id, before, request_id)
  SELECT $3, $4, 'drift.gone', 'drift', id, kind, $5 FROM healed
)
SELECT count(*) FROM healed"""


async def heal(conn: Conn, ids: Sequence[DriftId], began: datetime, now: datetime, who: Who) -> int:
    """These are no longer so; but for those that another look has seen since, and those being removed. Returns how many."""
    return int(await conn.fetchval(HEAL, list(ids), began, now, who.actor, who.request_id))


GET = f"SELECT {DRIFT} FROM drift d WHERE d.id = $1"


async def get(conn: Conn, drift_id: DriftId) -> Drift | None:
    row = await conn.fetchrow(GET, drift_id)
    return drift_of(row) if row else None


LOCK = f"{GET} FOR UPDATE"


async def lock(conn: Conn, drift_id: DriftId) -> Drift | None:
    """For a verb that changes what is to become of it."""
    row = await conn.fetchrow(LOCK, drift_id)
    return drift_of(row) if row else None


# -- removal ----------------------------------------------------------------------------------------------------------

CONFIRM = f"""
UPDATE drift d SET confirmation = $2, confirmed_at = $3, confirmed_by = $4, due_at = $3, attempts = 0, last_error = NULL
WHERE d.id = $1 RETURNING {DRIFT}"""


async def confirm(conn: Conn, drift_id: DriftId, confirmation: str, who: Who, now: datetime) -> Drift:
    """Of a locked row: its removal is wanted, and due now."""
    row = await conn.fetchrow(CONFIRM, drift_id, confirmation, now, who.actor)
    if row is None:
        raise LookupError(f"drift {drift_id} vanished under its lock")
    return drift_of(row)


CLAIM = f"""
UPDATE drift d SET lease_until = $3, lease_token = $4
WHERE d.id = $1 AND d.due_at <= $2 AND (d.lease_until IS NULL OR d.lease_until <= $2)
RETURNING {DRIFT}"""


async def claim(conn: Conn, drift_id: DriftId, now: datetime, lease: timedelta, token: UUID) -> Drift | None:
    """Take a confirmed removal for one step. None: not due, or somebody has it."""
    row = await conn.fetchrow(CLAIM, drift_id, now, now + lease, token)
    return drift_of(row) if row else None


BEGIN = """
UPDATE drift SET begun_at = coalesce(begun_at, $3)
WHERE id = $1 AND lease_token = $2 AND gone_at IS NULL RETURNING true"""


async def begin(conn: Conn, drift_id: DriftId, token: UUID, now: datetime) -> bool:
    """From here on the removal is finished. False where the lease is another's, or a look found it gone."""
    return await conn.fetchval(BEGIN, drift_id, token, now) is True


END = """
UPDATE drift SET gone_at = $3, due_at = NULL, lease_until = NULL, lease_token = NULL, last_error = NULL
WHERE id = $1 AND lease_token = $2 AND gone_at IS NULL RETURNING true"""


async def end(conn: Conn, drift_id: DriftId, token: UUID, now: datetime) -> bool:
    """It is gone. False where the lease is another's, or a look found it gone before."""
    return await conn.fetchval(END, drift_id, token, now) is True


REFUSE = """
UPDATE drift SET confirmation = NULL, confirmed_at = NULL, confirmed_by = NULL, begun_at = NULL, due_at = NULL,
  lease_until = NULL, lease_token = NULL, last_error = $3
WHERE id = $1 AND lease_token = $2 AND gone_at IS NULL RETURNING true"""


async def refuse(conn: Conn, drift_id: DriftId, token: UUID, why: str) -> bool:
    """The confirmation counts for nothing; another one is needed. False where the lease is another's."""
    return await conn.fetchval(REFUSE, drift_id, token, why) is True


PUT_OFF = """
UPDATE drift SET attempts = attempts + 1, last_error = $3, due_at = $4, lease_until = NULL, lease_token = NULL
WHERE id = $1 AND lease_token = $2 AND gone_at IS NULL"""


async def put_off(conn: Conn, drift_id: DriftId, token: UUID, why: str, due_at: datetime) -> None:
    await conn.execute(PUT_OFF, drift_id, token, why, due_at)


# -- the look ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unlooked:
    """Where a look could not look, and why."""

    where: str
    why: str


WANT_LOOK = """
INSERT INTO drift_look AS l (wanted_at) VALUES ($1)
ON CONFLICT (only_one) DO UPDATE SET wanted_at = greatest(l.wanted_at, excluded.wanted_at)"""


async def want_look(conn: Conn, now: datetime) -> None:
    await conn.execute(WANT_LOOK, now)


LOOK_IS_WANTED = "SELECT EXISTS (SELECT FROM drift_look WHERE wanted_at > coalesce(began_at, '-infinity'))"


async def look_is_wanted(conn: Conn) -> bool:
    """Whether somebody asked for a look that nobody has ended since."""
    return await conn.fetchval(LOOK_IS_WANTED) is True


NOTE_LOOK = """
INSERT INTO drift_look AS l (began_at, ended_at, unlooked) VALUES ($1, $2, $3)
ON CONFLICT (only_one) DO UPDATE SET began_at = excluded.began_at, ended_at = excluded.ended_at, unlooked = excluded.unlooked
WHERE l.began_at IS NULL OR l.began_at <= excluded.began_at"""


async def note_look(conn: Conn, began: datetime, ended: datetime, unlooked: Sequence[Unlooked]) -> None:
    """How far the newest look reached."""
    await conn.execute(NOTE_LOOK, began, ended, [{"where": place.where, "why": place.why} for place in unlooked])
