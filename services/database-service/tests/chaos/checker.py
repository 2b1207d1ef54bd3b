"""The checker: when all is quiet, what clients were told is compared with rows, rows with servers, and servers with processes."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec
from urllib.parse import quote

import asyncpg
import httpx

from chaos.clients import CUT_OFF, Client, lets_in
from chaos.memory import Door, Given, Life, Own, Race, Works
from chaos.system import System
from database_service.domain.ids import ServerId
from database_service.domain.secret import Secret
from database_service.provisioners.place import Place
from database_service.reconcilers.registers import SEALED
from database_service.secretbox import SecretBox
from database_service.store import register
from support.cluster import Cluster
from support.invariants import SEATS, UNREST, UNTOLD, World, complaints, locked_out, look_at, unlike_the_world
from support.local_servers import postmasters_in

P = ParamSpec("P")
QUIET_S = 120.0
"""What the system is given once faults have stopped."""
LOOK_S = 0.5
LOGIN_S = 10.0
PATIENCE = 5
WRITTEN_BEHIND_S = 30.0
"""Registers and the audit trail's links follow what they are about; some rounds of theirs."""

ILL = """
SELECT format('server %s is %s (%s): %s', name, health_status, status, health_message) FROM servers
WHERE status = 'active' AND health_status <> 'healthy'
UNION ALL
SELECT format('%s waits for room since %s: %s', instance_id, created_at, last_error) FROM databases WHERE status = 'waiting'
UNION ALL
SELECT format('%s should have been purged by %s', instance_id, purge_after) FROM databases
WHERE status = 'released' AND NOT protected AND purge_after < now() - interval '10 s'
UNION ALL
SELECT format('a login of %s is still to be made', d.instance_id) FROM logins l JOIN databases d ON d.id = l.database_id
WHERE l.state = 'pending' AND d.status = 'ready'"""

ENDING = """
SELECT format('%s is still there, released until %s', coalesce(instance_id, name), purge_after) FROM databases
WHERE status = 'released' AND NOT protected
UNION ALL
SELECT format('%s is still to be dropped from %s', d.name, s.name) FROM databases d JOIN servers s ON s.id = d.server_id
WHERE d.status = 'purged' AND s.status = 'active'
UNION ALL
SELECT format('%s is still to be removed', name) FROM servers WHERE status = 'deprovisioning' AND due_at < now() + interval '5 s'"""

