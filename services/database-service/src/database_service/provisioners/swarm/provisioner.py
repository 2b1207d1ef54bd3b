"""SwarmProvisioner: one service for each server, found by its label and never by memory.

Swarm keeps what it is told running by itself; so `ensure` tells it, and `observe` reads what became of that. Swarm does not
fence, does not know what a database is, and does not say why in words: that is what is here.
"""

import asyncio
import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar
from uuid import UUID

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.domain.servers import Address, Found, Image, Presence, Seen, ServerSpec
from database_service.provisioners.ports import PORTS, candidates
from database_service.provisioners.swarm import description, tasks
from database_service.provisioners.swarm.description import Api, Stand
from database_service.provisioners.swarm.engine import Engine, EngineAway, Hands, InUse, Outdated
from database_service.provisioners.swarm.images import Pins, pinned
from database_service.provisioners.swarm.options import Options
from database_service.provisioners.swarm.storage import StoragePlace, is_server_id, places_in
from database_service.provisioners.swarm.tasks import Task
from database_service.secretbox import scram_verifier

CALLS_AT_ONCE = 8
FETCHES_AT_ONCE = 2
STOP_PATIENCE_S = 20.0
"""How long a removal waits for tasks to end before it says so and is tried again."""
PAUSE_S = 0.1
NOT_YET = ("new", "pending")

P = ParamSpec("P")
T = TypeVar("T")


