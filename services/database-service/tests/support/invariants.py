"""What must hold of a quiet house, whatever happened before: rows against rows, and rows against the real servers."""

from dataclasses import dataclass

import asyncpg

from database_service.domain.ids import InstanceId
from database_service.domain.servers import Address
from database_service.secretbox import SecretBox
from database_service.store import databases
from database_service.store.pool import Conn
from support.cluster import Cluster
from support.house import House

AT_REST = ("spare", "ready", "released", "purged", "waiting")

UNREST = f"""
SELECT format('%s %s is %s: %s', 'database', instance_id, status, last_error) FROM databases
WHERE status <> ALL ('{{{",".join(AT_REST)}}}') OR lease_until IS NOT NULL OR status = 'purged' AND server_id IS NOT NULL
UNION ALL
SELECT format('%s %s is %s: %s', 'server', name, status, last_error) FROM servers
WHERE status NOT IN ('active', 'gone') AND keep_data_until IS NULL OR lease_until IS NOT NULL
UNION ALL
SELECT format('%s %s is %s: %s', 'operation', kind, state, last_error) FROM operations
WHERE state IN ('pending', 'running') OR lease_until IS NOT NULL
UNION ALL
SELECT format('the step of %s is %s and held: %s', name, state, held) FROM operation_steps
WHERE state IN ('pending', 'running', 'undoing') OR held"""

SEATS = """
SELECT format('database %s (%s, %s) has %s slots', d.id, d.instance_id, d.status, count(t.database_id))
FROM databases d LEFT JOIN slots t ON t.database_id = d.id AND t.server_id = d.server_id
GROUP BY d.id HAVING count(t.database_id) <> (d.server_id IS NOT NULL)::int
UNION ALL
SELECT format('slot %s of %s holds nothing that is there', t.ordinal, t.server_id)
FROM slots t LEFT JOIN databases d ON d.id = t.database_id AND d.server_id = t.server_id
WHERE t.database_id IS NOT NULL AND d.id IS NULL
UNION ALL
SELECT format('server %s has %s slots of %s', s.name, count(t.*), s.max_instances)
FROM servers s LEFT JOIN slots t ON t.server_id = s.id WHERE s.status = 'active'
GROUP BY s.id HAVING count(t.*) <> s.max_instances"""

UNTOLD = """
SELECT format('database %s is %s, its last event says %s', d.id, d.status, e.after)
FROM databases d LEFT JOIN LATERAL (
  SELECT after FROM events WHERE subject = 'database' AND subject_id = d.id AND after IS NOT NULL ORDER BY id DESC LIMIT 1
) e ON true
WHERE e.after IS DISTINCT FROM d.status
UNION ALL
SELECT format('server %s is %s, its last event says %s', s.name, s.status, e.after)
FROM servers s LEFT JOIN LATERAL (
  SELECT after FROM events WHERE subject = 'server' AND subject_id = s.id AND after IS NOT NULL
  AND action NOT LIKE 'server.health_%' ORDER BY id DESC LIMIT 1
) e ON true
WHERE e.after IS DISTINCT FROM s.status
UNION ALL
SELECT format('operation %s is %s, its last event says %s', o.id, o.state, e.after)
FROM operations o LEFT JOIN LATERAL (
  SELECT after FROM events WHERE subject = 'operation' AND subject_id = o.id ORDER BY id DESC LIMIT 1
) e ON true
WHERE e.after IS DISTINCT FROM o.state"""

DATABASES_HERE = "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"
ROLES_HERE = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper"


@dataclass(frozen=True)
class World:
    """What is on a real server: databases and roles."""

    databases: frozenset[str]
    roles: frozenset[str]

    def without(self, other: "World") -> "World":
        return World(self.databases - other.databases, self.roles - other.roles)


async def look_at(cluster: Cluster) -> World:
    conn = await asyncpg.connect(cluster.dsn())
    try:
        return World(
            frozenset(row[0] for row in await conn.fetch(DATABASES_HERE)),
            frozenset(row[0] for row in await conn.fetch(ROLES_HERE)),
        )
    finally:
        await conn.close()


