"""Each kind of drift is planted on real servers and found; what is only being worked on is not; removal takes just that."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from database_service.actions.allocate import allocate
from database_service.actions.release import release
from database_service.actions.remove_drift import confirm, offer, want_look
from database_service.actions.rotate import rotate
from database_service.dataplane.tenants import Tenants
from database_service.domain.answers import Allocation
from database_service.domain.drift import Drift, Kind, State
from database_service.domain.errors import (
    ConfirmationExpired,
    ConfirmationMismatch,
    DriftInGrace,
    DriftNotRemovable,
    ProvisioningFailed,
)
from database_service.domain.ids import DriftId
from database_service.domain.servers import Found, Server
from database_service.domain.tenancy import Admin, Ours, TenantSpec
from database_service.provisioners.base import Provisioner
from database_service.provisioners.place import Place
from database_service.provisioners.runtime import PostgresRuntime
from database_service.reconcilers import drift as drift_steps
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.drift import find_drift, remove_confirmed
from support.clock import Clock
from support.cluster import Cluster
from support.faults import Fate, Killed
from support.house import WHO, House, ask, login
from support.strays import Yard, a_stray_tenant, open_yard

GRACE = timedelta(days=1, minutes=1)
SETTINGS = "postgresql.auto.conf"


@pytest.fixture
async def pool(yard: Yard) -> Server:
    return await yard.pool()


async def found(yard: Yard) -> dict[tuple[Kind, str], Drift]:
    await find_drift(yard.house.deps)
    return await yard.there()


async def only(yard: Yard) -> Drift:
    [drift] = (await found(yard)).values()
    return drift


async def an_allocation(yard: Yard, instance: str = "i-1") -> Allocation:
    answer = await allocate(yard.house.deps, ask(instance), WHO)
    assert isinstance(answer, Allocation)
    return answer


async def past_its_grace(yard: Yard) -> None:
    await found(yard)
    yard.house.clock.forward(GRACE)


async def confirmed(yard: Yard, drift: Drift) -> Drift:
    code = (await offer(yard.house.deps, drift.id)).confirmation
    return await confirm(yard.house.deps, drift.id, code, WHO)


async def one(yard: Yard, drift_id: DriftId) -> Drift:
    async with yard.house.deps.db.connection() as conn:
        row = await drift_steps.drift.get(conn, drift_id)
    assert row
    return row


# -- what is in order -------------------------------------------------------------------------------------------------


async def test_a_fleet_that_is_as_its_rows_say_has_no_drift(yard: Yard, pool: Server) -> None:
    for instance in ("i-1", "i-2", "i-3"):
        await an_allocation(yard, instance)
    await yard.house.spares(1)
    await rotate(yard.house.deps, ask("i-1").instance_id, WHO, overlap=timedelta(minutes=5), request_key=None)
    await release(yard.house.deps, ask("i-2").instance_id, WHO)
    assert await found(yard) == {}
    await yard.house.until_quiet()
    assert await found(yard) == {}


async def test_a_server_in_the_making_and_one_kept_for_its_grace_are_no_drift(yard: Yard, pool: Server) -> None:
    async with yard.house.deps.db.transaction() as conn:
        await conn.execute(
            "UPDATE servers SET status = 'deprovisioning', due_at = now(), keep_data_until = now() + '1 d'"
        )
    await yard.house.settled(pool.id)
    assert await found(yard) == {}


@dataclass
class Meanwhile:
    """The world, in which something happens right before or right after it is looked at."""

    real: Any
    look: str
    before: Callable[[], Any] | None = None
    after: Callable[[], Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return self._looking if name == self.look else getattr(self.real, name)

    async def _looking(self, *args: object) -> Any:
        if self.before:
            await self.before()
        seen = await getattr(self.real, self.look)(*args)
        if self.after:
            await self.after()
        return seen


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_database_made_while_we_look_is_no_drift(yard: Yard, pool: Server, moment: str) -> None:
    async def make() -> None:
        await an_allocation(yard)

    deps = yard.house.deps
    tenants = cast("Tenants", Meanwhile(deps.tenants, "ours", **{moment: make}))
    assert await find_drift(replace(deps, tenants=tenants)) == 0


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_database_dropped_while_we_look_is_no_drift(yard: Yard, pool: Server, moment: str) -> None:
    allocation = await an_allocation(yard)
    await release(yard.house.deps, ask("i-1").instance_id, WHO)
    await yard.house.until_quiet()

    async def drop() -> None:
        await yard.house.later(timedelta(days=30))

    deps = yard.house.deps
    tenants = cast("Tenants", Meanwhile(deps.tenants, "ours", **{moment: drop}))
    assert await find_drift(replace(deps, tenants=tenants)) == 0
    assert not await yard.do(pool, f"SELECT count(*) FROM pg_database WHERE datname = '{allocation.database.name}'")


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_server_made_while_we_look_is_no_drift(yard: Yard, moment: str) -> None:
    deps = yard.house.deps
    local = cast("Provisioner", Meanwhile(yard.local, "list_ours", **{moment: yard.pool}))
    assert await find_drift(replace(deps, provisioners={**deps.provisioners, "process": local})) == 0


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_server_removed_while_we_look_is_no_drift(yard: Yard, pool: Server, moment: str) -> None:
    async def remove() -> None:
        async with yard.house.deps.db.transaction() as conn:
            await conn.execute("UPDATE servers SET status = 'deprovisioning', due_at = now()")
        await yard.house.settled(pool.id)
        assert not await yard.local.list_ours()

    deps = yard.house.deps
    local = cast("Provisioner", Meanwhile(yard.local, "list_ours", **{moment: remove}))
    assert await find_drift(replace(deps, provisioners={**deps.provisioners, "process": local})) == 0


# -- what is found ----------------------------------------------------------------------------------------------------


async def test_a_stray_tenant_is_found_thing_by_thing_and_heals_when_it_goes(yard: Yard, pool: Server) -> None:
    stray = await a_stray_tenant(yard.house, pool)
    seen = await found(yard)
    assert set(seen) == {
        (Kind.DATABASE_WITHOUT_ROW, stray.name),
        (Kind.ROLE_WITHOUT_ROW, stray.owner_role),
        (Kind.ROLE_WITHOUT_ROW, stray.logins[0].role),
    }
    database = seen[Kind.DATABASE_WITHOUT_ROW, stray.name]
    assert database.finding.remark.endswith(" MiB")
    again = (await found(yard))[Kind.DATABASE_WITHOUT_ROW, stray.name]
    assert (again.id, again.first_seen) == (database.id, database.first_seen)
    assert again.last_seen > database.last_seen
    await yard.house.deps.tenants.drop(admin_of(yard.house.deps, pool), stray)
    assert await found(yard) == {}
    assert (await one(yard, database.id)).state is State.GONE
    assert await yard.events(database.id) == ["found", "gone"]


async def test_what_came_back_is_the_same_row_with_a_new_grace(yard: Yard, pool: Server) -> None:
    stray = yard.directory()
    first = await only(yard)
    place = Place(yard.home, stray)
    place.directory.rename(yard.home / "elsewhere")
    assert await found(yard) == {}
    (yard.home / "elsewhere").rename(place.directory)
    yard.house.clock.forward(GRACE)
    second = await only(yard)
    assert second.id == first.id
    assert second.first_seen - first.first_seen > timedelta(days=1)
    with pytest.raises(DriftInGrace):
        await offer(yard.house.deps, second.id)
    assert await yard.events(first.id) == ["found", "gone", "found"]


async def test_a_row_whose_database_was_dropped_by_hand_is_found(yard: Yard, pool: Server) -> None:
    allocation = await an_allocation(yard)
    await yard.do(pool, f'DROP DATABASE "{allocation.database.name}" WITH (FORCE)')
    drift = await only(yard)
    assert drift.finding.kind is Kind.DATABASE_GONE
    assert "of instance i-1" in drift.finding.told[0]
    with pytest.raises(DriftNotRemovable, match="nothing to remove"):
        await offer(yard.house.deps, drift.id)


async def test_a_row_whose_login_was_dropped_by_hand_is_found(yard: Yard, pool: Server) -> None:
    allocation = await an_allocation(yard)
    await yard.do(pool, f'DROP OWNED BY "{allocation.login.role}"')
    await yard.do(pool, f'DROP ROLE "{allocation.login.role}"')
    drift = await only(yard)
    assert (drift.finding.kind, drift.finding.thing) == (Kind.ROLE_GONE, allocation.login.role)


async def test_a_database_renamed_by_hand_is_missed_and_never_taken_for_a_stray(yard: Yard, pool: Server) -> None:
    allocation = await an_allocation(yard)
    await yard.do(pool, f'ALTER DATABASE "{allocation.database.name}" RENAME TO hidden')
    drift = await only(yard)
    assert drift.finding.kind is Kind.DATABASE_GONE
    assert drift.finding.told[0].endswith("but its owner has hidden")


async def test_files_that_no_database_has_are_told_of_and_never_removed(yard: Yard, pool: Server) -> None:
    (Place(yard.home, pool.id).data_dir / "base" / "4000000001").mkdir()
    drift = await only(yard)
    assert drift.finding.told == ("directory base/4000000001 of no database",)
    yard.house.clock.forward(GRACE)
    with pytest.raises(DriftNotRemovable, match="only an operator"):
        await offer(yard.house.deps, drift.id)


async def test_settings_changed_by_hand_are_found_and_heal(yard: Yard, pool: Server, runtime: PostgresRuntime) -> None:
    file = runtime.settings_file(Place(yard.home, pool.id).data_dir)
    as_it_was = file.read_text()
    file.write_text(as_it_was.replace("max_connections = '", "max_connections = '1"))
    drift = await only(yard)
    assert drift.finding.kind is Kind.SERVER_DIFFERS
    assert "max_connections is 1" in drift.finding.told[0]
    file.write_text(as_it_was)
    assert await found(yard) == {}


async def test_a_server_whose_row_has_another_address_is_found(yard: Yard, pool: Server) -> None:
    async with yard.house.deps.db.transaction() as conn:
        await conn.execute("UPDATE servers SET port = 1")
    assert (Kind.SERVER_MOVED, "") in await found(yard)


async def test_a_row_whose_server_is_gone_is_found(yard: Yard, pool: Server) -> None:
    await yard.local.remove(pool.id, keep_data=False)
    assert (Kind.SERVER_GONE, "") in await found(yard)


async def test_a_stray_directory_is_found_and_a_copy_of_one_is_never_removable(yard: Yard) -> None:
    mine = yard.directory("pool-lost")
    copy = yard.directory("pool-copy", id="11111111-1111-4111-8111-111111111111")
    somebodys = yard.home / "22222222-2222-4222-8222-222222222222"
    somebodys.mkdir()
    (yard.home / "notes").mkdir()
    await find_drift(yard.house.deps)
    async with yard.house.deps.db.connection() as conn:
        kept = {row.finding.server_id: row.finding.kept for row in await drift_steps.drift.there(conn)}
    assert len(kept) == 3
    assert kept[mine] is None
    assert kept[copy] == "It does not carry our label."
    assert all(kept[server_id] for server_id in kept if server_id != mine)


# -- what cannot be looked at -----------------------------------------------------------------------------------------


class Silent:
    """A provisioner that never answers."""

    async def list_ours(self) -> Sequence[Found]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class Refusing:
    async def list_ours(self) -> Sequence[Found]:
        raise ProvisioningFailed("Docker does not answer.")


async def unlooked(yard: Yard) -> dict[str, str]:
    async with yard.house.deps.db.connection() as conn:
        told = await conn.fetchval("SELECT unlooked FROM drift_look")
    return {place["where"]: place["why"] for place in told}


async def test_what_cannot_be_looked_at_holds_up_nothing_and_keeps_its_findings(
    yard: Yard, pool: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = await a_stray_tenant(yard.house, pool)
    assert len(await found(yard)) == 3
    monkeypatch.setattr(drift_steps, "LOOK_PATIENCE", timedelta(seconds=1))
    postmaster = int((Place(yard.home, pool.id).data_dir / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGSTOP)
    yard.directory()
    more = {"silent": cast("Provisioner", Silent()), "refusing": cast("Provisioner", Refusing())}
    deps = replace(yard.house.deps, provisioners={**yard.house.deps.provisioners, **more})
    await yard.house.deps.tenants.aclose()  # warm sessions would still answer
    try:
        await find_drift(deps)
    finally:
        os.kill(postmaster, signal.SIGCONT)
    seen = await yard.there()
    assert (Kind.DATABASE_WITHOUT_ROW, stray.name) in seen
    assert (Kind.SERVER_WITHOUT_ROW, "") in seen
    told = await unlooked(yard)
    assert set(told) == {"provisioner refusing", "provisioner silent", f"server {pool.name}"}
    assert told["provisioner refusing"] == "Docker does not answer."
    assert len(await found(yard)) == 4
    assert await unlooked(yard) == {}


async def test_a_home_that_is_gone_accuses_no_server(yard: Yard, pool: Server) -> None:
    yard.home.rename(yard.home.with_name("unmounted"))
    try:
        assert not [kind for kind, _ in await found(yard) if kind is Kind.SERVER_GONE]
        assert "provisioner process" in await unlooked(yard)
    finally:
        yard.home.with_name("unmounted").rename(yard.home)


async def test_a_server_that_is_unhealthy_is_said_to_be_and_not_waited_for(yard: Yard, pool: Server) -> None:
    async with yard.house.deps.db.transaction() as conn:
        await conn.execute("UPDATE servers SET health_status = 'unhealthy', health_message = 'it refuses'")
    await find_drift(yard.house.deps)
    assert await unlooked(yard) == {f"server {pool.name}": "It is unhealthy: it refuses."}


# -- two at once ------------------------------------------------------------------------------------------------------


async def test_two_who_look_at_once_find_it_once(yard: Yard, pool: Server) -> None:
    await a_stray_tenant(yard.house, pool)
    await asyncio.gather(*(find_drift(yard.house.deps) for _ in range(4)))
    assert len(await yard.there()) == 3
    assert await yard.house.value("SELECT count(*) FROM events WHERE action = 'drift.found'") == 3


async def test_an_old_look_neither_heals_nor_brings_back(yard: Yard) -> None:
    """It saw the world of before, and records what it saw after another one did."""
    deps = yard.house.deps
    stray = yard.directory()

    async def remove_and_look() -> None:
        await yard.local.remove(stray, keep_data=False)
        await found(yard)

    await found(yard)
    slow = cast("Provisioner", Meanwhile(yard.local, "list_ours", after=remove_and_look))
    await find_drift(replace(deps, provisioners={"process": slow}))
    assert await yard.there() == {}

    async def plant_and_look() -> None:
        yard.directory()
        await found(yard)

    slow = cast("Provisioner", Meanwhile(yard.local, "list_ours", after=plant_and_look))
    await find_drift(replace(deps, provisioners={"process": slow}))
    assert len(await yard.there()) == 1


# -- removal ----------------------------------------------------------------------------------------------------------


async def test_a_stray_tenant_goes_when_confirmed_and_its_neighbour_stays(yard: Yard, pool: Server) -> None:
    neighbour = await an_allocation(yard)
    stray = await a_stray_tenant(yard.house, pool)
    await past_its_grace(yard)
    login_role, owner = stray.logins[0].role, stray.owner_role
    for kind, thing in (
        (Kind.DATABASE_WITHOUT_ROW, stray.name),
        (Kind.ROLE_WITHOUT_ROW, login_role),
        (Kind.ROLE_WITHOUT_ROW, owner),
    ):
        drift = (await found(yard))[kind, thing]
        await confirmed(yard, drift)
        assert await remove_confirmed(yard.house.deps) == 1
        assert (await one(yard, drift.id)).state is State.REMOVED
        assert await yard.events(drift.id) == ["found", "removal_confirmed", "removed"]
    assert await found(yard) == {}
    assert not await yard.do(pool, f"SELECT count(*) FROM pg_roles WHERE rolname IN ('{login_role}', '{owner}')")
    await (await login(neighbour)).close()


async def test_a_stray_server_that_runs_is_stopped_and_removed(yard: Yard, pool: Server) -> None:
    """As after a restore of the control plane's database from a backup of before the order."""
    other = await yard.pool()
    async with yard.house.deps.db.transaction() as conn:
        await conn.execute("DELETE FROM slots WHERE server_id = $1", pool.id)
        await conn.execute("DELETE FROM servers WHERE id = $1", pool.id)
    drift = await only(yard)
    assert drift.finding.remark.startswith("running at 127.0.0.1:")
    await past_its_grace(yard)
    await confirmed(yard, drift)
    await remove_confirmed(yard.house.deps)
    assert [thing.id for thing in await yard.local.list_ours()] == [other.id]
    assert (await one(yard, drift.id)).state is State.REMOVED