class SwarmProvisioner:
    """PostgreSQL servers in the Swarm that `engine` is a manager of."""

    def __init__(self, engine: Engine, options: Options, hands: Hands | None = None) -> None:
        self._engine = engine
        self._options = options
        self._able = hands or Hands(engine)
        self._pins = Pins(engine)
        # Threads of its own: an engine that hangs must not take those that everybody else needs.
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="swarm")
        self._fetching = ThreadPoolExecutor(FETCHES_AT_ONCE, thread_name_prefix="swarm-image")
        self._mine = threading.local()

    async def ensure(self, spec: ServerSpec) -> None:
        await self._apart(self._ensure, spec)

    async def observe(self, server_id: ServerId) -> Seen:
        return await self._apart(self._observe, server_id)

    async def remove(self, server_id: ServerId, *, keep_data: bool) -> None:
        await self._apart(self._stop if keep_data else self._remove, server_id)

    async def differences(self, spec: ServerSpec) -> Sequence[str]:
        return await self._apart(self._differences, spec)

    async def look_up(self, image: str) -> Image:
        """Images may take long to come, so they have threads of their own; one that came is there for whoever asks again."""
        return await asyncio.get_running_loop().run_in_executor(self._fetching, pinned, self._engine, image)

    async def remember(self, server_id: ServerId, text: str) -> None:
        await self._apart(self._remember, server_id, text)

    async def list_ours(self) -> Sequence[Found]:
        return await self._apart(self._list_ours)

    def close(self) -> None:
        for threads in (self._threads, self._fetching):
            threads.shutdown(wait=False, cancel_futures=True)

    async def _apart(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        given_up = threading.Event()

        def worked() -> T:
            self._mine.given_up = given_up
            return work(*args, **kwargs)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, worked)
        except asyncio.CancelledError:
            given_up.set()
            raise

    @property
    def _hands(self) -> Hands:
        """A thread cannot be stopped: one that nobody waits for any more must not act behind the back of who comes next."""
        if self._mine.given_up.is_set():
            raise ProvisioningFailed("it took too long and was given up")
        return self._able

    # -- ensure -------------------------------------------------------------------------------------------------------

    def _ensure(self, spec: ServerSpec) -> None:
        with _about(spec.name):
            known = self._engine.service(spec.id)
            if known and description.is_erasing(known["Spec"]):
                raise ProvisioningFailed("it is being removed and cannot be started again")
            self._have_place(spec, known)
            wanted = self._wanted(spec, known, self._have_secrets(spec))
            if known is None:
                self._create(spec, wanted)
            else:
                self._change(spec, known, wanted)

    def _have_place(self, spec: ServerSpec, known: Api | None) -> None:
        place = self._place(spec)
        if place is None:
            if spec.made_before and known is None and not self._engine.volumes(spec.id):
                raise ProvisioningFailed("its volume is gone; it is never replaced by an empty server")
        elif place.has_data() or (place.is_there() and not spec.made_before):
            self._hands.make_place(place)
        elif spec.made_before or (known and place.root.is_dir()):
            raise ProvisioningFailed(
                f"its data is not in {place.directory}: is the storage mounted? It is never replaced by an empty server"
            )
        else:
            self._hands.make_place(place)

    def _have_secrets(self, spec: ServerSpec) -> dict[str, str]:
        """Their ids by their names: this version's verifier, and where it speaks TLS its key and certificate."""
        known = {str(one["Spec"]["Name"]): str(one["ID"]) for one in self._engine.secrets(spec.id)}
        return {
            name: known.get(name) or self._make_secret(spec, name, file)
            for name, file in description.secrets_of(spec).items()
        }

    def _make_secret(self, spec: ServerSpec, name: str, file: str) -> str:
        try:
            return self._hands.create_secret(name, _content(spec, file), description.labels_of(self._options, spec.id))
        except InUse:
            for one in self._engine.secrets(spec.id):
                if one["Spec"]["Name"] == name:
                    return str(one["ID"])
            raise ProvisioningFailed(f"a secret {name} that is not ours is in the Swarm already") from None

    def _wanted(self, spec: ServerSpec, known: Api | None, secret_ids: Mapping[str, str]) -> dict[str, object]:
        if spec.image is None:
            raise ProvisioningFailed("it has no image; set POSTGRES_IMAGE and order it again")
        options = self._options
        place = self._place(spec)
        stand = Stand(
            network_id=self._engine.network_id(options.network) if options.network else None,
            secret_ids=secret_ids,
            storage=place.directory if place else description.volume_name(spec),
            node_id=None if options.shared_storage else self._node_with_volume(known),
            published_port=self._port(spec, known) if options.publish else None,
        )
        return description.service_of(spec, options, stand)

    def _node_with_volume(self, known: Api | None) -> str:
        """Where its volume is: a server does not follow a worker that talks to another manager."""
        pinned_to = description.node_of(known["Spec"]) if known else None
        return pinned_to or self._engine.own_node_id()

    def _port(self, spec: ServerSpec, known: Api | None) -> int:
        """The one it has; else one that no other server of ours has."""
        mine = description.published_port_of(known["Spec"]) if known else None
        if mine:
            return mine
        taken = {description.published_port_of(service["Spec"]) for service in self._engine.services()}
        for port in candidates(spec.id):
            if port not in taken:
                return port
        raise ProvisioningFailed(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")

    def _create(self, spec: ServerSpec, wanted: Api) -> None:
        image = self._pins.pin(description.image_of(wanted))
        try:
            self._hands.create_service(description.with_image(wanted, image))
        except InUse:
            if self._engine.service(spec.id) is None:
                raise ProvisioningFailed(f"a service {spec.name} that is not ours is in the Swarm already") from None

    def _change(self, spec: ServerSpec, known: Api, wanted: Api) -> None:
        """Only where something differs; a label alone restarts nothing."""
        has = known["Spec"]
        wanted = description.remembering(wanted, description.remembered_of(has))
        restarts = bool(description.differences(has, wanted))
        if not restarts and has["Labels"] == wanted["Labels"]:
            return
        try:
            if restarts:
                self._hands.update_service(known, description.with_image_of(wanted, has))
                self._forget_other_secrets(spec)
            else:
                self._hands.update_service(known, {**has, "Labels": wanted["Labels"]})
        except Outdated:
            pass  # whoever it was did the same, or the next look finds what still differs

    def _forget_other_secrets(self, spec: ServerSpec) -> None:
        for secret in self._engine.secrets(spec.id):
            if secret["Spec"]["Name"] not in description.secrets_of(spec):
                self._hands.remove_secret(secret["ID"])

    # -- memory -------------------------------------------------------------------------------------------------------

    def _remember(self, server_id: ServerId, text: str) -> None:
        with _about(str(server_id)):
            known = self._engine.service(server_id)
            if known is None or description.remembered_of(known["Spec"]) == text:
                return
            with contextlib.suppress(Outdated):  # somebody changed it just now: at the next time
                self._hands.update_service(known, description.remembering(known["Spec"], text))

    # -- observe ------------------------------------------------------------------------------------------------------

    def _observe(self, server_id: ServerId) -> Seen:
        try:
            return self._look(server_id)
        except (ProvisioningFailed, OSError) as e:
            return Seen(Presence.UNKNOWN, why=f"it cannot be looked at: {str(e).rstrip('.')}")

    def _look(self, server_id: ServerId) -> Seen:
        service = self._engine.service(server_id)
        if service is None:
            return self._without_service(server_id)
        if description.is_erasing(service["Spec"]):
            return Seen(Presence.STOPPED, why="its removal is not finished")
        if description.replicas_of(service["Spec"]) == 0:
            return Seen(Presence.STOPPED, why="it was stopped, and its data is kept")
        return self._running_or_why_not(service)

    def _without_service(self, server_id: ServerId) -> Seen:
        if place := self._place_of(server_id):
            place.require_storage()
        traces = self._traces(server_id)
        return Seen(Presence.STOPPED, why=f"it has no service, only {traces[0]}") if traces else Seen(Presence.ABSENT)

    def _running_or_why_not(self, service: Api) -> Seen:
        all_tasks = self._engine.tasks(service["ID"])
        task = tasks.current(all_tasks)
        if task and task.state in tasks.STARTING and task.node_id:
            why = self._why_before(service, task, all_tasks)
            return Seen(Presence.RUNNING, self._address(service["Spec"], task.node_id), why=why, image=task.image)
        return Seen(Presence.STARTING, why=self._why_not(service, task, all_tasks))

    def _why_before(self, service: Api, task: Task, all_tasks: list[Task]) -> str:
        """Of a server that falls over and over, what its last attempt died of says more than that this one does not answer yet."""
        if task.state == tasks.RUNNING or tasks.last_ill(all_tasks) is None:
            return ""
        return self._why_not(service, None, all_tasks)

    def _why_not(self, service: Api, task: Task | None, all_tasks: list[Task]) -> str:
        if task and task.state in NOT_YET and task.message:
            return tasks.why_not_placed(task, service["Spec"])
        ill = tasks.last_ill(all_tasks)
        if ill is None:
            return f"its task is {task.state}" if task else "Swarm has not made a task for it yet"
        log = self._engine.log(ill.id) if ill.exit_code is not None or "unhealthy" in ill.message else []
        return tasks.why_it_failed(ill, service["Spec"], self._node_name(ill.node_id), log)

    def _address(self, spec: Api, node_id: str) -> Address:
        port = description.published_port_of(spec)
        return Address(self._host(node_id), port) if port else Address(spec["Name"], description.PORT)

    def _host(self, node_id: str) -> str:
        """A manager tells of itself as what it listens on for other managers."""
        node = self._engine.node(node_id)
        if node is None:
            raise ProvisioningFailed("the node it ran on is no longer in the Swarm")
        manager = str(node.get("ManagerStatus", {}).get("Addr", "")).rpartition(":")[0]
        return manager or str(node["Status"]["Addr"])

    def _node_name(self, node_id: str | None) -> str:
        node = self._engine.node(node_id) if node_id else None
        return str(node["Description"]["Hostname"]) if node else "that is gone"

    # -- remove -------------------------------------------------------------------------------------------------------

    def _stop(self, server_id: ServerId) -> None:
        with _about(str(server_id)):
            self._until(
                lambda: "its service goes on being changed by somebody else", lambda: self._told_to_stop(server_id)
            )
            if service := self._engine.service(server_id):
                self._until(lambda: "its tasks have not ended yet", lambda: self._nothing_runs(service["ID"]))

    def _told_to_stop(self, server_id: ServerId) -> bool:
        """False where it was changed meanwhile: Swarm itself writes to a service some moments after it was made."""
        service = self._engine.service(server_id)
        if service is None or description.replicas_of(service["Spec"]) == 0:
            return True
        try:
            self._hands.update_service(service, description.stopped(service["Spec"]))
        except Outdated:
            return False
        return True

    def _remove(self, server_id: ServerId) -> None:
        with _about(str(server_id)):
            place = self._place_of(server_id)
            service = self._engine.service(server_id)
            self._refuse_hidden(service, place)
            if service and not description.is_erasing(service["Spec"]):
                self._stop(server_id)
            if place and place.has_data():
                self._erase(place)
            if service := self._engine.service(server_id):
                self._hands.remove_service(service["ID"])
            self._clear_traces(server_id, place)

    def _refuse_hidden(self, service: Api | None, place: StoragePlace | None) -> None:
        """What cannot be seen from here is not gone: with its service, the last that knows of it would go."""
        if place:
            place.require_storage()
            if service and description.had_data(service["Spec"]) and not place.is_there():
                raise ProvisioningFailed(f"its data is not in {place.directory}: is the storage mounted?")
        elif service and (node := description.node_of(service["Spec"])) not in (None, self._engine.own_node_id()):
            raise ProvisioningFailed(
                f"its volume is on node {self._node_name(node)}: the worker has to talk to that engine"
            )

    def _erase(self, place: StoragePlace) -> None:
        """By a task, as the data belongs to an account that we are not, and under the lock of whoever still serves it."""
        service = self._engine.service(place.id)
        if service is None:
            service = self._make_eraser(place)
        elif not description.is_erasing(service["Spec"]):
            self._hands.update_service(service, description.erasing(service["Spec"]))
        self._until(
            lambda: f"its data is still being erased: {self._progress(service)}",
            lambda: self._is_erased(service, place),
        )

    def _make_eraser(self, place: StoragePlace) -> Api:
        """For data whose service somebody removed."""
        if self._options.image is None:
            raise ProvisioningFailed(f"{place.directory} holds data, and without POSTGRES_IMAGE nothing can erase it")
        self._hands.create_service(description.eraser_of(place.id, self._options, place.directory, self._options.image))
        made = self._engine.service(place.id)
        if made is None:
            raise ProvisioningFailed("somebody else removed it in the same moment")
        return made

    def _progress(self, service: Api) -> str:
        all_tasks = self._engine.tasks(service["ID"])
        return self._why_not(service, tasks.current(all_tasks), all_tasks)

    def _is_erased(self, service: Api, place: StoragePlace) -> bool:
        erasers = [task for task in self._engine.tasks(service["ID"]) if task.args == (description.ERASE,)]
        if any(task.state == "complete" for task in erasers):
            if place.has_data():
                raise ProvisioningFailed(
                    f"its data is erased, but {place.directory} holds something else; it is left alone"
                )
            return True
        if tasks.last_ill(erasers) and tasks.current(erasers) is None:
            self._try_again(service)
            raise ProvisioningFailed(f"its data is not erased: {self._why_not(service, None, erasers)}")
        return False

    def _try_again(self, service: Api) -> None:
        """A task that is not restarted by itself is started anew by any change of its service."""
        known = self._engine.service(ServerId(UUID(service["Spec"]["Labels"][description.SERVER])))
        if known:
            template = {**known["Spec"]["TaskTemplate"]}
            template["ForceUpdate"] = int(template.get("ForceUpdate", 0)) + 1
            self._hands.update_service(known, {**known["Spec"], "TaskTemplate": template})

    def _clear_traces(self, server_id: ServerId, place: StoragePlace | None) -> None:
        for secret in self._engine.secrets(server_id):
            self._hands.remove_secret(secret["ID"])
        self._until(lambda: "its volume is still in use", lambda: self._has_no_volume(server_id))
        if place and place.is_there():
            self._hands.clear_place(place)

    def _has_no_volume(self, server_id: ServerId) -> bool:
        """Containers of tasks that ended hold a volume until Swarm has cleared them away, which nobody can wait for otherwise."""
        try:
            for volume in self._engine.volumes(server_id):
                self._hands.remove_volume(volume["Name"])
        except InUse:
            return False
        return True

    def _nothing_runs(self, service_id: str) -> bool:
        return all(task.over or task.state in NOT_YET or self._is_lost(task) for task in self._engine.tasks(service_id))

    def _is_lost(self, task: Task) -> bool:
        """On a node that is down nobody can say; whatever lives on there holds the lock of its data."""
        node = self._engine.node(task.node_id) if task.node_id else None
        return task.node_id is not None and (node is None or node["Status"]["State"] == "down")

    def _until(self, why: Callable[[], str], holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STOP_PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                raise ProvisioningFailed(why())
            time.sleep(PAUSE_S)

    # -- differences and traces ---------------------------------------------------------------------------------------

    def _differences(self, spec: ServerSpec) -> Sequence[str]:
        with _about(spec.name):
            known = self._engine.service(spec.id)
            if known is None:
                return ()
            place = self._place(spec)
            lost = (
                [f"data is missing from {place.directory}"]
                if place and spec.made_before and not place.has_data()
                else []
            )
            return [*lost, *description.differences(known["Spec"], self._wanted(spec, known, {}))]

    def _list_ours(self) -> Sequence[Found]:
        traces = defaultdict[str, list[str]](list)
        for owner, told in self._all_traces():
            traces[owner].append(told)
        return [self._found(ServerId(UUID(owner)), traces[owner]) for owner in sorted(filter(is_server_id, traces))]

    def _found(self, server_id: ServerId, traces: list[str]) -> Found:
        seen = self._observe(server_id)
        kind, _, name = traces[0].partition(" ")
        named = name if kind == "service" else str(server_id)
        place = self._place_of(server_id)
        labelled = place is None or not place.is_there() or place.is_labelled()
        service = self._engine.service(server_id)
        remembered = description.remembered_of(service["Spec"]) if service else None
        return Found(server_id, named, seen.presence, seen.address, tuple(traces), labelled, remembered)

    def _all_traces(self) -> Iterator[tuple[str, str]]:
        """Everything with our label or below our storage: whose it is, and what; services first."""
        for service in self._engine.services():
            yield _owner(service["Spec"]["Labels"]), f"service {service['Spec']['Name']}"
        for secret in self._engine.secrets():
            yield _owner(secret["Spec"]["Labels"]), f"secret {secret['Spec']['Name']}"
        for volume in self._engine.volumes():
            yield _owner(volume.get("Labels")), f"volume {volume['Name']}"
        for root in self._options.roots:
            for place in places_in(root, self._options.plane):
                yield str(place.id), f"directory {place.directory}"

    def _traces(self, server_id: ServerId) -> list[str]:
        """All that there is of it, in words."""
        service = self._engine.service(server_id)
        place = self._place_of(server_id)
        return [
            *([f"service {service['Spec']['Name']}"] if service else []),
            *(f"secret {secret['Spec']['Name']}" for secret in self._engine.secrets(server_id)),
            *(f"volume {volume['Name']}" for volume in self._engine.volumes(server_id)),
            *([f"directory {place.directory}"] if place and place.is_there() else []),
        ]

    def _place(self, spec: ServerSpec) -> StoragePlace | None:
        root = self._options.root_of(spec.server_type)
        return StoragePlace(root, self._options.plane, spec.id) if root else None

    def _place_of(self, server_id: ServerId) -> StoragePlace | None:
        """Where its place is; where it has none, where it would be."""
        places = [StoragePlace(root, self._options.plane, server_id) for root in self._options.roots]
        return next((place for place in places if place.is_there()), places[0] if places else None)


def _content(spec: ServerSpec, file: str) -> bytes:
    if file == description.IDENTITY_FILE and spec.identity:
        return spec.identity.reveal().encode()
    return scram_verifier(spec.admin_password).encode()


def _owner(labels: Mapping[str, str] | None) -> str:
    return (labels or {}).get(description.SERVER, "")


@contextlib.contextmanager
def _about(name: str) -> Iterator[None]:
    """Whose failure it is, in one sentence; what storage refuses (a full disk, a read-only mount) as well."""
    try:
        yield
    except EngineAway as e:
        raise EngineAway(f"The server {name} cannot be handled: {str(e).rstrip('.')}.") from e
    except ProvisioningFailed as e:
        if str(e).startswith("The server "):
            raise
        raise ProvisioningFailed(f"The server {name} cannot be handled: {str(e).rstrip('.')}.") from e
    except OSError as e:
        reason = f"{e.strerror} ({e.filename})" if e.filename else e.strerror
        raise ProvisioningFailed(f"The server {name} cannot be handled: {reason}.") from e
