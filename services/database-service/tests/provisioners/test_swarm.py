"""Servers on a real Swarm: what they are given, what goes wrong with them and is told, and how they heal."""

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.servers import Presence, ServerSpec
from database_service.provisioners.swarm import description
from database_service.provisioners.swarm.engine import Engine, Hands
from database_service.provisioners.swarm.options import Options
from database_service.provisioners.swarm.provisioner import SwarmProvisioner
from database_service.provisioners.swarm.storage import StoragePlace
from database_service.provisioners.swarm.survey import looks
from support.local_servers import PASSWORD, address_of
from support.machines import START_S, Machine, Refused, until
from support.swarm_lab import Lab, takes_connections
from support.swarm_servers import (
    CONSTRAINTS,
    MIB,
    admin_of,
    hidden,
    swarm_provisioner,
    swarm_spec,
    until_it_runs,
    until_seen,
)

pytestmark = pytest.mark.docker


@pytest.fixture
def swarm(healthy_swarm: Lab, storage: Path) -> Iterator[SwarmProvisioner]:
    with swarm_provisioner(healthy_swarm, storage) as provisioner:
        yield provisioner


@pytest.fixture
def spec(postgres_image: str) -> ServerSpec:
    return swarm_spec(postgres_image)


def inspected(machine: Machine, kind: str, name: str) -> str:
    return machine.docker(kind, "inspect", name)


def create_theirs(machine: Machine, image: str, *options: str) -> None:
    """A service of somebody else's, which stands in our way."""
    machine.docker(
        "service",
        "create",
        "--name",
        "theirs",
        "--no-healthcheck",
        "--constraint",
        "node.role==manager",
        "--stop-grace-period",
        "0s",
        *options,
        image,
        "sleep",
        "999",
    )


# -- what a server is given -------------------------------------------------------------------------------------------


async def test_every_computed_setting_really_applies(swarm: SwarmProvisioner, spec: ServerSpec) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    async with admin_of(swarm, spec) as conn:
        for name, value in spec.settings.items():
            wanted, has = await conn.fetchrow(
                "SELECT CASE WHEN $2 ~ '^[0-9]+[a-zA-Z]+$' AND unit IS NOT NULL THEN pg_size_bytes($2)::text ELSE $2 END, "
                "CASE WHEN $2 ~ '^[0-9]+[a-zA-Z]+$' AND unit IS NOT NULL THEN pg_size_bytes(current_setting(name))::text "
                "ELSE setting END FROM pg_settings WHERE name = $1",
                name, value,
            )  # fmt: skip
            assert (name, has) == (name, wanted)
        assert await conn.fetchval("SHOW data_directory") == description.PGDATA
        assert await conn.fetchval("SHOW file_copy_method") == "clone"
        assert await conn.fetchval("SHOW cluster_name") == spec.name