async def test_nothing_goes_within_its_grace(yard: Yard) -> None:
    yard.directory()
    with pytest.raises(DriftInGrace):
        await offer(yard.house.deps, (await only(yard)).id)


async def test_another_things_or_a_made_up_confirmation_is_refused(yard: Yard) -> None:
    yard.directory("pool-a")
    yard.directory("pool-b")
    await past_its_grace(yard)
    async with yard.house.deps.db.connection() as conn:
        a, b = await drift_steps.drift.there(conn)
    code = (await offer(yard.house.deps, b.id)).confirmation
    for wrong in (code, "", "nonsense", f"{code}0", code[:-1]):
        with pytest.raises(ConfirmationMismatch):
            await confirm(yard.house.deps, a.id, wrong, WHO)
    assert await remove_confirmed(yard.house.deps) == 0
    assert len(await yard.local.list_ours()) == 2


async def test_a_confirmation_expires_before_it_is_given_and_before_the_removal_is_begun(yard: Yard) -> None:
    deps, clock = yard.house.deps, yard.house.clock
    yard.directory()
    await past_its_grace(yard)
    drift = await only(yard)
    late = (await offer(deps, drift.id)).confirmation
    clock.forward(timedelta(minutes=16))
    with pytest.raises(ConfirmationExpired):
        await confirm(deps, drift.id, late, WHO)
    await confirmed(yard, drift)
    clock.forward(timedelta(minutes=16))
    await remove_confirmed(deps)
    refused = await one(yard, drift.id)
    assert (refused.state, refused.confirmation) == (State.OPEN, None)
    assert refused.last_error == "The confirmation expired before the removal was begun."
    assert len(await yard.local.list_ours()) == 1
    assert await yard.events(drift.id) == ["found", "removal_confirmed", "removal_refused"]


