"""What only services of a Swarm promise, or have to stand."""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from instance_service.domain.workloads import Presence, WorkloadSpec
from instance_service.workloads import swarm_tasks
from instance_service.workloads.description import Options
from instance_service.workloads.engine import Api, Engine
from instance_service.workloads.swarm import SwarmWorkloads
from instance_service.workloads.swarm_tasks import Task
from instance_support.telling import Bench, login_of
from support import stack_images
from support.swarm_lab import Lab
from workloads.conftest import NETWORK
from workloads.test_contract import until, well


def secrets_in(lab: Lab) -> list[str]:
    return lab.manager.docker("secret", "ls", "--format", "{{.Name}}").split()


def service_of(spec: WorkloadSpec) -> str:
    return f"instance-{spec.id}"


@pytest.mark.docker
@pytest.mark.timeout(600)
async def test_a_change_leaves_no_gap_and_a_bad_one_leaves_the_old_one_running(
    swarm: Bench, healthy_swarm: Lab
) -> None:
    spec = swarm.spec()
    first = await well(swarm, spec)
    assert len(secrets_in(healthy_swarm)) == 2

    missing = swarm.spec(spec.id, image="no-such-image:1")
    await swarm.workloads.ensure(missing)
    seen = await until(swarm, missing, lambda seen: "no-such-image:1 is not found" in seen.detail)
    assert seen.healthy
    assert seen.version is None
    assert swarm.told(first)["env"]["PGUSER"] == "u_1"

    rotated = swarm.spec(spec.id, login=login_of("u_2"))
    await swarm.workloads.ensure(rotated)

    def answers_until_taken_over() -> bool:
        return bool(swarm.told(first)["env"]["PGUSER"] == "u_2")

    await until(swarm, rotated, lambda seen: answers_until_taken_over() and seen.version == rotated.version)
    assert secrets_in(healthy_swarm) == [
        name for name in secrets_in(healthy_swarm) if rotated.login.version[:8] in name
    ]
    assert len(secrets_in(healthy_swarm)) == 2

    told = json.loads(healthy_swarm.manager.docker("service", "inspect", service_of(spec)))
    assert rotated.login.password.reveal() not in json.dumps(told)
    assert rotated.login.password.reveal() not in str(swarm.told(first)["env"])


@pytest.mark.docker
@pytest.mark.timeout(600)
async def test_what_dies_begins_again_and_another_planes_is_left_alone(swarm: Bench, healthy_swarm: Lab) -> None:
    spec = swarm.spec()
    born = swarm.told(await well(swarm, spec))["born"]
    [node] = healthy_swarm.places(service_of(spec))
    node.docker("kill", node.docker("ps", "--quiet", "--filter", f"name={service_of(spec)}"))
    seen = await until(swarm, spec, lambda seen: seen.healthy and swarm.told(seen)["born"] != born)
    assert seen.version == spec.version

    other = SwarmWorkloads(Engine.at(healthy_swarm.manager.url), Options("other", NETWORK, stack_images.BASE))
    assert (await other.observe(spec.id)).presence is Presence.ABSENT
    await other.remove(spec.id)
    assert await other.list_ours() == []
    assert (await swarm.workloads.observe(spec.id)).healthy


async def test_an_engine_that_is_away_tells_nothing_about_any_workload() -> None:
    away = SwarmWorkloads(Engine.at("tcp://127.0.0.1:1"), Options("plane", NETWORK, "todo"))
    seen = await away.observe(Bench(away, "", None, str).spec().id)
    assert seen.presence is Presence.UNKNOWN
    assert "does not answer" in seen.detail


@dataclass(frozen=True, slots=True)
class Slow(Engine):
    """An engine that is slow to tell of its networks, and notes what it is made to do after that."""

    released: threading.Event = field(default_factory=threading.Event)
    done: list[str] = field(default_factory=list)

    def services(self, labels: Mapping[str, str]) -> Sequence[Api]:
        return []

    def secrets(self, labels: Mapping[str, str]) -> Sequence[Api]:
        return []

    def network_id(self, name: str) -> str:
        self.released.wait(20)
        return "n"

    def create_secret(self, name: str, content: str, labels: Mapping[str, str]) -> str:
        self.done.append(name)
        return "s"

    def create_service(self, service: Api) -> None:
        self.done.append(service["Name"])


@pytest.mark.parametrize("given_up", [False, True])
async def test_who_was_given_up_while_the_engine_was_slow_changes_nothing_afterwards(given_up: bool) -> None:
    away = Engine.at("tcp://127.0.0.1:1")
    engine = Slow(away.client, away.url)
    workloads = SwarmWorkloads(engine, Options("plane", NETWORK, "todo"))
    ensuring = asyncio.create_task(workloads.ensure(Bench(workloads, "", None, str).spec()))
    await asyncio.sleep(0)
    if given_up:
        ensuring.cancel()
    await asyncio.sleep(0)
    engine.released.set()
    await asyncio.gather(ensuring, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
    assert len(engine.done) == (0 if given_up else 3)


def told(state: str, **more: object) -> Task:
    """As the Engine API tells a task."""
    status = {"State": state, "Err": more.get("err", ""), "ContainerStatus": {"ExitCode": more.get("code", 0)}}
    container = {"Image": "shop:1", "Labels": {}}
    spec = {"ContainerSpec": container, "Resources": {"Limits": {"MemoryBytes": 64 * 1024**2}}}
    return Task.of(
        {
            "CreatedAt": "2026",
            "Status": status,
            "DesiredState": more.get("desired", "running"),
            "NodeID": "n",
            "Spec": spec,
        }
    )


NO_ROOM = told("pending", err="no suitable node (insufficient resources on 3 nodes)")
NO_IMAGE = told("rejected", err="No such image: shop:1")
ENDED = told("failed", err="task: non-zero exit (3)", code=3)
KILLED = told("failed", err="task: non-zero exit (137)", code=137)
UNHEALTHY = told("failed", err="task: non-zero exit (143): dockerexec: unhealthy container", code=143)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (NO_ROOM, "no node is suitable: insufficient resources on 3 nodes"),
        (NO_IMAGE, "the image shop:1 is not found, neither on its node nor in its registry"),
        (ENDED, "it ended with code 3"),
        (KILLED, "it was killed, most likely because it needed more than its 64 MiB of memory"),
        (UNHEALTHY, "it runs and does not answer its health check"),
        (told("starting"), "its health check has not passed yet"),
        (told("new"), ""),
    ],
)
def test_why_it_does_not_run_is_said_in_words(task: Task, sentence: str) -> None:
    assert swarm_tasks.why_not([task]) == sentence
