"""The service dies at every effect of every verb; restarted, swept and asked again, it always comes back whole.

For each scenario the effects are counted first; then, for each number, a fresh house dies exactly there, another one takes
over its database, sweeps, the caller asks again, and the invariants are compared with rows and with the real servers.
CRASH_POINTS=name:7 replays one death. A run kills at every eighth effect, in moves at fewer, each day at others;
CRASH_POINTS=all kills everywhere.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest

from database_service.actions.allocate import allocate, provision_dedicated
from database_service.actions.change_plan import Wanted, change_plan
from database_service.actions.change_servers import Every, roll_out, rotate_admin_passwords
from database_service.actions.credentials import credentials
from database_service.actions.move_databases import move, roll_back
from database_service.actions.order_server import order_pool
from database_service.actions.release import release, undelete
from database_service.actions.retire_server import retire
from database_service.actions.rotate import rotate
from database_service.dataplane.sessions import TenantServers
from database_service.dataplane.transfers import Transfers
from database_service.domain import naming
from database_service.domain.databases import Ask, Status
from database_service.domain.errors import NameTaken, ProvisioningFailed
from database_service.domain.ids import CustomerId, InstanceId, OperationId, ServerId
from database_service.domain.operations import Target
from database_service.domain.plans import MIB, PLANS, Tier
from database_service.domain.servers import Health, Server, ServerSpec
from database_service.domain.tenancy import Admin, TenantSpec
from database_service.domain.transfers import Passage
from database_service.domain.usage import Stop
from database_service.provisioners.base import Provisioner
from database_service.provisioners.place import Hands
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers import newborn
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.servers import spec_of
from database_service.reconcilers.usage import sample_usage
from database_service.secretbox import random_name_bytes
from database_service.store import databases, servers, slots
from support.clock import Clock
from support.cluster import Cluster, execute
from support.faults import SHARE, Fate, FatedHands, Killed, moments
from support.house import EMPTY, POLICY, WHO, House, ask, login, open_house
from support.invariants import World, assert_sound, look_at

Do = Callable[[House], Awaitable[None]]

A = InstanceId("a")
AFTER_ANY_LEASE = timedelta(minutes=6)
SMALL, BIG = 128 * 1024**2, 256 * 1024**2


async def _nothing(_: House) -> None:
    pass


@dataclass(frozen=True)
class Scenario:
    """`prepare`, then `act` (which the caller repeats after a crash), then what must be true besides the invariants."""

    name: str
    act: Do
    check: Do
    prepare: Do = _nothing
    own_servers: bool = False
    share: int = SHARE
    """Of so many effects one is killed at."""
    unequal: bool = False
    """No copy is ever found to be the same."""
    provisioner: type[ProcessProvisioner] = ProcessProvisioner


# -- what is done -----------------------------------------------------------------------------------------------------


async def _a_pool(house: House) -> None:
    await house.pool(slots=3)


async def _a_pool_with_a_spare(house: House) -> None:
    await house.pool(slots=3)
    await house.spares(1)


async def _a_database(house: House) -> None:
    await _a_pool_with_a_spare(house)
    await _allocate(house)


async def _a_released_database(house: House) -> None:
    await _a_database(house)
    await _release(house)
    await house.until_quiet()


async def _allocate(house: House, **more: Any) -> None:
    await allocate(house.deps, replace(ask(A), **more), WHO)


async def _allocate_named(house: House) -> None:
    await _allocate(house, database_name=f"shop_{naming.short(A.encode() * 8)}")


async def _allocate_standard(house: House) -> None:
    await _allocate(house, plan_tier=Tier.STANDARD)


async def _rotate(house: House) -> None:
    await rotate(house.deps, A, WHO, overlap=timedelta(minutes=30), request_key="r-1")


async def _release(house: House) -> None:
    await release(house.deps, A, WHO)


async def _undelete(house: House) -> None:
    if (await house.database(A)).status in (Status.RELEASED, Status.RELEASING):
        await undelete(house.deps, A, WHO)


async def _outlive_the_grace(house: House) -> None:
    await house.later(timedelta(days=4))


async def _retire(house: House) -> None:
    async with house.deps.db.connection() as conn:
        for server in await servers.active(conn):
            await retire(house.deps, server.id, WHO)


async def _refill(house: House) -> None:
    await house.spares(2)


async def _order_and_settle(house: House) -> None:
    server = await order_pool(house.deps, WHO, max_instances=2, memory_limit=128 * 1024**2, request_key="order-1")
    await house.settled(server.id)


async def _dedicated(house: House) -> None:
    wanted = Ask(A, CustomerId("c-1"), Tier.PREMIUM, ask("x", Tier.PREMIUM).server_type)
    server = await provision_dedicated(house.deps, A, wanted.customer_id, Tier.PREMIUM, WHO)
    await house.settled(server.id)
    await allocate(house.deps, wanted, WHO)


async def _end_dedicated(house: House) -> None:
    await _release(house)
    await house.later(timedelta(days=31))


class NeverBig(ProcessProvisioner):
    """Restarts a server with its new settings, and finds only then, each time, that it is too big."""

    async def ensure(self, spec: ServerSpec) -> None:
        await super().ensure(spec)
        if spec.memory_limit == BIG:
            raise ProvisioningFailed("There is no node with so much memory.")

    async def differences(self, spec: ServerSpec) -> Sequence[str]:
        found = await super().differences(spec)
        return [*found, "it should be bigger"] if spec.memory_limit == BIG else found


async def _a_server_of_ours(house: House) -> None:
    await _order_and_settle(house)


async def _roll_out(house: House) -> None:
    target = Target(memory_limit=BIG, max_instances=1)
    operation = await roll_out(house.deps, WHO, Every.SHARED, target, request_key="rollout-1")
    await operation_steps.settle(house.deps, operation.id, timedelta(seconds=30))


async def _rotate_administrator(house: House) -> None:
    operation = await rotate_admin_passwords(house.deps, WHO, Every.SHARED, request_key="rotation-1")
    await operation_steps.settle(house.deps, operation.id, timedelta(seconds=30))


async def _change_plan(house: House) -> None:
    await house.finished((await change_plan(house.deps, Wanted(A, "standard"), WHO, request_key="plan-1")).id)


async def _a_table(house: House) -> None:
    await _a_database(house)
    conn = await login(await credentials(house.deps, A, WHO))
    await conn.execute("CREATE TABLE filled (n int)")
    await conn.close()


async def _stop(house: House) -> None:
    """It has more than its plan gives, as the plan gives hardly anything."""
    plan = PLANS[Tier.FREE]
    PLANS[Tier.FREE] = replace(plan, storage_bytes=5 * MIB)
    try:
        await sample_usage(house.deps)
        await house.until_quiet()
    finally:
        PLANS[Tier.FREE] = plan


async def _a_database_with_rows(house: House) -> None:
    """… and a second pool on another server."""
    await _a_pool(house)
    allocated = await allocate(house.deps, ask(A), WHO)
    conn = await login(allocated)
    await conn.execute("CREATE TABLE orders AS SELECT generate_series(1, 100) AS id")
    await conn.close()
    await house.pool(3, house.other)


async def _a_moved_database(house: House) -> None:
    await _a_database_with_rows(house)
    await _move(house)


async def _move(house: House) -> None:
    await house.finished((await move(house.deps, A, None, WHO, request_key="move-1")).id)


async def _move_up(house: House) -> None:
    await house.finished((await change_plan(house.hurried.deps, Wanted(A, "premium"), WHO, request_key="plan-1")).id)


async def _roll_back(house: House) -> None:
    operation_id = await house.value("SELECT id FROM operations WHERE kind = 'move'")
    await house.finished((await roll_back(house.deps, OperationId(cast("UUID", operation_id)), WHO)).id)


# -- what must be true ------------------------------------------------------------------------------------------------


async def _is_ready(house: House) -> None:
    assert (await house.database(A)).status is Status.READY
    assert await house.value("SELECT count(*) FROM databases WHERE instance_id IS NOT NULL") == 1


async def _is_ready_as_standard(house: House) -> None:
    await _is_ready(house)
    assert (await house.database(A)).limits_tier is Tier.STANDARD


async def _has_rotated_once(house: House) -> None:
    await _is_ready(house)
    assert len(await house.logins(A)) == 2
    await house.later(timedelta(minutes=31))
    assert len(await house.logins(A)) == 1


async def _is_stopped(house: House) -> None:
    assert (await house.database(A)).stop is Stop.WRITES
    assert await house.value("SELECT count(*) FROM events WHERE action = 'database.storage_crossed'") == 1
    conn = await login(await credentials(house.deps, A, WHO))
    with pytest.raises(asyncpg.ConfigurationLimitExceededError):
        await conn.execute("INSERT INTO filled VALUES (1)")
    await conn.close()


async def _is_released(house: House) -> None:
    assert (await house.database(A)).status is Status.RELEASED


async def _is_purged(house: House) -> None:
    database = await house.database(A)
    assert (database.status, database.server_id) == (Status.PURGED, None)


async def _no_server_is_left(house: House) -> None:
    assert await house.value("SELECT count(*) FROM servers WHERE status <> 'gone'") == 0
    assert await house.value("SELECT count(*) FROM slots WHERE database_id IS NOT NULL") == 0


async def _has_two_spares(house: House) -> None:
    assert await house.value("SELECT count(*) FROM databases WHERE status = 'spare'") == 2


async def _one_server_runs(house: House) -> None:
    assert await house.value("SELECT count(*) FROM servers WHERE status = 'active'") == 1
    ours = await house.deps.provisioners["process"].list_ours()
    assert [str(found.presence) for found in ours] == ["running"]


async def _is_changed(house: House) -> None:
    await _one_server_is(house, "succeeded", BIG, 1)


async def _is_as_before(house: House) -> None:
    await _one_server_is(house, "failed", SMALL, 2)


async def _one_server_is(house: House, state: str, memory: int, slots_there: int) -> None:
    await _one_server_runs(house)
    assert await house.value("SELECT state FROM operations") == state
    [server] = await _servers(house)
    assert (server.memory_limit, server.max_instances, server.health) == (memory, slots_there, Health.HEALTHY)
    assert await house.value("SELECT count(*) FROM slots") == slots_there
    assert list(await house.deps.provisioners["process"].differences(spec_of(house.deps, server))) == []


async def _has_a_new_administrators_password(house: House) -> None:
    await _one_server_runs(house)
    assert await house.value("SELECT state FROM operations") == "succeeded"
    [server] = await _servers(house)
    assert (server.admin_password_version, server.admin_password_next) == (2, None)
    assert (await house.deps.tenants.probe(admin_of(house.deps, server), timedelta(seconds=10))).ok


async def _has_all_its_rows(house: House) -> Server:
    await _is_ready(house)
    conn = await login(await credentials(house.deps, A, WHO))
    assert await conn.fetchval("SELECT sum(id) FROM orders") == 5050
    await conn.close()
    async with house.deps.db.connection() as conn_of_ours:
        server = await servers.get(conn_of_ours, cast("ServerId", (await house.database(A)).server_id))
    assert server
    return server


async def _has_moved(house: House) -> None:
    server = await _has_all_its_rows(house)
    assert house.other
    assert (server.host, server.port) == (house.other.host, house.other.port)


async def _has_stayed(house: House) -> None:
    server = await _has_all_its_rows(house)
    assert (server.host, server.port) == (house.tenant.host, house.tenant.port)


async def _has_a_server_of_its_own(house: House) -> None:
    assert (await _has_all_its_rows(house)).instance_id == A
    assert (await house.database(A)).limits_tier is Tier.PREMIUM


async def _servers(house: House) -> list[Server]:
    async with house.deps.db.connection() as conn:
        return await servers.active(conn)


async def _dedicated_is_ready(house: House) -> None:
    await _is_ready(house)
    await _one_server_runs(house)


async def _nothing_dedicated_is_left(house: House) -> None:
    await _is_purged(house)
    await _no_server_is_left(house)
    assert not await house.deps.provisioners["process"].list_ours()


SCENARIOS = (
    Scenario("allocate from a spare", _allocate, _is_ready, _a_pool_with_a_spare),
    Scenario("allocate without a spare", _allocate, _is_ready, _a_pool),
    Scenario("allocate with a wider plan", _allocate_standard, _is_ready_as_standard, _a_pool_with_a_spare),
    Scenario("allocate with a name", _allocate_named, _is_ready, _a_pool_with_a_spare),
    Scenario("rotate", _rotate, _has_rotated_once, _a_database),
    Scenario("release", _release, _is_released, _a_database),
    Scenario("undelete", _undelete, _is_ready, _a_released_database),
    Scenario("purge", _outlive_the_grace, _is_purged, _a_released_database),
    Scenario("refill", _refill, _has_two_spares, _a_pool),
    Scenario("retire", _retire, _no_server_is_left, _a_pool_with_a_spare),
    Scenario("provision a pool", _order_and_settle, _one_server_runs, own_servers=True),
    Scenario("provision and allocate dedicated", _dedicated, _dedicated_is_ready, own_servers=True),
    Scenario("purge dedicated", _end_dedicated, _nothing_dedicated_is_left, _dedicated, own_servers=True),
    Scenario("rollout", _roll_out, _is_changed, _a_server_of_ours, own_servers=True),
    Scenario("rollout that fails", _roll_out, _is_as_before, _a_server_of_ours, own_servers=True, provisioner=NeverBig),
    Scenario(
        "rotate the administrator's password",
        _rotate_administrator,
        _has_a_new_administrators_password,
        _a_server_of_ours,
        own_servers=True,
    ),
    Scenario("change the plan", _change_plan, _is_ready_as_standard, _a_database),
    Scenario("stop a full database", _stop, _is_stopped, _a_table, share=2 * SHARE),
    Scenario("move to another pool", _move, _has_moved, _a_database_with_rows, share=3 * SHARE),
    Scenario("move that is turned back", _move, _has_stayed, _a_database_with_rows, share=3 * SHARE, unequal=True),
    Scenario("roll a move back", _roll_back, _has_stayed, _a_moved_database, share=3 * SHARE),
    Scenario(
        "move to a server of its own",
        _move_up,
        _has_a_server_of_its_own,
        _a_database_with_rows,
        own_servers=True,
        share=6 * SHARE,
    ),
)


# -- the machine ------------------------------------------------------------------------------------------------------


@dataclass
class Lab:
    """Makes houses over one control database, emptied before each run, and cleans the tenant server after it."""

    dsn: str
    tenant: Cluster
    other: Cluster
    runtime: PostgresRuntime
    home: Path

    @asynccontextmanager
    async def house(
        self, dsn: str, clock: Clock, scenario: Scenario, place: Path, fate: Fate | None
    ) -> AsyncIterator[House]:
        hands: Any = Hands(self.runtime)
        provisioners: dict[str, Provisioner] = {}
        if scenario.own_servers:
            worked = FatedHands(hands, fate) if fate else hands
            provisioners["process"] = scenario.provisioner(self.runtime, place, worked)  # type: ignore[arg-type]
        policy = replace(POLICY, pool_memory_bytes=128 * 1024**2)
        async with open_house(dsn, self.tenant, policy, provisioners, clock, fate) as house:
            transfers = Unequal(house.deps.transfers) if scenario.unequal else house.deps.transfers
            yield replace(house, other=self.other, deps=replace(house.deps, transfers=cast("Transfers", transfers)))

    async def run(self, scenario: Scenario, at: int) -> Fate:
        """One life that dies at effect `at` (0: never), and the one after it. Returns what was counted."""
        fate, clock = Fate(), Clock()
        place = self.runtime.reachable_home(self.home / f"{scenario.name.replace(' ', '-')}-{at}")
        before, other = await look_at(self.tenant), await look_at(self.other)
        await execute(self.dsn, EMPTY)
        try:
            await self._first_life(scenario, self.dsn, clock, place, fate, at)
            async with self.house(self.dsn, clock, scenario, place, None) as house:
                await self._second_life(scenario, house, before, other)
        finally:
            await self._stop(scenario, place)
            await _clean(self.tenant, before)
            await _clean(self.other, other)
        return fate

    async def _first_life(self, scenario: Scenario, dsn: str, clock: Clock, place: Path, fate: Fate, at: int) -> None:
        try:
            async with self.house(dsn, clock, scenario, place, fate) as house:
                await scenario.prepare(house)
                fate.seen, fate.at = 0, at
                await scenario.act(house)
                await house.until_quiet()
        except BaseExceptionGroup as group:
            if group.split(Killed)[1] is not None:
                raise
        except Killed:
            pass
        fate.spare()

    async def _second_life(self, scenario: Scenario, house: House, before: World, other: World) -> None:
        house.clock.forward(AFTER_ANY_LEASE)
        await house.until_quiet()
        await scenario.act(house)
        await house.later(AFTER_ANY_LEASE)
        await scenario.check(house)
        await assert_sound(house, before, (self.other, other))

    async def _stop(self, scenario: Scenario, place: Path) -> None:
        if scenario.own_servers:
            await ProcessProvisioner(self.runtime, place).stop_all()


async def _clean(cluster: Cluster, before: World) -> None:
    left = (await look_at(cluster)).without(before)
    if not left.databases and not left.roles:
        return
    conn = await asyncpg.connect(cluster.dsn())
    for database in left.databases:
        await conn.execute(f'DROP DATABASE "{database}" WITH (FORCE)')
    for role in left.roles:
        await conn.execute(f'DROP ROLE "{role}"')
    await conn.close()


class Unequal:
    """Transfers whose comparison always finds something."""

    def __init__(self, inner: Transfers) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def compare(self, passage: Passage) -> Sequence[str]:
        return [*await self._inner.compare(passage), "table orders: it is another one"]


@pytest.fixture
def lab(
    control_dsn: str, tenant_cluster: Cluster, other_cluster: Cluster, runtime: PostgresRuntime, folder: Path
) -> Lab:
    return Lab(control_dsn, tenant_cluster, other_cluster, runtime, folder)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
async def test_killed_at_any_effect_it_comes_back_whole(
    scenario: Scenario, lab: Lab, record_property: Callable[[str, object], None]
) -> None:
    counted = (await lab.run(scenario, 0)).seen
    assert counted > 0
    points = moments(counted, scenario.name, scenario.share)
    died = 0
    for at in points:
        try:
            fate = await lab.run(scenario, at)
        except AssertionError as e:
            raise AssertionError(f"killed at effect {at} of {counted} of “{scenario.name}”: {e}") from e
        died += fate.where != ""
    record_property("crash_points", f"{scenario.name}: killed at {died} of {counted} effects")
    assert len(points) - died <= max(1, len(points) * 0.15)  # an effect may not happen again under another timing


# -- the suite bites --------------------------------------------------------------------------------------------------


async def _caught(lab: Lab, scenario: Scenario) -> bool:
    """Whether some death of this scenario is found out."""
    counted = (await lab.run(scenario, 0)).seen
    for at in range(1, counted + 1):
        try:
            await lab.run(scenario, at)
        except AssertionError:
            return True
    return False


async def test_a_slot_taken_in_a_second_transaction_is_caught(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from database_service.actions import allocate as verb

    async def begin_in_two(conn: Any, deps: Any, wanted: Ask, who: Any) -> Any:
        server_id, rank = await conn.fetchrow(
            "SELECT server_id, rank FROM slots WHERE database_id IS NULL ORDER BY rank"
        )
        database_id = databases.DatabaseId(newborn.uuid4())
        async with deps.db.transaction() as first:
            held = await newborn.new_seated(first, deps, database_id, wanted, slots.Seat(server_id, rank))
        await slots.reserve(conn, database_id)
        await verb._note(conn, deps, held.database, who)
        return held

    monkeypatch.setattr(verb, "_begin_shared", begin_in_two)
    assert await _caught(lab, SCENARIOS[1])


async def test_an_effect_that_does_not_accept_already_there_is_caught(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TenantServers.build

    async def only_once(self: TenantServers, admin: Admin, tenant: TenantSpec) -> None:
        conn = await asyncpg.connect(
            host=admin.host, port=admin.port, user=admin.user, password=admin.password.reveal(), database="postgres"
        )
        there = await conn.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", tenant.owner_role)
        await conn.close()
        if there:
            raise NameTaken(f"role {tenant.owner_role} already exists")
        await real(self, admin, tenant)

    monkeypatch.setattr(TenantServers, "build", only_once)
    assert await _caught(lab, SCENARIOS[1])


async def test_a_fresh_name_for_each_retry_is_caught(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = database_steps.tenant_spec, set()

    def fresh(deps: Any, database: Any, logins: Any) -> TenantSpec:
        spec = real(deps, database, logins)
        if database.id not in tried:
            tried.add(database.id)
            return spec
        return replace(spec, owner_role=naming.owner_role(random_name_bytes()))

    monkeypatch.setattr(database_steps, "tenant_spec", fresh)
    assert await _caught(lab, SCENARIOS[1])


def test_every_verb_has_its_scenario() -> None:
    assert {s.name.split()[0] for s in SCENARIOS} >= {"allocate", "provision", "rotate", "release", "purge", "retire"}
