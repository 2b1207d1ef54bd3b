"""The control database is gone. With a backup, and without one, every instance has its own database with its rows again."""

import asyncio
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from database_service.actions.allocate import allocate
from database_service.actions.back_up import Source, back_up, note
from database_service.actions.credentials import credentials
from database_service.actions.move_databases import move
from database_service.actions.rebuild import Key, look, rebuild
from database_service.actions.release import protect, release, undelete
from database_service.actions.remove_drift import confirm, offer
from database_service.actions.restore import Target, restore
from database_service.actions.rotate import rotate
from database_service.domain.answers import Allocation, Pending
from database_service.domain.backups import BackupUnusable
from database_service.domain.databases import Status
from database_service.domain.drift import Kind
from database_service.domain.ids import InstanceId
from database_service.domain.moves import Phase
from database_service.domain.operations import State
from database_service.domain.plans import Tier
from database_service.domain.servers import Server
from database_service.files import whole_file
from database_service.provisioners.runtime import PostgresRuntime, client_programs
from database_service.reconcilers import drift, registers
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers.addressing import admin_of
from database_service.secretbox import SecretBox
from database_service.store import moves
from database_service.store.archive import DUMP
from database_service.store.drift import live_servers
from database_service.store.programs import Reach
from database_service.views import backups
from support.cluster import Cluster, execute, fresh_database, migrate
from support.house import WHO, House, ask, login, open_house
from support.invariants import World as Found
from support.invariants import assert_sound, look_at
from support.strays import Yard, open_yard

RING = SecretBox({"test": b"k" * 32})


def source(dsn: str) -> Source:
    return Source(dsn, RING, {"PROVISIONER": "process"}, "tests", client_programs())


def target(dsn: str, **more: object) -> Target:
    known: dict[str, object] = {"ring": RING.fingerprints(), "bin_dir": client_programs()}
    return Target(dsn, **known | more)  # type: ignore[arg-type]


async def backed_up(dsn: str, house: House, folder: Path) -> Path:
    with whole_file(folder / "control.backup") as into:
        await back_up(source(dsn), into, house.clock())
    return folder / "control.backup"


async def lose(cluster: Cluster, dsn: str) -> None:
    """Nothing is left of the control database but its name."""
    name = dsn.rpartition("/")[2]
    await execute(cluster.dsn(), f'DROP DATABASE "{name}" WITH (FORCE)')
    await execute(cluster.dsn(), f'CREATE DATABASE "{name}"')


async def write(allocation: Allocation | Pending, what: str) -> None:
    conn = await login(allocation)
    await conn.execute("CREATE TABLE IF NOT EXISTS notes (what text PRIMARY KEY)")
    await conn.execute("INSERT INTO notes VALUES ($1)", what)
    await conn.close()


async def written(allocation: Allocation | Pending) -> list[str]:
    conn = await login(allocation)
    rows = await conn.fetch("SELECT what FROM notes ORDER BY what")
    await conn.close()
    return [row["what"] for row in rows]


class World:
    """Two pools that are processes of this machine, a control database that can be lost, and what was answered so far."""

    def __init__(self, cluster: Cluster, dsn: str, tenant: Cluster, runtime: PostgresRuntime, home: Path) -> None:
        self.cluster, self.dsn, self.tenant, self.runtime, self.home = cluster, dsn, tenant, runtime, home
        self.answers: dict[str, Allocation | Pending] = {}

    @asynccontextmanager
    async def life(self) -> AsyncIterator[Yard]:
        """The service over whatever is there now."""
        async with open_yard(self.dsn, self.tenant, self.runtime, self.home) as yard:
            yield yard

    async def given(self, house: House, instance: str, **more: object) -> None:
        """A database for it that holds something of its own."""
        self.answers[instance] = await allocate(house.deps, ask(instance, Tier.STARTER, **more), WHO)
        await write(self.answers[instance], f"of {instance}")

    async def every_answer_works(self, *instances: str) -> None:
        for instance in instances:
            assert await written(self.answers[instance]) == [f"of {instance}"], instance

    async def asked_again(self, house: House, instance: str) -> None:
        """Its own database, with its own rows, under a login that works; and the same one at each repetition."""
        again = await allocate(house.deps, ask(instance, Tier.STARTER), WHO)
        assert isinstance(again, Allocation), (instance, again)
        before = self.answers[instance]
        assert isinstance(before, Allocation)
        assert again.database.name == before.database.name
        assert await written(again) == [f"of {instance}"]