async def test_what_changed_after_it_was_confirmed_stays(yard: Yard, pool: Server) -> None:
    """Dropped and made anew by hand: the same name, another database."""
    stray = await a_stray_tenant(yard.house, pool)
    await past_its_grace(yard)
    drift = (await found(yard))[Kind.DATABASE_WITHOUT_ROW, stray.name]
    await confirmed(yard, drift)
    await yard.do(pool, f'DROP DATABASE "{stray.name}"')
    await yard.do(pool, f'CREATE DATABASE "{stray.name}" OWNER "{stray.owner_role}"')
    await remove_confirmed(yard.house.deps)
    assert (await one(yard, drift.id)).last_error == "It is no longer what was confirmed."
    assert await yard.do(pool, f"SELECT count(*) FROM pg_database WHERE datname = '{stray.name}'") == 1


async def test_what_got_its_row_back_after_it_was_confirmed_stays(yard: Yard, pool: Server) -> None:
    """As after a restore of the control plane's database: a row may want its data again."""
    allocation = await an_allocation(yard)
    async with yard.house.deps.db.transaction() as conn:
        await conn.execute("CREATE TABLE aside AS SELECT id, owner_role, version FROM databases")
        await conn.execute("UPDATE databases SET owner_role = 'own_unknown'")
    await past_its_grace(yard)
    drift = (await found(yard))[Kind.DATABASE_WITHOUT_ROW, allocation.database.name]
    await confirmed(yard, drift)
    async with yard.house.deps.db.transaction() as conn:
        await conn.execute("UPDATE databases d SET owner_role = a.owner_role FROM aside a WHERE a.id = d.id")
        await conn.execute("DROP TABLE aside")
    await remove_confirmed(yard.house.deps)
    assert (await one(yard, drift.id)).state is State.GONE
    await (await login(allocation)).close()


