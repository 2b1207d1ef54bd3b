"""The Docker engine of a manager node: the only place that imports its SDK. Every call blocks, at most CALL_S seconds.

`Engine` reads; `Hands` is every outside effect, one method each, all of which may be repeated.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import docker
import docker.auth
import requests

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.ids import ServerId
from database_service.provisioners.swarm.description import PLANE, SERVER, Api
from database_service.provisioners.swarm.storage import StoragePlace
from database_service.provisioners.swarm.tasks import Task

API_VERSION = "1.41"
"""Docker 20.10's: the oldest engine that takes capabilities of services."""
CALL_S = 10
LOG_LINES = 40
LOG_S = 3
SILENCE_S = 30
"""How long a registry may send nothing of an image."""
FRAME_HEAD = 8
"""Bytes: the stream's number, three of nothing, and the length of what follows."""
CONFLICT = 409


class EngineAway(ProvisioningFailed):
    """The engine does not answer, or is no manager of a Swarm: nothing is known about any server."""


class InUse(ProvisioningFailed):
    """There is something of that name already, or something still uses what is to be removed."""


class Outdated(ProvisioningFailed):
    """Somebody else changed the service in the same moment: look again."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What is in the Swarm, for one control plane."""

    client: docker.APIClient
    url: str
    plane: str

    @classmethod
    def at(cls, url: str, plane: str) -> "Engine":
        """An engine that is looked for only when it is asked something."""
        return cls(docker.APIClient(base_url=url, version=API_VERSION, timeout=CALL_S), url, plane)

    def service(self, server_id: ServerId) -> Api | None:
        """`{ID, Version, Spec, …}` of this server's service; None where there is none."""
        found = self._listed(self.client.services, self._of(server_id))
        return found[0] if found else None

    def services(self) -> Sequence[Api]:
        return self._listed(self.client.services, self._ours())

    def tasks(self, service_id: str) -> list[Task]:
        return [Task.of(told) for told in self._listed(self.client.tasks, {"service": service_id})]

    def secrets(self, server_id: ServerId | None = None) -> Sequence[Api]:
        return self._listed(self.client.secrets, self._of(server_id) if server_id else self._ours())

    def volumes(self, server_id: ServerId | None = None) -> Sequence[Api]:
        """Volumes of this engine's own node."""
        filters = self._of(server_id) if server_id else self._ours()
        with self.speaking():
            return list(self.client.volumes(filters=filters).get("Volumes") or [])

    def node(self, node_id: str) -> Api | None:
        """None: it was removed from the Swarm."""
        with self.speaking():
            try:
                told: Api = self.client.inspect_node(node_id)
            except docker.errors.NotFound:
                return None
            return told

    def nodes(self) -> Sequence[Api]:
        return self._listed(self.client.nodes, {})

    def own_node_id(self) -> str:
        """The id of the node this engine is."""
        with self.speaking():
            node_id = str(self.client.info().get("Swarm", {}).get("NodeID") or "")
        if not node_id:
            raise EngineAway(f"The Docker engine at {self.url} is not part of a Swarm.")
        return node_id

    def network_id(self, name: str) -> str:
        with self.speaking():
            found = [network for network in self.client.networks(names=[name]) if network["Name"] == name]
        if not found:
            raise ProvisioningFailed(f"there is no network {name} in the Swarm; make it, or change SWARM_NETWORK")
        return str(found[0]["Id"])

    def log(self, task_id: str) -> list[str]:
        """What this task said last, oldest first; empty where its node does not tell it in time.

        Of one task, never of its whole service: there, a node that is cut off lets everybody wait, and the SDK's own way of
        reading it knows no time-out.
        """
        asked = {"stdout": 1, "stderr": 1, "tail": LOG_LINES}
        try:
            with self.speaking():
                told = self.client.get(
                    f"{self.client.base_url}/v{API_VERSION}/tasks/{task_id}/logs", params=asked, timeout=LOG_S
                )
                told.raise_for_status()
        except ProvisioningFailed:
            return []  # it was to explain a failure that is told without it
        return b"".join(_frames(told.content)).decode(errors="replace").splitlines()

    def digest(self, reference: str) -> str | None:
        """`sha256:…` of this image in its registry; None where the registry has nothing of this name.

        ProvisioningFailed where it does not tell: there may be no registry at all.
        """
        with self.speaking():
            try:
                told: Api = self.client.inspect_distribution(reference)  # type: ignore[no-untyped-call]
            except docker.errors.NotFound:
                return None
            return str(told["Descriptor"]["digest"])

    def local_image(self, reference: str) -> Api | None:
        """The image as this engine has it; None where it has not."""
        with self.speaking():
            try:
                told: Api = self.client.inspect_image(reference)  # type: ignore[no-untyped-call]
            except docker.errors.ImageNotFound:
                return None
            return told

    def pull(self, reference: str) -> None:
        """Fetch it, however long that takes while something comes. ProvisioningFailed says why it does not come.

        Not by the SDK's own way, which waits without end and takes what fails on the way for done.
        """
        registry, _ = docker.auth.resolve_repository_name(reference)
        login = docker.auth.get_config_header(self.client, registry)
        with self.speaking():
            told = self.client.post(
                f"{self.client.base_url}/v{API_VERSION}/images/create",
                params={"fromImage": reference},
                headers={"X-Registry-Auth": login} if login else None,
                stream=True,
                timeout=(CALL_S, SILENCE_S),
            )
            if told.status_code == requests.codes.not_found:
                raise ProvisioningFailed(f"its registry has no image {reference}")
            told.raise_for_status()
            for line in told.iter_lines():
                if error := json.loads(line).get("error"):
                    raise ProvisioningFailed(f"it cannot be fetched: {error}")

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """What the SDK or the network raise, as one sentence."""
        try:
            yield
        except docker.errors.APIError as e:
            raise self._told(e) from e
        except (docker.errors.DockerException, requests.RequestException, OSError) as e:
            raise EngineAway(f"The Docker engine at {self.url} does not answer.") from e

    def _told(self, e: docker.errors.APIError) -> ProvisioningFailed:
        said = str(e.explanation or e).strip().rstrip(".")
        if "not a swarm manager" in said:
            return EngineAway(f"The Docker engine at {self.url} is no manager of a Swarm.")
        if "out of sequence" in said:
            return Outdated("its service was changed by somebody else in the same moment")
        if e.status_code == CONFLICT:
            return InUse(said)
        return ProvisioningFailed(f"Docker refuses: {said}")

    def _listed(self, ask: Callable[..., Any], filters: dict[str, Any]) -> list[Api]:
        with self.speaking():
            return list(ask(filters=filters) or [])

    def _ours(self) -> dict[str, Any]:
        return {"label": [f"{PLANE}={self.plane}"]}

    def _of(self, server_id: ServerId) -> dict[str, Any]:
        return {"label": [f"{PLANE}={self.plane}", f"{SERVER}={server_id}"]}