@pytest.fixture
def world(cluster: Cluster, control_dsn: str, tenant_cluster: Cluster, runtime: PostgresRuntime, home: Path) -> World:
    return World(cluster, control_dsn, tenant_cluster, runtime, home)


async def strays_removed(yard: Yard) -> None:
    """Whatever drift tells of that has no row, as an operator would, roles after what they own."""
    deps = yard.house.deps
    for _ in range(3):
        await drift.find_drift(deps)
        yard.house.clock.forward(timedelta(days=1, hours=1))
        for (kind, _thing), found in (await yard.there()).items():
            if kind in (Kind.DATABASE_WITHOUT_ROW, Kind.ROLE_WITHOUT_ROW) and not found.finding.kept:
                agreed = await offer(deps, found.id)
                await confirm(deps, found.id, agreed.confirmation, WHO)
        await drift.step(deps)


NOTHING = Found(frozenset(), frozenset())


async def servers_of(house: House) -> list[Server]:
    async with house.deps.db.connection() as conn:
        return list((await live_servers(conn)).values())


def as_cluster(house: House, server: Server) -> Cluster:
    """One of our own servers, for who compares rows with what is there."""
    admin = admin_of(house.deps, server)
    return Cluster(admin.host, admin.port, admin.user, admin.password, Path("/nowhere"))


# -- with a backup ----------------------------------------------------------------------------------------------------


async def test_after_a_restore_everybody_has_what_they_had_whatever_was_done_since_the_backup(
    world: World, folder: Path
) -> None:
    untouched = await look_at(world.tenant)
    async with world.life() as yard:
        house = yard.house
        first, second = await yard.pool(), await yard.pool()
        for instance in ("kept", "rotated", "released-since", "taken-back", "moved"):
            await world.given(house, instance)
        await protect(house.deps, InstanceId("kept"), True, WHO)
        await release(house.deps, InstanceId("taken-back"), WHO)
        await house.spares(2)
        counted = await house.value("SELECT count(*) FROM databases")
        backup = await backed_up(world.dsn, house, folder)

        for instance in ("claimed-since",):
            await world.given(house, instance)
        world.answers["rotated"] = await rotate(house.deps, InstanceId("rotated"), WHO, overlap=timedelta())
        await release(house.deps, InstanceId("released-since"), WHO)
        world.answers["taken-back"] = await undelete(house.deps, InstanceId("taken-back"), WHO)
        at = (await house.database("moved")).server_id
        operation = await move(house.deps, InstanceId("moved"), second.id if at == first.id else first.id, WHO)
        assert (await house.finished(operation.id)).state is State.SUCCEEDED
        world.answers["moved"] = await credentials(house.deps, InstanceId("moved"), WHO)
        await house.until_quiet()
        await registers.keep(house.deps, registers.Written())

    await lose(world.cluster, world.dsn)
    manifest = await restore(backup, target(world.dsn), house.clock())
    assert manifest.rows["databases"] == counted

    async with world.life() as yard:
        house = yard.house
        assert (await house.database("taken-back")).due_at is None  # nothing is deleted before somebody has looked
        assert await house.value("SELECT count(*) FROM databases WHERE status = 'spare'") == 0
        assert await house.value("SELECT bool_and(cordoned) FROM servers") is True
        await house.later(timedelta(days=30))
        instances = ("kept", "rotated", "taken-back", "moved", "claimed-since")
        await world.every_answer_works(*instances)

        report = await look(house.deps, [])
        assert (await look(house.deps, [])).sentences() == report.sentences()  # it changes nothing
        await rebuild(house.deps, [])
        await house.until_quiet()
        await world.every_answer_works(*instances)
        for instance in instances:
            await world.asked_again(house, instance)
        assert (await house.database("released-since")).status is Status.RELEASED
        assert (await house.database("kept")).protected
        assert await house.value("SELECT bool_or(cordoned) FROM servers") is False
        await strays_removed(yard)
        await undelete(house.deps, InstanceId("released-since"), WHO)
        await world.asked_again(house, "released-since")
        await assert_sound(house, untouched, *[(as_cluster(house, pool), NOTHING) for pool in await servers_of(house)])