async def test_a_server_that_a_database_still_points_to_is_never_removed(yard: Yard, pool: Server) -> None:
    await an_allocation(yard)
    async with yard.house.deps.db.transaction() as conn:
        await conn.execute("UPDATE servers SET status = 'gone', due_at = NULL")
    drift = await only(yard)
    assert drift.finding.kept == "Rows of databases still point to it."


async def test_on_a_server_of_somebody_else_strays_are_only_told_of(house: House, folder: Path) -> None:
    server = await house.pool()
    stray = await a_stray_tenant(house, server)
    yard = Yard(house, folder, cast("Any", None))
    await past_its_grace(yard)
    drift = (await found(yard))[Kind.DATABASE_WITHOUT_ROW, stray.name]
    with pytest.raises(DriftNotRemovable, match="somebody else"):
        await offer(house.deps, drift.id)
    await house.deps.tenants.drop(admin_of(house.deps, server), stray)


async def test_a_removal_that_fails_is_put_off_and_said(yard: Yard) -> None:
    yard.directory()
    await past_its_grace(yard)
    drift = await only(yard)
    await confirmed(yard, drift)
    yard.home.rename(yard.home.with_name("unmounted"))
    try:
        await remove_confirmed(yard.house.deps)
    finally:
        yard.home.with_name("unmounted").rename(yard.home)
    put_off = await one(yard, drift.id)
    assert put_off.state is State.REMOVING
    assert put_off.attempts == 1
    assert put_off.last_error is not None
    yard.house.clock.forward(timedelta(minutes=1))
    await remove_confirmed(yard.house.deps)
    assert (await one(yard, drift.id)).state is State.REMOVED