@dataclass(frozen=True, slots=True)
class Hands:
    """Every outside effect on a server in the Swarm. Crash tests stop around each."""

    engine: Engine

    def make_place(self, place: StoragePlace) -> None:
        place.make()

    def create_secret(self, name: str, content: bytes, labels: dict[str, str]) -> str:
        """The id of the new secret. InUse where there is one of this name."""
        with self.engine.speaking():
            return str(self.engine.client.create_secret(name, content, labels)["ID"])

    def create_service(self, service: Api) -> None:
        """InUse where there is one of this name."""
        with self.engine.speaking():
            self.engine.client.create_service(**_arguments(service))  # type: ignore[no-untyped-call]

    def update_service(self, seen: Api, service: Api) -> None:
        """Change the service that was `seen`; Outdated where it is no longer as it was then."""
        with self.engine.speaking():
            self.engine.client.update_service(seen["ID"], seen["Version"]["Index"], **_arguments(service))

    def remove_service(self, service_id: str) -> None:
        self._gone(self.engine.client.remove_service, service_id)

    def remove_secret(self, secret_id: str) -> None:
        self._gone(self.engine.client.remove_secret, secret_id)

    def remove_volume(self, name: str) -> None:
        self._gone(self.engine.client.remove_volume, name)

    def clear_place(self, place: StoragePlace) -> None:
        place.clear_away()

    def _gone(self, remove: Callable[[str], object], what: str) -> None:
        """Removed, also where somebody was here before: that was the wish."""
        with self.engine.speaking(), suppress(docker.errors.NotFound):
            remove(what)


def _arguments(service: Api) -> dict[str, Any]:
    """A service in the API's words as the SDK wants it handed over. Parts it has types for may be plain objects too."""
    return {
        "task_template": service["TaskTemplate"],
        "name": service["Name"],
        "labels": service["Labels"],
        "mode": service["Mode"],
        "update_config": service["UpdateConfig"],
        "rollback_config": service["RollbackConfig"],
        "endpoint_spec": service["EndpointSpec"],
    }


def _frames(stream: bytes) -> Iterator[bytes]:
    """What is in Docker's frames, whichever stream it was written to."""
    while len(stream) > FRAME_HEAD:
        end = FRAME_HEAD + int.from_bytes(stream[4:FRAME_HEAD], "big")
        yield stream[FRAME_HEAD:end]
        stream = stream[end:]