async def test_a_move_that_was_going_on_when_the_backup_was_made_is_not_gone_on_with(
    world: World, folder: Path
) -> None:
    async with world.life() as yard:
        house = yard.house
        first, second = await yard.pool(), await yard.pool()
        await world.given(house, "moving")
        at = (await house.database("moving")).server_id
        operation = await move(house.deps, InstanceId("moving"), second.id if at == first.id else first.id, WHO)
        async with asyncio.timeout(60):
            while True:
                async with house.deps.db.connection() as conn:
                    [found] = await moves.of_operation(conn, operation.id)
                if found.phase is Phase.VERIFYING:
                    break
                await operation_steps.step(house.deps, operation.id)
        backup = await backed_up(world.dsn, house, folder)
        assert (await house.finished(operation.id)).state is State.SUCCEEDED
        world.answers["moving"] = await credentials(house.deps, InstanceId("moving"), WHO)
        await write(world.answers["moving"], "where it went")
        await registers.keep(house.deps, registers.Written())

    await lose(world.cluster, world.dsn)
    await restore(backup, target(world.dsn), house.clock())
    async with world.life() as yard:
        await yard.house.later(timedelta(days=30))
        assert await written(world.answers["moving"]) == ["of moving", "where it went"]
        assert (await yard.house.database("moving")).status is Status.MOVING
        await rebuild(yard.house.deps, [])
        await yard.house.until_quiet()
        again = await credentials(yard.house.deps, InstanceId("moving"), WHO)
        assert await written(again) == ["of moving", "where it went"]


# -- without one ------------------------------------------------------------------------------------------------------


async def test_without_a_backup_rows_come_from_what_each_server_keeps(world: World) -> None:
    async with world.life() as yard:
        house = yard.house
        pools = [await yard.pool(), await yard.pool()]
        for instance in ("one", "two", "three", "released"):
            await world.given(house, instance)
        await world.given(house, "named", database_name="shop")
        await protect(house.deps, InstanceId("two"), True, WHO)
        await release(house.deps, InstanceId("released"), WHO)
        await house.spares(1)
        await registers.keep(house.deps, registers.Written())
        await yard.local.remove(pools[1].id, keep_data=True)  # one that stands still, as after a power cut

    await lose(world.cluster, world.dsn)
    migrate(world.dsn)
    async with world.life() as yard:
        house = yard.house
        done, _ = (await look(house.deps, [])).sentences()
        assert sum(sentence.startswith("server ") for sentence in done) == 2
        assert await house.value("SELECT count(*) FROM servers") == 0

        report = await rebuild(house.deps, [])
        assert len([d for d in report.databases if d.told]) >= 6
        await house.until_quiet()
        for instance in ("one", "two", "three"):
            await world.every_answer_works(instance)  # old logins go on
            await world.asked_again(house, instance)
        named = await allocate(house.deps, ask("named", Tier.STARTER, database_name="shop"), WHO)
        assert await written(named) == ["of named"]
        assert (await house.database("two")).protected
        back = await undelete(house.deps, InstanceId("released"), WHO)
        assert await written(back) == ["of released"]
        assert {server.name for server in await servers_of(house)} == {pool.name for pool in pools}


async def test_an_adopted_server_is_found_again_by_its_login(
    house: House, control_dsn: str, cluster: Cluster, control_template: str
) -> None:
    pool = await house.pool(3)
    allocation = await allocate(house.deps, ask("shop"), WHO)
    await write(allocation, "of shop")
    await registers.keep(house.deps, registers.Written())
    with fresh_database(cluster, control_template) as name:
        async with open_house(cluster.dsn(name), house.tenant) as other:
            await rebuild(other.deps, [Key.parse(f"{house.tenant.dsn()}#{pool.id}", 1)])
            await other.until_quiet()
            again = await allocate(other.deps, ask("shop"), WHO)
            assert await written(again) == ["of shop"]
            assert (await other.server(pool.id)).name == pool.name


ENTRIES = "SELECT told::text AS told FROM dbs_register.entries WHERE server_id = $1"


# -- the register -----------------------------------------------------------------------------------------------------


async def test_a_register_is_written_when_something_changed_and_no_tenant_can_read_it(house: House) -> None:
    pool = await house.pool(3)
    allocation = await allocate(house.deps, ask("shop"), WHO)
    known = registers.Written()
    assert await registers.keep(house.deps, known) == 1
    assert await registers.keep(house.deps, known) == 0
    await protect(house.deps, InstanceId("shop"), True, WHO)
    assert await registers.keep(house.deps, known) == 1
    conn = await asyncpg.connect(house.tenant.dsn())
    try:
        [told] = await conn.fetch(f"{ENTRIES} AND kind = 'database'", pool.id)
        assert '"protected": true' in told["told"]
        assert "sealed" not in str(await conn.fetch(ENTRIES, pool.id))
        readers = await conn.fetch(
            """SELECT rolname FROM pg_roles WHERE NOT rolsuper AND rolname !~ '^pg_' AND
            (has_schema_privilege(oid, 'dbs_register', 'USAGE') OR has_table_privilege(oid, 'dbs_register.entries', 'SELECT'))"""
        )
        assert readers == []
    finally:
        await conn.close()
    tenant = await login(allocation)
    assert await tenant.fetchval("SELECT to_regnamespace('dbs_register')") is None
    await tenant.close()