async def test_a_look_that_was_asked_for_is_made_once(yard: Yard) -> None:
    yard.directory()
    await drift_steps.step(yard.house.deps)
    assert await yard.there() == {}
    await want_look(yard.house.deps)
    await drift_steps.step(yard.house.deps)
    first = await only(yard)
    await drift_steps.step(yard.house.deps)
    assert (await one(yard, first.id)).last_seen == first.last_seen


async def test_two_workers_remove_it_once(yard: Yard) -> None:
    yard.directory()
    await past_its_grace(yard)
    drift = await only(yard)
    await confirmed(yard, drift)
    await asyncio.gather(*(drift_steps.remove(yard.house.deps, drift.id) for _ in range(4)))
    assert await yard.events(drift.id) == ["found", "removal_confirmed", "removed"]


async def test_a_look_that_finds_it_gone_ends_a_removal_that_is_not_begun(yard: Yard) -> None:
    stray = yard.directory()
    await past_its_grace(yard)
    drift = await only(yard)
    await confirmed(yard, drift)

    async def go_by_itself() -> None:
        await yard.local.remove(stray, keep_data=False)
        assert await found(yard) == {}

    deps = yard.house.deps
    slow = cast("Provisioner", Meanwhile(yard.local, "list_ours", after=go_by_itself))
    await drift_steps.remove(replace(deps, provisioners={"process": slow}), drift.id)
    assert (await one(yard, drift.id)).state is State.GONE
    assert await yard.events(drift.id) == ["found", "removal_confirmed", "gone"]


