"""What of our rows each server keeps in its register."""

from collections.abc import Mapping

from database_service.domain.ids import ServerId
from database_service.domain.register import Entry, Kind
from database_service.store.pool import Conn
from database_service.store.sealed import KEY_OF

SERVER_COLUMNS = (
    "id", "name", "server_type", "provisioner", "cordoned", "cordon_reason", "manual", "priority", "max_instances", "instance_id",
    "customer_id", "plan_tier", "host", "port", "admin_user", "admin_password_sealed", "admin_password_version", "image",
    "postgres_version", "cpu_limit", "memory_limit", "request_key", "created_at",
)  # fmt: skip
"""What a server is made again from."""

DATABASE_COLUMNS = (
    "id", "status", "instance_id", "customer_id", "asked_tier", "server_type", "require_dedicated", "database_name", "plan_tier",
    "template", "name", "owner_role", "protected", "purge_after", "created_at", "claimed_at", "ready_at", "released_at", "twin_of",
)  # fmt: skip
"""What a database is made again from."""

# With the keys they are sealed with: a row that is sealed with another key is no newer, but what is kept of it is out of date.
STAMPS = f"""
SELECT s.id, concat_ws('/', s.version, {KEY_OF.format(value="s.admin_password_sealed")}, count(d.id), coalesce(sum(d.version), 0),
                       (SELECT concat_ws('/', c.not_after, {KEY_OF.format(value="c.key_sealed")}) FROM certificates c
                        WHERE c.server_id = s.id),
                       (SELECT max(a.generation) FROM authorities a)) AS stamp
FROM servers s LEFT JOIN databases d ON d.server_id = s.id
WHERE s.status = 'active' AND s.health_status <> 'unhealthy' GROUP BY s.id"""


async def stamps(conn: Conn) -> Mapping[ServerId, str]:
    """For each server that answers, what differs whenever anything of it or its databases was changed."""
    return {row["id"]: row["stamp"] for row in await conn.fetch(STAMPS)}


ENTRIES = """
SELECT s.id, 'server' AS kind, '' AS owner_role, s.version,
       (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(s)) WHERE key = ANY ($2::text[]))
       || coalesce((SELECT jsonb_build_object('certificate', to_jsonb(c), 'authorities',
                                              (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.generation) FROM authorities a))
                    FROM certificates c WHERE c.server_id = s.id), '{}') AS told
FROM servers s WHERE s.id = $1
UNION ALL
SELECT d.id, 'database', d.owner_role, d.version,
       (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(d)) WHERE key = ANY ($3::text[]))
FROM databases d WHERE d.server_id = $1 AND d.physical_name IS NOT NULL AND d.status NOT IN ('purged', 'landing', 'spare')
  AND (d.instance_id IS NOT NULL OR d.twin_of IS NOT NULL)
ORDER BY 2 DESC, 1"""


async def entries(conn: Conn, server_id: ServerId) -> list[Entry]:
    """The server first, then every database on it that is somebody's."""
    rows = await conn.fetch(ENTRIES, server_id, list(SERVER_COLUMNS), list(DATABASE_COLUMNS))
    return [
        Entry(row["id"], Kind(row["kind"]), server_id, row["owner_role"], row["version"], row["told"]) for row in rows
    ]