async def test_what_another_worker_wrote_is_not_left_where_a_row_is_again_as_it_was(house: House) -> None:
    """Or a released database that was taken back would come out of the register as released, and be deleted."""
    pool = await house.pool(3)
    await allocate(house.deps, ask("shop"), WHO)
    ours, theirs = registers.Written(), registers.Written()
    await registers.keep(house.deps, ours)
    await protect(house.deps, InstanceId("shop"), True, WHO)
    await registers.keep(house.deps, theirs)
    await protect(house.deps, InstanceId("shop"), False, WHO)
    await registers.keep(house.deps, ours)
    conn = await asyncpg.connect(house.tenant.dsn())
    [told] = await conn.fetch(f"{ENTRIES} AND kind = 'database'", pool.id)
    await conn.close()
    assert '"protected": false' in told["told"]


async def test_a_row_out_of_a_backup_does_not_write_over_a_newer_entry(house: House) -> None:
    pool = await house.pool(3)
    await allocate(house.deps, ask("shop"), WHO)
    old = (await house.database("shop")).version
    await protect(house.deps, InstanceId("shop"), True, WHO)
    await registers.keep(house.deps, registers.Written())
    await house.value(
        "UPDATE databases SET protected = false, version = $1 WHERE instance_id = 'shop' RETURNING 1", old
    )
    await registers.keep(house.deps, registers.Written())
    conn = await asyncpg.connect(house.tenant.dsn())
    [told] = await conn.fetch(f"{ENTRIES} AND kind = 'database'", pool.id)
    await conn.close()
    assert '"protected": true' in told["told"]


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
async def backup(house: House, control_dsn: str, folder: Path) -> Path:
    """Of a house with one database."""
    await house.pool(3)
    await allocate(house.deps, ask("shop"), WHO)
    return await backed_up(control_dsn, house, folder)


@pytest.fixture
def empty_dsn(cluster: Cluster) -> Iterator[str]:
    with fresh_database(cluster) as name:
        yield cluster.dsn(name)


async def tables_in(dsn: str) -> int:
    conn = await asyncpg.connect(dsn)
    count: int = await conn.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
    await conn.close()
    return count


def test_a_backup_is_for_its_owners_eyes_and_holds_no_key(backup: Path) -> None:
    assert backup.stat().st_mode & 0o777 == 0o600
    assert b"k" * 32 not in backup.read_bytes()


async def test_a_backup_that_is_kept_is_known_and_one_that_cannot_be_noted_is_a_backup_all_the_same(
    control_dsn: str, cluster: Cluster, house: House, folder: Path
) -> None:
    ours = source(control_dsn)
    with whole_file(folder / "b") as into:
        manifest = await back_up(ours, into, house.clock())
    assert (await backups.last(house.deps)).made_at is None
    assert await note(ours, manifest)
    assert await note(ours, manifest), "noted twice is noted"
    assert (await backups.last(house.deps)).made_at == manifest.made_at
    await execute(control_dsn, "ALTER TABLE backups RENAME TO of_a_later_schema")
    assert not await note(ours, manifest)
    assert not await note(replace(ours, dsn=cluster.dsn("no_such_database")), manifest)


async def test_a_backup_is_whole_or_not_there(control_dsn: str, house: House, folder: Path) -> None:
    nowhere = Source(control_dsn, RING, {}, "tests", folder)
    with pytest.raises(BackupUnusable, match="pg_dump cannot be run"), whole_file(folder / "b") as into:
        await back_up(nowhere, into, house.clock())
    assert await asyncio.to_thread(lambda: list(folder.iterdir())) == []