# -- death at every effect --------------------------------------------------------------------------------------------


@dataclass
class Lives:
    """A first life that dies at some effect, and the one after it, over the same rows and the same servers."""

    dsn: str
    tenant: Cluster
    runtime: PostgresRuntime
    home: Path
    clock: Clock

    @asynccontextmanager
    async def life(self, fate: Fate | None = None) -> AsyncIterator[Yard]:
        async with open_yard(self.dsn, self.tenant, self.runtime, self.home, self.clock, fate) as yard:
            yield yard

    async def removal(self, drift_id: DriftId, at: int) -> Fate:
        """Confirmed here, it dies at this effect (0: never); the next life ends it."""
        fate = Fate(at)
        try:
            async with self.life(fate) as yard:
                await confirmed(yard, await one(yard, drift_id))
                await drift_steps.remove(yard.house.deps, drift_id)
        except (Killed, BaseExceptionGroup):
            self.clock.forward(timedelta(minutes=2))
        fate.spare()
        async with self.life() as yard:
            if (await one(yard, drift_id)).state is State.OPEN:
                await confirmed(yard, await one(yard, drift_id))
            await find_drift(yard.house.deps)  # which finds what is half removed, and must not stand in the way
            await remove_confirmed(yard.house.deps)
            ended = await one(yard, drift_id)
            assert ended.state is State.REMOVED, (fate.where, ended)
            told = await yard.events(drift_id)
            assert told.count("removed") == 1, (fate.where, told)
        return fate