async def assert_sound(house: House, before: World, *others: tuple[Cluster, World]) -> None:
    """Every invariant that can be seen from outside, on the house's tenant server and on others that its pools stand on."""
    async with house.deps.db.connection() as conn:
        found = [
            *await complaints(conn, UNREST),
            *await complaints(conn, SEATS),
            *await complaints(conn, UNTOLD),
            *[
                complaint
                for cluster, world in ((house.tenant, before), *others)
                for complaint in await unlike_the_world(conn, cluster, world)
            ],
            *await locked_out(conn, house.deps.secrets),
        ]
    assert not found, found


async def complaints(conn: Conn, sql: str, *arguments: object) -> list[str]:
    """What one of the queries above finds."""
    return [row[0] for row in await conn.fetch(sql, *arguments)]


async def unlike_the_world(conn: Conn, cluster: Cluster, before: World) -> list[str]:
    """No orphan, nothing missing, on a server that pools stand on."""
    rows = await conn.fetch(
        """SELECT d.name, d.owner_role, d.physical_name FROM databases d JOIN servers s ON s.id = d.server_id
        WHERE s.host = $1 AND s.port = $2""",
        cluster.host,
        cluster.port,
    )
    roles = await conn.fetch(
        """SELECT l.role, d.status = 'released'
            AND (d.twin_of IS NOT NULL OR l.state = 'pending' OR coalesce(l.expires_at <= now(), false)) AS over
        FROM logins l JOIN databases d ON l.database_id IN (d.id, d.twin_of)
        JOIN servers s ON s.id = d.server_id WHERE s.host = $1 AND s.port = $2
          AND (l.state = 'active' OR l.state = 'pending' AND d.status = 'released')""",
        cluster.host,
        cluster.port,
    )
    # Who dies between a role's making or its end and the record of it leaves it to the next step, and a released database has none;
    # what a move left behind has the logins that there were then, and none that was made since.
    either_way = World(frozenset(), frozenset(row["role"] for row in roles if row["over"]))
    there = (await look_at(cluster)).without(before).without(either_way)
    expected = World(
        frozenset(row["name"] for row in rows),
        frozenset(row["owner_role"] for row in rows) | frozenset(row["role"] for row in roles if not row["over"]),
    )
    orphans, missing = there.without(expected), expected.without(there)
    where = f"{cluster.host}:{cluster.port}"
    return [f"orphan on {where}: {name}" for name in sorted(orphans.databases | orphans.roles)] + [
        f"missing on {where}: {name}" for name in sorted(missing.databases | missing.roles)
    ]


async def locked_out(conn: Conn, secrets: SecretBox) -> list[str]:
    """Every answered credential logs in; nobody gets into what is released."""
    ready = await conn.fetch("SELECT instance_id FROM databases WHERE status = 'ready'")
    seats = [await databases.seated(conn, InstanceId(row["instance_id"])) for row in ready]
    shut = await conn.fetch(
        """SELECT d.name, l.id, l.role, l.password_sealed, s.host, s.port FROM databases d
        JOIN logins l ON l.database_id IN (d.id, d.twin_of) JOIN servers s ON s.id = d.server_id
        WHERE d.status = 'released' AND l.state = 'active'"""
    )
    found = [f"{row['instance_id']} is ready and has no login" for row, s in zip(ready, seats, strict=True) if not s]
    for seated in filter(None, seats):
        password = secrets.open(seated.login.password_sealed, seated.login.id)
        if not await _lets_in(seated.address, seated.database.name, seated.login.role, password.reveal()):
            found.append(f"{seated.database.instance_id}: its credentials do not log in")
    for row in shut:
        password = secrets.open(row["password_sealed"], row["id"])
        if await _lets_in(Address(row["host"], row["port"]), row["name"], row["role"], password.reveal()):
            found.append(f"{row['name']} is released and still lets {row['role']} in")
    return found


async def _lets_in(address: Address, database: str, role: str, password: str) -> bool:
    """Nor does a server that is not there: that of a released database goes with it."""
    try:
        conn = await asyncpg.connect(
            host=address.host, port=address.port, user=role, password=password, database=database, timeout=10
        )
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError, OSError):
        return False
    await conn.close()
    return True