async def test_no_secret_is_in_a_service_or_in_a_container(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    manager = healthy_swarm.manager
    [container] = manager.containers(spec.name)
    told = inspected(manager, "service", spec.name) + inspected(manager, "container", container)
    in_it = manager.docker(
        "exec", "--user", "postgres", container, "cat", "/run/secrets/admin", "/proc/1/environ", "/proc/1/cmdline"
    )
    assert PASSWORD.reveal() not in told + in_it
    assert json.dumps(PASSWORD.reveal()) not in told + in_it
    assert in_it.startswith("SCRAM-SHA-256$")


async def test_a_service_is_told_to_keep_its_server_for_ever_and_alone(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec
) -> None:
    await swarm.ensure(spec)
    [told] = json.loads(inspected(healthy_swarm.manager, "service", spec.name))
    service, task = told["Spec"], told["Spec"]["TaskTemplate"]
    assert service["EndpointSpec"]["Mode"] == "dnsrr"
    assert {port["PublishMode"] for port in service["EndpointSpec"]["Ports"]} == {"host"}
    assert service["UpdateConfig"]["Order"] == "stop-first"
    assert (task["RestartPolicy"]["Condition"], task["RestartPolicy"].get("MaxAttempts", 0)) == ("any", 0)
    assert task["ContainerSpec"]["StopGracePeriod"] == 120 * 10**9
    assert task["Placement"]["Constraints"] == [*CONSTRAINTS]
    assert task["Resources"]["Limits"]["MemoryBytes"] == spec.memory_limit
    assert task["Resources"]["Reservations"]["MemoryBytes"] == spec.memory_limit


async def test_the_server_itself_is_neither_root_nor_able_to_write_outside_its_data(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    [container] = healthy_swarm.manager.containers(spec.name)
    status = healthy_swarm.manager.docker("exec", container, "cat", "/proc/1/status")
    told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert told["Uid"].split()[0] != "0"
    assert int(told["CapEff"], 16) == 0
    tried = ["exec", container, "sh", "-c", "touch /usr/local/here 2>&1 || true"]
    assert "Read-only file system" in healthy_swarm.manager.docker(*tried)


async def test_two_servers_get_two_names_and_two_ports(swarm: SwarmProvisioner, postgres_image: str) -> None:
    one, other = swarm_spec(postgres_image), swarm_spec(postgres_image)
    await swarm.ensure(one)
    await swarm.ensure(other)
    await until_it_runs(swarm, one)
    await until_it_runs(swarm, other)
    assert await address_of(swarm, one) != await address_of(swarm, other)


async def test_something_of_its_name_that_is_not_ours_is_left_alone(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, postgres_image: str
) -> None:
    theirs = ["service", "create", "--detach", "--replicas", "0", "--name", spec.name, postgres_image]
    theirs_id = healthy_swarm.manager.docker(*theirs)
    with pytest.raises(ProvisioningFailed, match=f"service {spec.name} that is not ours"):
        await swarm.ensure(spec)
    await swarm.remove(spec.id, keep_data=False)
    assert healthy_swarm.manager.docker("service", "ls", "--quiet") == theirs_id[:12]


async def test_a_new_server_is_pinned_to_what_its_tag_means_now(
    healthy_swarm: Lab, registry: str, storage: Path, postgres_image: str
) -> None:
    manager = healthy_swarm.manager
    tag = f"{registry}/pinned:18"
    manager.docker("tag", postgres_image, tag)
    manager.docker("push", tag)
    with swarm_provisioner(healthy_swarm, storage) as swarm:
        spec = swarm_spec(tag)
        await swarm.ensure(spec)
        image = manager.docker(
            "service", "inspect", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}", spec.name
        )
        assert image.startswith(f"{tag}@sha256:")
        assert list(await swarm.differences(spec)) == []


async def test_a_tag_that_moved_does_not_restart_a_server(
    healthy_swarm: Lab, registry: str, storage: Path, postgres_image: str
) -> None:
    manager = healthy_swarm.manager
    tag = f"{registry}/postgres:18"
    manager.docker("tag", postgres_image, tag)
    manager.docker("push", tag)
    with swarm_provisioner(healthy_swarm, storage) as swarm:
        image = await swarm.look_up(tag)
        assert image.major == 18
        assert image.reference.startswith(f"{tag}@sha256:")
        spec = swarm_spec(image.reference)
        await swarm.ensure(spec)
        await until_it_runs(swarm, spec)
        assert list(await swarm.differences(replace(spec, image=tag))) == []


async def test_an_image_that_is_not_there_cannot_be_looked_up(swarm: SwarmProvisioner) -> None:
    with pytest.raises(ProvisioningFailed, match="dbs-test/nobody:1 is not found"):
        await swarm.look_up("dbs-test/nobody:1")


async def test_an_image_without_a_postgresql_cannot_be_looked_up(swarm: SwarmProvisioner) -> None:
    with pytest.raises(ProvisioningFailed, match="PG_MAJOR"):
        await swarm.look_up("dbs-test/base:bookworm")


async def test_a_new_password_waits_for_the_next_restart_and_leaves_one_secret(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    rotated = replace(spec, password_version=2)
    async with admin_of(swarm, spec) as conn:
        await swarm.ensure(rotated)
        assert await conn.fetchval("SELECT 1") == 1
    wider = replace(rotated, settings={**spec.settings, "max_connections": "77"})
    await swarm.ensure(wider)
    await until_it_runs(swarm, wider)
    secrets = healthy_swarm.manager.docker("secret", "ls", "--format", "{{.Name}}")
    assert secrets.splitlines() == [*description.secrets_of(rotated)]


# -- what a Swarm must have ---------------------------------------------------------------------------------------------


def surveyed(lab: Lab, options: Options, image: str) -> dict[str, str]:
    """What each look found, or what it says is wrong."""
    engine = Engine.at(lab.manager.url, options.plane)
    told = {}
    for subject, look in looks(engine, options, image).items():
        try:
            told[subject] = look()
        except ProvisioningFailed as e:
            told[subject] = f"wrong: {e}"
    engine.client.close()
    return told


def test_a_swarm_that_is_fit_is_told_so(healthy_swarm: Lab, storage: Path, postgres_image: str) -> None:
    told = surveyed(healthy_swarm, Options(publish=True, pools_dir=storage), postgres_image)
    assert not [text for text in told.values() if text.startswith("wrong")]
    assert ("manager" in told["database nodes"], told["storage"]) == (True, str(storage))
    assert told["PostgreSQL image"] == f"{postgres_image}, PostgreSQL 18"


def test_a_swarm_that_lacks_something_is_told_what_and_what_to_do(healthy_swarm: Lab, storage: Path) -> None:
    unfit = Options(network="nowhere", pools_dir=storage / "nothing", constraints=("node.labels.role==nobody",))
    told = surveyed(healthy_swarm, unfit, "dbs-test/nobody:1")
    assert "docker node update --label-add role=nobody NODE" in told["database nodes"]
    assert "there is no network nowhere in the Swarm" in told["network"]
    assert f"{storage}/nothing is not a directory that can be written to" in told["storage"]
    assert "dbs-test/nobody:1 is not found" in told["PostgreSQL image"]


# -- data -------------------------------------------------------------------------------------------------------------


async def test_storage_that_is_hidden_is_never_replaced_by_an_empty_server(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    await swarm.remove(spec.id, keep_data=True)
    place = str(storage / str(spec.id))
    with hidden(healthy_swarm.manager, place):
        await swarm.ensure(replace(spec, made_before=True))
        await until_seen(swarm, spec, Presence.STARTING, "holds no server.id: is it mounted on this node")
    await until_it_runs(swarm, spec)


async def test_a_volume_that_is_gone_is_never_replaced_by_an_empty_server(healthy_swarm: Lab, spec: ServerSpec) -> None:
    with swarm_provisioner(healthy_swarm, None) as swarm:
        await swarm.ensure(spec)
        await until_it_runs(swarm, spec)
        await swarm.ensure(replace(spec, made_before=True))
        await swarm.remove(spec.id, keep_data=True)
        healthy_swarm.manager.docker("container", "prune", "--force")
        healthy_swarm.manager.docker("volume", "rm", description.volume_name(spec))
        await swarm.ensure(replace(spec, made_before=True))
        await until_seen(swarm, spec, Presence.STARTING, "holds no server.id")


async def test_data_of_another_server_is_never_served(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, storage: Path, postgres_image: str
) -> None:
    other = swarm_spec(postgres_image)
    await swarm.ensure(other)
    await until_it_runs(swarm, other)
    await swarm.remove(other.id, keep_data=True)
    (storage / str(spec.id)).symlink_to(storage / str(other.id))
    await swarm.ensure(spec)
    await until_seen(swarm, spec, Presence.STARTING, f"holds the data of another server, {other.id}")


async def test_a_server_of_another_major_version_is_refused_its_data(
    swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    await swarm.remove(spec.id, keep_data=True)
    (storage / str(spec.id) / "pgdata" / "PG_VERSION").write_text("17\n")
    await swarm.ensure(spec)
    await until_seen(swarm, spec, Presence.STARTING, "made by PostgreSQL 17, which PostgreSQL 18 cannot run")


async def test_a_removed_server_leaves_nothing(healthy_swarm: Lab, spec: ServerSpec, storage: Path) -> None:
    for shared in (storage, None):
        with swarm_provisioner(healthy_swarm, shared) as swarm:
            await swarm.ensure(spec)
            await until_it_runs(swarm, spec)
            await swarm.remove(spec.id, keep_data=False)
            assert (await swarm.observe(spec.id)).presence is Presence.ABSENT
            assert await swarm.list_ours() == []
    for kind in ("service", "secret", "volume"):
        assert healthy_swarm.manager.docker(kind, "ls", "--quiet") == ""
    assert [*storage.glob("*")] == []  # noqa: ASYNC240  a folder in memory


async def test_data_whose_service_somebody_removed_is_erased_by_a_service_that_only_erases(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    healthy_swarm.manager.docker("service", "rm", spec.name)
    await swarm.remove(spec.id, keep_data=False)
    assert (await swarm.observe(spec.id)).presence is Presence.ABSENT
    assert [*storage.glob("*")] == []  # noqa: ASYNC240  a folder in memory


async def test_what_cannot_be_seen_from_the_worker_is_not_removed_and_not_called_gone(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    await swarm.ensure(replace(spec, made_before=True))
    away = storage.rename(storage.with_name("away"))  # noqa: ASYNC240
    with pytest.raises(ProvisioningFailed, match="is it mounted where the worker runs"):
        await swarm.remove(spec.id, keep_data=False)
    storage.mkdir()  # noqa: ASYNC240  an empty mount point
    with pytest.raises(ProvisioningFailed, match="is the storage mounted"):
        await swarm.remove(spec.id, keep_data=False)
    storage.rmdir()  # noqa: ASYNC240
    healthy_swarm.manager.docker("service", "rm", spec.name)
    assert (await swarm.observe(spec.id)).presence is Presence.UNKNOWN
    away.rename(storage)
    await swarm.remove(spec.id, keep_data=False)


async def test_nothing_that_is_not_a_servers_own_is_erased_with_it(
    swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    precious = storage / str(spec.id) / "precious"
    precious.write_text("somebody's")
    with pytest.raises(ProvisioningFailed, match="holds something else; it is left alone"):
        await swarm.remove(spec.id, keep_data=False)
    assert precious.read_text() == "somebody's"
    precious.unlink()
    await swarm.remove(spec.id, keep_data=False)
    assert (await swarm.observe(spec.id)).presence is Presence.ABSENT


async def test_what_a_worker_that_was_killed_while_it_wrote_left_is_in_nobodys_way(
    swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    place = storage / str(spec.id)
    place.mkdir()
    (place / ".server.id-x7k2").write_text("")
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    await swarm.remove(spec.id, keep_data=False)
    assert not place.exists()


async def test_the_place_of_another_control_plane_is_not_ours(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    StoragePlace(storage, "another", spec.id).make()
    [found] = await swarm.list_ours()
    assert (found.id, found.labelled) == (spec.id, False)


async def test_work_that_nobody_waits_for_any_more_does_nothing_more(
    healthy_swarm: Lab, storage: Path, spec: ServerSpec
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class SlowStorage(Hands):
        def make_place(self, place: StoragePlace) -> None:
            begun.set()
            go_on.wait(10)
            super().make_place(place)

    with swarm_provisioner(healthy_swarm, storage, SlowStorage) as swarm:
        waited_for = asyncio.create_task(swarm.ensure(spec))
        await asyncio.to_thread(begun.wait, 10)
        waited_for.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waited_for
        go_on.set()
    assert healthy_swarm.manager.docker("service", "ls", "--quiet") == ""
    assert healthy_swarm.manager.docker("secret", "ls", "--quiet") == ""


# -- by hand ----------------------------------------------------------------------------------------------------------


def by_hand(machine: Machine, image: str, *arguments: str) -> str:
    """What a container says that is run by hand and ends; its exit code first."""
    name = f"by-hand-{uuid4().hex[:8]}"
    with suppress(Refused):
        machine.docker("run", "--name", name, *arguments[:-1], image, *arguments[-1].split())
    code = machine.docker("inspect", "--format", "{{.State.ExitCode}}", name)
    return f"{code} {machine.run('sh', '-c', f'docker --host {machine.url} logs {name} 2>&1')}"


def test_storage_that_is_mounted_at_the_data_itself_is_refused_as_its_lock_would_lock_nobody_out(
    healthy_swarm: Lab, postgres_image: str
) -> None:
    mounted = ("--env", "POSTGRES_PASSWORD=of-nobody", "--mount", f"type=tmpfs,target={description.PGDATA}")
    told = by_hand(healthy_swarm.manager, postgres_image, *mounted, "postgres")
    assert told.startswith("78")
    assert f"mount the storage at {description.MOUNTED_AT}" in told


def test_nothing_is_erased_by_hand_that_no_server_id_names(healthy_swarm: Lab, postgres_image: str) -> None:
    machine = healthy_swarm.manager
    assert by_hand(machine, postgres_image, "erase").startswith("78")
    named = ("--env", "DBS_SERVER_ID=11111111-1111-1111-1111-111111111111", "--env", "DBS_STORAGE=volume")
    told = by_hand(machine, postgres_image, *named, "erase")
    assert told.startswith("78")
    assert "no server.id says whose it is" in told


# -- trouble ----------------------------------------------------------------------------------------------------------


async def test_a_node_without_the_label_is_told_and_heals(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec
) -> None:
    manager = healthy_swarm.manager
    manager.docker("node", "update", "--label-rm", "role", manager.name)
    await swarm.ensure(spec)
    await until_seen(
        swarm, spec, Presence.STARTING, r"no suitable node: \d+ nodes? without constraint node.labels.role==database"
    )
    manager.docker("node", "update", "--label-add", "role=database", manager.name)
    await until_it_runs(swarm, spec)


async def test_an_image_that_does_not_exist_is_told_and_heals(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, postgres_image: str
) -> None:
    late = "dbs-test/late:18"
    await swarm.ensure(replace(spec, image=late))
    await until_seen(swarm, spec, Presence.STARTING, f"image {late} is not found, neither on node manager")
    healthy_swarm.manager.docker("tag", postgres_image, late)
    await until_it_runs(swarm, spec)
    healthy_swarm.manager.docker("rmi", late)


async def test_a_port_that_is_taken_by_a_process_is_told_and_heals(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec
) -> None:
    port = 21000 + spec.id.int % 11000
    listener = healthy_swarm.manager.spawn(sys.executable, "-m", "http.server", str(port))
    until(lambda: takes_connections(healthy_swarm.manager.address, port), START_S, "nothing listens")
    await swarm.ensure(spec)
    await until_seen(swarm, spec, Presence.STARTING, f"port {port} of node manager is taken by something else")
    healthy_swarm.manager.run("pkill", "-f", f"http.server {port}")
    listener.wait()
    await until_it_runs(swarm, spec)


async def test_a_port_that_is_taken_by_a_service_is_told_and_heals(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, postgres_image: str
) -> None:
    port = 21000 + spec.id.int % 11000
    create_theirs(healthy_swarm.manager, postgres_image, "--publish", f"mode=host,target=1,published={port}")
    await swarm.ensure(spec)
    await until_seen(swarm, spec, Presence.STARTING, f"1 node with port {port} already taken")
    healthy_swarm.manager.docker("service", "rm", "theirs")
    await until_it_runs(swarm, spec)


async def test_memory_that_no_node_has_is_told_and_heals(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, postgres_image: str
) -> None:
    all_of_it = int(healthy_swarm.manager.docker("info", "--format", "{{.MemTotal}}")) - 64 * MIB
    create_theirs(healthy_swarm.manager, postgres_image, "--reserve-memory", str(all_of_it))
    await swarm.ensure(spec)
    await until_seen(swarm, spec, Presence.STARTING, "1 node with less than 192 MiB of memory unreserved")
    healthy_swarm.manager.docker("service", "rm", "theirs")
    await until_it_runs(swarm, spec)


async def test_a_full_disk_is_told_and_heals(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    place = storage / str(spec.id)
    place.mkdir()
    manager = healthy_swarm.manager
    with hidden(manager, str(place), "size=20m"):
        manager.run("sh", "-c", f"echo {spec.id} >{place}/server.id")
        await swarm.ensure(spec)
        await until_seen(swarm, spec, Presence.STARTING, "the storage on node manager is full: ")
        manager.run("mount", "-o", "remount,size=300m", str(place))
        await until_it_runs(swarm, spec)
        await swarm.remove(spec.id, keep_data=True)


async def test_a_read_only_mount_is_told_and_heals(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    place = storage / str(spec.id)
    place.mkdir()
    manager = healthy_swarm.manager
    with hidden(manager, str(place)):
        manager.run("sh", "-c", f"echo {spec.id} >{place}/server.id && mount -o remount,ro {place}")
        await swarm.ensure(spec)
        await until_seen(swarm, spec, Presence.STARTING, "cannot be written to: Read-only file system")
        manager.run("mount", "-o", "remount,rw", str(place))
        await until_it_runs(swarm, spec)
        await swarm.remove(spec.id, keep_data=True)


async def test_a_mount_that_is_missing_is_told_and_heals(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec, storage: Path
) -> None:
    with hidden(healthy_swarm.manager, str(storage)):
        await swarm.ensure(spec)
        await until_seen(
            swarm,
            spec,
            Presence.STARTING,
            f"the storage {storage}/{spec.id} is not there on node manager: is it mounted",
        )
    await until_it_runs(swarm, spec)


async def test_storage_that_is_not_mounted_at_the_worker_is_told(
    healthy_swarm: Lab, spec: ServerSpec, storage: Path
) -> None:
    with (
        swarm_provisioner(healthy_swarm, storage / "nowhere") as swarm,
        pytest.raises(ProvisioningFailed, match=f"{storage}/nowhere is not there: is it mounted where the worker runs"),
    ):
        await swarm.ensure(spec)


async def test_settings_that_postgresql_refuses_are_told(swarm: SwarmProvisioner, spec: ServerSpec) -> None:
    await swarm.ensure(replace(spec, settings={**spec.settings, "work_mem": "much"}))
    await until_seen(swarm, spec, Presence.STARTING, 'invalid value for parameter "work_mem": "much"')


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK leaves a refused socket open
async def test_an_engine_that_is_away_is_told_and_nothing_is_taken_for_gone(
    healthy_swarm: Lab, swarm: SwarmProvisioner, spec: ServerSpec
) -> None:
    await swarm.ensure(spec)
    await until_it_runs(swarm, spec)
    healthy_swarm.manager.kill_dockerd()
    seen = await swarm.observe(spec.id)
    assert (seen.presence, "does not answer" in seen.why) == (Presence.UNKNOWN, True)
    with pytest.raises(ProvisioningFailed, match=f"server {spec.name} cannot be handled: The Docker engine"):
        await swarm.ensure(spec)
    healthy_swarm.manager.restart_dockerd()
    await until_it_runs(swarm, spec)
