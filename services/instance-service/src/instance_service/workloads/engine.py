"""The Docker engine of a manager node: the only place that imports its SDK. Every call blocks, at most CALL_S seconds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import docker
import requests

from instance_service.domain.errors import WorkloadFailed

API_VERSION = "1.41"
"""Docker 20.10's: the oldest engine that takes capabilities of services."""
CALL_S = 10
CONFLICT = 409

Api = Mapping[str, Any]
"""A JSON object of the Engine API."""


class InUse(WorkloadFailed):
    """There is something of that name already, or something still uses what is to be removed."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What is in the Swarm. Labels are `{name: value}`; an object is found where it carries all of them."""

    client: docker.APIClient
    url: str

    @classmethod
    def at(cls, url: str) -> "Engine":
        """An engine that is looked for only when it is asked something."""
        return cls(docker.APIClient(base_url=url, version=API_VERSION, timeout=CALL_S), url)

    # -- look ---------------------------------------------------------------------------------------------------------

    def services(self, labels: Mapping[str, str]) -> Sequence[Api]:
        return self._listed(self.client.services, _filter(labels))

    def tasks(self, service_id: str) -> Sequence[Api]:
        return self._listed(self.client.tasks, {"service": service_id})

    def secrets(self, labels: Mapping[str, str]) -> Sequence[Api]:
        return self._listed(self.client.secrets, _filter(labels))

    def nodes(self) -> Sequence[Api]:
        return self._listed(self.client.nodes, {})

    def network_id(self, name: str) -> str:
        with self._speaking():
            found = [network for network in self.client.networks(names=[name]) if network["Name"] == name]
        if not found:
            raise WorkloadFailed(f"There is no network {name} in the Swarm.")
        return str(found[0]["Id"])

    # -- change -------------------------------------------------------------------------------------------------------

    def create_secret(self, name: str, content: str, labels: Mapping[str, str]) -> str:
        """The id of the new secret. InUse where there is one of this name."""
        with self._speaking():
            return str(self.client.create_secret(name, content.encode(), dict(labels))["ID"])

    def create_service(self, service: Api) -> None:
        """InUse where there is one of this name."""
        with self._speaking():
            self.client.create_service(**_arguments(service))  # type: ignore[no-untyped-call]

    def update_service(self, seen: Api, service: Api) -> None:
        """Change the service that was `seen`; refused where it is no longer as it was then."""
        with self._speaking():
            self.client.update_service(seen["ID"], seen["Version"]["Index"], **_arguments(service))

    def remove_service(self, service_id: str) -> None:
        self._gone(self.client.remove_service, service_id)

    def remove_secret(self, secret_id: str) -> None:
        self._gone(self.client.remove_secret, secret_id)

    def _gone(self, remove: Callable[[str], object], what: str) -> None:
        """Removed, also where somebody was here before: that was the wish."""
        with self._speaking(), suppress(docker.errors.NotFound):
            remove(what)

    def _listed(self, ask: Callable[..., Any], filters: Mapping[str, Any]) -> Sequence[Api]:
        with self._speaking():
            return list(ask(filters=filters) or [])

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """What the SDK or the network raise, as one sentence."""
        try:
            yield
        except docker.errors.APIError as e:
            raise self._told(e) from e
        except (docker.errors.DockerException, requests.RequestException, OSError) as e:
            raise WorkloadFailed(f"The Docker engine at {self.url} does not answer.") from e

    def _told(self, e: docker.errors.APIError) -> WorkloadFailed:
        said = str(e.explanation or e).strip().rstrip(".")
        if "not a swarm manager" in said:
            return WorkloadFailed(f"The Docker engine at {self.url} is no manager of a Swarm.")
        if "out of sequence" in said:
            return WorkloadFailed("Its service was changed by somebody else in the same moment.")
        if e.status_code == CONFLICT or "in use" in said:
            return InUse(f"{said}.")
        return WorkloadFailed(f"Docker refuses: {said}.")


def _filter(labels: Mapping[str, str]) -> dict[str, list[str]]:
    return {"label": [f"{name}={value}" for name, value in labels.items()]}


def _arguments(service: Api) -> dict[str, Any]:
    """A service in the API's words as the SDK wants it handed over. Parts it has types for may be plain objects too."""
    return {
        "task_template": service["TaskTemplate"],
        "name": service["Name"],
        "labels": service["Labels"],
        "mode": service["Mode"],
        "update_config": service["UpdateConfig"],
        "endpoint_spec": service["EndpointSpec"],
    }