@pytest.fixture
def lives(control_dsn: str, tenant_cluster: Cluster, runtime: PostgresRuntime, home: Path) -> Lives:
    return Lives(control_dsn, tenant_cluster, runtime, home, Clock())


async def test_the_removal_of_a_server_comes_through_every_death(lives: Lives, record_property: Any) -> None:
    at, total = 0, 1
    while at <= total:
        async with lives.life() as yard:
            yard.directory()
            await past_its_grace(yard)
            drift = await only(yard)
        fate = await lives.removal(drift.id, at)
        assert not [path for path in lives.home.rglob(str(drift.finding.server_id)) if path.is_dir()], fate.where
        total = fate.seen if at == 0 else total
        at += 1
    record_property("crash_points", f"removing a stray server: killed at {total} effects")
    assert total >= 10


async def test_the_removal_of_a_database_comes_through_every_death(lives: Lives, record_property: Any) -> None:
    async with lives.life() as yard:
        pool = await yard.pool()
    at, total = 0, 1
    while at <= total:
        async with lives.life() as yard:
            stray: TenantSpec = await a_stray_tenant(yard.house, pool)
            await past_its_grace(yard)
            drift = (await found(yard))[Kind.DATABASE_WITHOUT_ROW, stray.name]
        fate = await lives.removal(drift.id, at)
        async with lives.life() as yard:
            ours: Ours = await yard.house.deps.tenants.ours(_admin(yard, pool))
        assert stray.name not in {database.name for database in ours.databases}, fate.where
        total = fate.seen if at == 0 else total
        at += 1
    record_property("crash_points", f"removing a stray database: killed at {total} effects")
    assert total >= 10


def _admin(yard: Yard, server: Server) -> Admin:
    return admin_of(yard.house.deps, server)