EVENTS = """
SELECT instance_id, action, count(*) AS number FROM events WHERE instance_id IS NOT NULL GROUP BY 1, 2"""
POOL_EVENTS = (
    "SELECT subject_id::text AS id, action, count(*) AS number FROM events WHERE subject = 'server' GROUP BY 1, 2"
)
SERVERS = "SELECT id, status, host, port, admin_user, admin_password_sealed FROM servers WHERE provisioner = 'process'"
STATUS = "SELECT status FROM servers WHERE id = $1"
LOGINS = """
SELECT d.instance_id, count(*) AS number FROM logins l JOIN databases d ON d.id = l.database_id
WHERE d.instance_id IS NOT NULL GROUP BY 1"""
REGISTER = "SELECT id, told::text AS told FROM dbs_register.entries WHERE server_id = $1"
ORDERS = "SELECT request_key, count(*) FROM servers WHERE request_key IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
HISTORY = """
SELECT line FROM (
  SELECT instance_id, at,
    format('%s %s %s: %s → %s %s (%s, request %s)', instance_id, at, action, before, after, why, actor, request_id)
  FROM events
  UNION ALL
  SELECT d.instance_id, l.created_at, format('%s: %s the login %s, asked for with %s, is %s until %s; those before it for %s',
    d.instance_id, l.created_at, l.role, l.request_key, l.state, l.expires_at, l.overlap)
  FROM logins l JOIN databases d ON d.id = l.database_id
) AS known (instance_id, at, line) WHERE instance_id IN (
  SELECT d.instance_id FROM databases d LEFT JOIN logins l ON l.database_id = d.id
  WHERE ARRAY[d.instance_id, d.name, d.owner_role, l.role] && $1::text[]
) ORDER BY instance_id, at"""
NAME = re.compile(r"\b(?:(?:c|race-)\d+-\d+|(?:u|db|own)_\w+)\b")
TOLD_OF = {
    "released": "database.released",
    "undeleted": "database.undeleted",
    "rotated": "database.rotated",
    "reads": "database.credentials_read",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`complaints` is empty where every promise was kept. `quiet_s`: how long it took until nothing was in progress."""

    complaints: Sequence[str]
    quiet_s: float
    counted: Counter[str]
    history: Sequence[str] = ()
    """Of the instances that are complained of: their events, and their logins as they are."""

    @property
    def sound(self) -> bool:
        return not self.complaints


async def check(system: System, clients: Sequence[Client], races: Iterable[Race]) -> Verdict:
    """Clients have finished; faults are over. What they complained of comes first: it is the nearest to a cause."""
    counted: Counter[str] = Counter()
    found = [*clients[0].journal.complaints, *(f"supervisord gave up {name}" for name in system.given_up())]
    try:
        conn = await asyncpg.connect(system.control_dsn, timeout=LOGIN_S)
    except CUT_OFF as e:
        return Verdict([*found, f"the control plane's database is not there: {e}"], 0, counted)
    try:
        await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        unrest, quiet_s = await _until_quiet(conn)
        looks = [
            _rows(conn, system),
            _until_ended(conn),
            _world(conn, system, counted),
            _events(conn, clients, counted),
        ]
        found += [*unrest, *[what for look in looks for what in await _seen(look)]]
        found += await _seen(_told(system, clients, races, counted))
        history = await complaints(conn, HISTORY, NAME.findall(" ".join(found)))
    finally:
        await conn.close()
    return Verdict(found, quiet_s, counted, history)


async def _seen(look: Coroutine[None, None, list[str]]) -> list[str]:
    """What cannot be looked at is a complaint as well."""
    try:
        return await look
    except (*CUT_OFF, httpx.TransportError) as e:
        return [f"{look.__name__} could not be looked at: {type(e).__name__} {e}"]


async def _told(system: System, clients: Sequence[Client], races: Iterable[Race], counted: Counter[str]) -> list[str]:
    """Each instance as its clients know it."""
    headers = {"Authorization": f"Bearer {system.token}"}
    async with httpx.AsyncClient(base_url=system.url, headers=headers, timeout=LOGIN_S) as http:
        trail = await _trail(http, counted)
        lives = [what for client in clients for life in client.lives for what in await _life(http, life, counted)]
        return trail + lives + [what for race in races for what in await _race(http, race, counted)]


async def _trail(http: httpx.AsyncClient, counted: Counter[str]) -> list[str]:
    """Every event is linked, and as it was when it was."""
    seen = (await http.get("/admin/events/verification")).raise_for_status().json()
    while seen["ok"] and not seen["complete"]:
        seen = (await http.get("/admin/events/verification", params={"since": seen["head"]})).raise_for_status().json()
    counted["events that are linked"] = seen["verified"]
    return [] if seen["ok"] else [f"the audit trail is not what was written: {seen['fault']}"]


async def _until_quiet(conn: "asyncpg.Connection[asyncpg.Record]") -> tuple[list[str], float]:
    """Nothing in progress, in three looks one after the other; what is in progress still when time is up."""
    began, calm = time.monotonic(), 0
    while True:
        unrest = [*await complaints(conn, UNREST), *await complaints(conn, ILL)]
        calm = 0 if unrest else calm + 1
        took = time.monotonic() - began
        if calm == 3 or took > QUIET_S:
            return [f"after {took:.0f} s: {what}" for what in unrest], took
        await asyncio.sleep(LOOK_S)


async def _until_ended(conn: "asyncpg.Connection[asyncpg.Record]") -> list[str]:
    """What was released is deleted in its time. From then on nothing changes by itself, and the world can be looked at."""
    until = time.monotonic() + QUIET_S
    while ending := await complaints(conn, ENDING):
        if time.monotonic() > until:
            return ending
        await asyncio.sleep(LOOK_S)
    return []


# -- rows and the world -----------------------------------------------------------------------------------------------


async def _rows(conn: "asyncpg.Connection[asyncpg.Record]", system: System) -> list[str]:
    secrets = SecretBox.from_ring(system.embedded.settings.key_ring())
    doubled = [f"{row['request_key']} ordered {row['count']} servers" for row in await conn.fetch(ORDERS)]
    return [
        *await complaints(conn, SEATS),
        *await complaints(conn, UNTOLD),
        *await locked_out(conn, secrets),
        *doubled,
    ]


async def _world(conn: "asyncpg.Connection[asyncpg.Record]", system: System, counted: Counter[str]) -> list[str]:
    """Servers as their rows say, and nothing beside them: no directory, no process, no dump, no database, no role."""
    secrets = SecretBox.from_ring(system.embedded.settings.key_ring())
    rows = {row["id"]: row for row in await conn.fetch(SERVERS)}
    places = {place.id: place for place in system.places()}
    found = [
        f"a directory without a row: {place.directory}" for key, place in places.items() if not _is_there(rows, key)
    ]
    found += [f"what was removed is not deleted: {grave}" for grave in (system.pools_dir / ".removed").glob("*")]
    found += [f"a dump was left: {dump}" for dump in system.embedded.settings.dumps().glob("*")]
    for server_id, row in rows.items():
        if row["status"] == "gone":
            continue
        theirs = _processes(places.get(server_id), 1 if row["status"] == "active" else 0)
        if await conn.fetchval(STATUS, server_id) != row["status"]:
            continue  # a released database was deleted meanwhile, and its own server went with it
        found += theirs
        if row["status"] != "active":
            continue  # its data is kept for a while, and nobody serves it
        password = secrets.open(row["admin_password_sealed"], server_id)
        cluster = Cluster(row["host"], row["port"], row["admin_user"], Secret(password.reveal()), Path("/"))
        counted["servers"] += 1
        try:
            there = await look_at(cluster)
            counted["databases on servers"] += len(there.databases)
            found += await _lasting(unlike_the_world, conn, cluster, World(frozenset(), frozenset()))
            found += await _register(conn, cluster, server_id, counted)
        except CUT_OFF as e:
            found.append(f"server {server_id} cannot be looked at: {e}")
    return found


async def _lasting(look: Callable[P, Awaitable[list[str]]], *args: P.args, **kwargs: P.kwargs) -> list[str]:
    """What is seen in each of some looks: released databases are deleted meanwhile, role by role, as they should be."""
    found = await look(*args, **kwargs)
    for _ in range(PATIENCE):
        if not found:
            break
        await asyncio.sleep(LOOK_S)
        again = await look(*args, **kwargs)
        found = [what for what in found if what in again]
    return found


async def _register(
    conn: "asyncpg.Connection[asyncpg.Record]", cluster: Cluster, server_id: ServerId, counted: Counter[str]
) -> list[str]:
    """What the server keeps of its databases is what the rows say, at the latest some rounds after they changed."""
    there = await asyncpg.connect(cluster.dsn(), timeout=LOGIN_S)
    until = time.monotonic() + WRITTEN_BEHIND_S
    try:
        while wrong := _unlike(
            {str(entry.id): entry.told for entry in await register.entries(conn, server_id)},
            {str(row["id"]): json.loads(row["told"]) for row in await there.fetch(REGISTER, server_id)},
        ):
            if time.monotonic() > until:
                return [f"the register of {server_id}: {what}" for what in wrong]
            await asyncio.sleep(LOOK_S)
        counted["entries in registers"] += await there.fetchval("SELECT count(*) FROM dbs_register.entries")
    finally:
        await there.close()
    return []


def _unlike(rows: Mapping[str, Mapping[str, object]], kept: Mapping[str, Mapping[str, object]]) -> list[str]:
    return [
        f"{key}: {column} is {kept.get(key, {}).get(column)} and should be {value}"
        for key, told in rows.items()
        for column, value in told.items()
        if column not in SEALED and (key not in kept or kept[key].get(column) != value)
    ]


def _is_there(rows: dict[object, asyncpg.Record], server_id: object) -> bool:
    return server_id in rows and rows[server_id]["status"] != "gone"


def _processes(place: Place | None, due: int) -> list[str]:
    if place is None:
        return ["a server has no directory"]
    serving = len(postmasters_in(place.data_dir))
    return [] if serving == due else [f"{serving} postmasters serve {place.data_dir}, not {due}"]


# -- events -----------------------------------------------------------------------------------------------------------


async def _events(
    conn: "asyncpg.Connection[asyncpg.Record]", clients: Sequence[Client], counted: Counter[str]
) -> list[str]:
    """Each answered change has its event; and no more logins were made than were asked for."""
    told = Counter({(row["instance_id"], row["action"]): row["number"] for row in await conn.fetch(EVENTS)})
    pools = Counter({(row["id"], row["action"]): row["number"] for row in await conn.fetch(POOL_EVENTS)})
    logins = {row["instance_id"]: row["number"] for row in await conn.fetch(LOGINS)}
    counted["events"] = sum(told.values()) + sum(pools.values())
    found = []
    for life in (life for client in clients for life in client.lives):
        found += _untold(life, told)
        most = 1 + life.rotations
        if logins.get(life.instance, 0) > most:
            found.append(f"{life.instance} has {logins[life.instance]} logins for {life.rotations} rotations")
    for own in (own for client in clients for own in client.pools if own.id):
        found += _untold_pool(own, pools)
    return found


def _untold(life: Life, told: Counter[tuple[str, str]]) -> list[str]:
    begun = sum(told[life.instance, f"database.{what}"] for what in ("claimed", "asked_for"))
    found = [] if begun or life.door is Door.UNKNOWN else [f"{life.instance}: no event tells of its allocation"]
    for what, action in TOLD_OF.items():
        events, answered = told[life.instance, action], getattr(life, what)
        if events < answered:
            found.append(f"{life.instance}: {answered} × {what} answered, {events} events")
    return found


def _untold_pool(own: Own, told: Counter[tuple[str, str]]) -> list[str]:
    assert own.id is not None
    wanted = [
        "server.ordered",
        *(["server.retired"] if own.retired else []),
        *(["server.cordoned"] if own.cordons else []),
    ]
    return [f"pool {own.key}: no event {action}" for action in wanted if not told[own.id, action]]


# -- what clients were told -------------------------------------------------------------------------------------------


async def _life(http: httpx.AsyncClient, life: Life, counted: Counter[str]) -> list[str]:
    counted["instances"] += 1
    if not life.settled:
        return [f"{life.instance}: no certain answer came, however often it was asked for"]
    answer = await http.get(f"/databases/{life.instance}")
    if life.door is Door.SHUT or life.gone:
        return await _shut(answer, life, counted)
    if answer.status_code != 200 or answer.json()["status"] != "ready":
        return [f"{life.instance} should be ready: {answer.status_code} {answer.json().get('status')}"]
    return await _open(http, life, counted)


async def _shut(answer: httpx.Response, life: Life, counted: Counter[str]) -> list[str]:
    counted["released"] += 1
    if answer.status_code != 410 and answer.json()["status"] != "released":
        return [f"{life.instance} was released and is {answer.json()['status']}"]
    return [
        f"{life.instance} is released, and {given.user} logs in" for given in life.given if await lets_in(life, given)
    ]


async def _open(http: httpx.AsyncClient, life: Life, counted: Counter[str]) -> list[str]:
    counted["in use"] += 1
    answer = await http.get(f"/databases/{life.instance}/credentials")
    if answer.status_code != 200:
        return [f"{life.instance}: its credentials are answered with {answer.status_code}"]
    contradiction = life.learn(answer.json())
    found = [contradiction] if contradiction else []
    for given in life.given:
        counted["logins tried"] += 1
        works = await _works(life, given)
        if given.works is not Works.UNSURE and works is not given.works:
            order = ", ".join(f"{one.user} {one.works}" for one in life.given)
            found.append(
                f"{life.instance}: {given.user} logs in: {works}, and should: {given.works} "
                f"(known are {order}, of {life.rotations} rotations)"
            )
    return [*found, *await _kept(life, counted)]


async def _works(life: Life, given: Given) -> Works:
    """Nothing is broken any more: who gets no answer asks again."""
    for _ in range(PATIENCE):
        let_in = await lets_in(life, given)
        if let_in is not None:
            return Works.YES if let_in else Works.NO
    return Works.UNSURE


async def _kept(life: Life, counted: Counter[str]) -> list[str]:
    """Acknowledged rows are there, and nobody else's."""
    if not life.written or life.newest is None or life.place is None:
        return []
    host, port = life.place
    login = f"{life.newest.user}:{quote(life.newest.password)}"
    try:
        conn = await asyncpg.connect(f"postgresql://{login}@{host}:{port}/{life.newest.database}", timeout=10)
    except CUT_OFF as e:
        return [f"{life.instance}: its rows cannot be read: {e}"]
    try:
        rows = {row["number"]: row["instance"] for row in await conn.fetch("SELECT number, instance FROM kept")}
    except asyncpg.UndefinedTableError:
        rows = {}
    finally:
        await conn.close()
    counted["acknowledged rows"] += len(life.kept)
    lost, strangers = life.kept - rows.keys(), set(rows.values()) - {life.instance}
    return [
        *([f"{life.instance}: acknowledged rows are lost: {sorted(lost)[:10]}"] if lost else []),
        *([f"{life.instance}: rows of others are in it: {sorted(strangers)}"] if strangers else []),
    ]


async def _race(http: httpx.AsyncClient, race: Race, counted: Counter[str]) -> list[str]:
    if not race.told:
        return []
    counted["raced for"] += 1
    (customer, seats), *_ = race.told.items()
    answer = await http.get(f"/databases/{race.instance}/credentials")
    if answer.status_code != 200:
        return [f"{race.instance}: its credentials are answered with {answer.status_code}"]
    now = tuple(answer.json()[key] for key in ("db_name", "db_user", "db_password"))
    return [] if now in seats else [f"{race.instance}: {customer} was given other credentials"]
