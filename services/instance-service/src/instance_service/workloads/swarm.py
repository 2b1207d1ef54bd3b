"""SwarmWorkloads: workloads as services of a Docker Swarm. What is true is asked of the Swarm each time, by label.

Everything that blocks runs in a thread. How a service is made: see `description`; what its tasks tell: see `swarm_tasks`.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar
from uuid import UUID

from instance_service.domain.errors import WorkloadFailed
from instance_service.domain.ids import InstanceId
from instance_service.domain.workloads import Address, Found, Presence, Seen, WorkloadSpec
from instance_service.workloads import description, swarm_tasks
from instance_service.workloads.apart import apart, still_wanted
from instance_service.workloads.description import INSTANCE, LOGIN, NAME, PLANE, VERSION, Options
from instance_service.workloads.engine import Api, Engine, InUse
from instance_service.workloads.swarm_tasks import Task

END_S = description.STOP_GRACE_S + 15.0
PAUSE_S = 0.1


class SwarmWorkloads:
    """Workloads of one plane, on the Swarm of this engine."""

    runs_images: ClassVar[bool] = True

    def __init__(self, engine: Engine, options: Options) -> None:
        self._engine = engine
        self._options = options

    async def ensure(self, spec: WorkloadSpec) -> None:
        """See the port. What runs otherwise serves until its successor is well, so nobody notices the change."""
        await apart(self._ensure, spec)

    async def observe(self, instance_id: InstanceId) -> Seen:
        return await apart(self._observe, instance_id)

    async def stop(self, instance_id: InstanceId) -> None:
        await apart(self._stop, instance_id)

    async def remove(self, instance_id: InstanceId) -> None:
        await apart(self._remove, instance_id)

    async def list_ours(self) -> Sequence[Found]:
        return await apart(self._list_ours)

    @property
    def _hands(self) -> Engine:
        """The engine, for a change."""
        still_wanted()
        return self._engine

    # -- ensure -------------------------------------------------------------------------------------------------------

    def _ensure(self, spec: WorkloadSpec) -> None:
        known = self._service(spec.id)
        if known and known["Spec"]["Labels"].get(VERSION) == spec.version and not description.is_stopped(known["Spec"]):
            return
        wanted = self._wanted(spec)
        if known:
            self._hands.update_service(known, wanted)
        else:
            with suppress(InUse):  # another worker was faster, for the same row
                self._hands.create_service(wanted)
        self._forget_secrets(spec.id, keep=spec.login.version)

    def _wanted(self, spec: WorkloadSpec) -> dict[str, object]:
        network_id = self._engine.network_id(self._options.network)
        return description.service_of(spec, self._options, network_id, self._secrets(spec))

    def _secrets(self, spec: WorkloadSpec) -> list[Api]:
        """References to the files with its login; what is missing is made."""
        labels = description.labels_of(self._options, spec.id)
        known = {secret["Spec"]["Name"]: secret["ID"] for secret in self._engine.secrets(labels)}
        wanted = description.secrets_of(spec.id, spec.login)
        labels |= {LOGIN: spec.login.version}
        return [
            description.secret_reference(
                file, name, known.get(name) or self._hands.create_secret(name, content, labels)
            )
            for file, (name, content) in wanted.items()
        ]

    def _forget_secrets(self, instance_id: InstanceId, keep: str | None) -> None:
        """Those of earlier logins: what runs has its files already. One that is still in use goes the next time."""
        for secret in self._engine.secrets(description.labels_of(self._options, instance_id)):
            if secret["Spec"]["Labels"].get(LOGIN) != keep:
                with suppress(InUse):
                    self._hands.remove_secret(secret["ID"])

    # -- observe ------------------------------------------------------------------------------------------------------

    def _observe(self, instance_id: InstanceId) -> Seen:
        try:
            service = self._service(instance_id)
            return self._look(service) if service else Seen(Presence.ABSENT)
        except WorkloadFailed as e:
            return Seen(Presence.UNKNOWN, detail=f"it cannot be looked at: {str(e).rstrip('.')}")

    def _look(self, service: Api) -> Seen:
        if description.is_stopped(service["Spec"]):
            return Seen(Presence.STOPPED)
        tasks = self._tasks(service)
        serving = swarm_tasks.running(tasks)
        if not serving:
            return Seen(Presence.STARTING, detail=swarm_tasks.why_not(tasks))
        wanted = service["Spec"]["Labels"][VERSION]
        return Seen(
            Presence.RUNNING,
            healthy=True,
            address=_address(service),
            version=wanted if all(task.version == wanted for task in serving) else None,
            detail="" if any(task.version == wanted for task in serving) else swarm_tasks.why_not(tasks),
        )

    def _list_ours(self) -> Sequence[Found]:
        ours = {PLANE: self._options.plane}
        services = {service["Spec"]["Labels"][INSTANCE]: service for service in self._engine.services(ours)}
        traces = defaultdict[str, list[str]](list)
        for owner, service in services.items():
            traces[owner].append(f"service {service['Spec']['Name']}")
        for secret in self._engine.secrets(ours):
            traces[secret["Spec"]["Labels"][INSTANCE]].append(f"secret {secret['Spec']['Name']}")
        return [self._found(owner, services.get(owner), told) for owner, told in sorted(traces.items())]

    def _found(self, owner: str, service: Api | None, traces: list[str]) -> Found:
        name = service["Spec"]["Labels"].get(NAME, owner) if service else owner
        presence = self._look(service).presence if service else Presence.ABSENT
        return Found(InstanceId(UUID(owner)), name, presence, tuple(traces))

    def _service(self, instance_id: InstanceId) -> Api | None:
        found = self._engine.services(description.labels_of(self._options, instance_id))
        return found[0] if found else None

    def _tasks(self, service: Api) -> list[Task]:
        return [Task.of(told) for told in self._engine.tasks(service["ID"])]

    # -- stop and remove ----------------------------------------------------------------------------------------------

    def _stop(self, instance_id: InstanceId) -> None:
        if service := self._service(instance_id):
            self._end(service)

    def _remove(self, instance_id: InstanceId) -> None:
        if service := self._service(instance_id):
            self._end(service)
            self._hands.remove_service(service["ID"])
        self._forget_secrets(instance_id, keep=None)

    def _end(self, service: Api) -> None:
        """Without a task, and back when none runs any longer. What a node that is down still runs cannot be ended by anybody;
        it is left to the end of its login."""
        if not description.is_stopped(service["Spec"]):
            self._hands.update_service(service, description.stopped(service["Spec"]))
        deadline = time.monotonic() + END_S
        while left := self._alive(service):
            if time.monotonic() > deadline:
                raise WorkloadFailed(f"It does not end on {len(left)} node(s) within {END_S:g} s.")
            time.sleep(PAUSE_S)

    def _alive(self, service: Api) -> list[Task]:
        left = [task for task in self._tasks(service) if not task.over]
        if not left:
            return []
        up = {node["ID"] for node in self._engine.nodes() if node["Status"]["State"] != "down"}
        return [task for task in left if task.node_id in up]


def _address(service: Api) -> Address:
    told = dict(line.partition("=")[::2] for line in service["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"])
    return Address(service["Spec"]["Name"], int(told["PORT"]))