def damaged(backup: Path) -> Iterator[Path]:
    """Cut off here and there, and with one byte changed here and there."""
    whole = backup.read_bytes()
    for end in (10, 1000, len(whole) - 200, len(whole) - 1):
        backup.write_bytes(whole[:end])
        yield backup
    for at in (100, len(whole) // 3, len(whole) // 2):
        backup.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        yield backup


async def test_a_backup_that_is_cut_off_or_damaged_is_refused(backup: Path, empty_dsn: str, house: House) -> None:
    for bad in damaged(backup):
        with pytest.raises(BackupUnusable, match=r"cut off|damaged|no backup"):
            await restore(bad, target(empty_dsn), house.clock())
    assert await tables_in(empty_dsn) == 0


async def test_a_dump_that_is_not_the_manifests_is_refused(
    backup: Path, empty_dsn: str, house: House, folder: Path
) -> None:
    other = folder / "other"
    with zipfile.ZipFile(backup) as old, zipfile.ZipFile(other, "w") as new:
        new.writestr(DUMP, old.read(DUMP) + b" ")
        new.writestr("manifest.json", old.read("manifest.json"))
    with pytest.raises(BackupUnusable, match="its dump is not the one"):
        await restore(other, target(empty_dsn), house.clock())


async def test_another_key_ring_is_refused_and_the_lacking_keys_are_named(
    backup: Path, empty_dsn: str, house: House
) -> None:
    for ring in ({}, SecretBox({"test": b"o" * 32}).fingerprints()):
        with pytest.raises(BackupUnusable, match="test is lacking or another one"):
            await restore(backup, target(empty_dsn, ring=ring), house.clock())


async def test_a_newer_schema_is_refused(backup: Path, empty_dsn: str, house: House, folder: Path) -> None:
    newer = folder / "newer"
    with zipfile.ZipFile(backup) as old, zipfile.ZipFile(newer, "w") as new:
        new.writestr(DUMP, old.read(DUMP))
        new.writestr("manifest.json", old.read("manifest.json").replace(b'"revision": "0', b'"revision": "9'))
    with pytest.raises(BackupUnusable, match="newer one"):
        await restore(newer, target(empty_dsn), house.clock())


async def test_a_database_that_is_not_empty_is_replaced_only_by_its_name(
    backup: Path, control_dsn: str, empty_dsn: str, house: House
) -> None:
    await restore(backup, target(empty_dsn), house.clock())
    with pytest.raises(BackupUnusable, match="not empty"):
        await restore(backup, target(empty_dsn), house.clock())
    name = empty_dsn.rpartition("/")[2]
    with pytest.raises(BackupUnusable, match="is called"):
        await restore(backup, target(empty_dsn, replace="another"), house.clock())
    await restore(backup, target(empty_dsn, replace=name), house.clock())
    with pytest.raises(BackupUnusable, match="others are connected"):
        await restore(backup, target(control_dsn, replace=control_dsn.rpartition("/")[2]), house.clock())


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_restore_that_is_cut_off_leaves_what_was_there(
    backup: Path, empty_dsn: str, house: House, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    await restore(backup, target(empty_dsn), house.clock())
    await execute(empty_dsn, "UPDATE databases SET protected = true")
    replay = Reach.replay

    def cut_off(self: Reach, dump: Path, before: str, after: str) -> None:
        class Killed(BaseException):
            pass

        def pour(*_: object) -> None:
            raise Killed

        if where == "before":
            monkeypatch.setattr(Reach, "_pour", pour)
            with pytest.raises(Killed):
                replay(self, dump, before, after)
        else:
            replay(self, dump, before, f"{after}\nSELECT pg_terminate_backend(pg_backend_pid());")

    monkeypatch.setattr(Reach, "replay", cut_off)
    name = empty_dsn.rpartition("/")[2]
    if where == "before":
        await restore(backup, target(empty_dsn, replace=name), house.clock())
    else:
        with pytest.raises(BackupUnusable):
            await restore(backup, target(empty_dsn, replace=name), house.clock())
    conn = await asyncpg.connect(empty_dsn)
    assert await conn.fetchval("SELECT bool_and(protected) FROM databases") is True
    await conn.close()


def test_logins_are_read_from_lines_and_what_is_wrong_with_one_is_told_without_showing_it() -> None:
    from database_service.actions.rebuild import keys_in
    from database_service.domain.errors import InvalidField

    [key] = keys_in("# ours\n\npostgresql://admin:p%40ss@db.example:6000\n")
    assert (key.address.host, key.address.port, key.user, key.password.reveal()) == (
        "db.example",
        6000,
        "admin",
        "p@ss",
    )
    with pytest.raises(InvalidField, match="line 2") as refused:
        keys_in("\npostgresql://admin@db.example\n")
    assert "db.example" not in str(refused.value)
