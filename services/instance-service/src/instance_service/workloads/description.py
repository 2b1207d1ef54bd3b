"""A workload as a Swarm service: pure descriptions in the Engine API's own words (version 1.41)."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from instance_service.domain.ids import InstanceId
from instance_service.domain.workloads import Login, WorkloadSpec
from instance_service.workloads import handing
from instance_service.workloads.engine import Api

PLANE, INSTANCE, NAME, VERSION, LOGIN = (
    f"instances.{what}" for what in ("plane", "instance", "name", "version", "login")
)
"""Labels: whose thing it is, which instance's, its name, `WorkloadSpec.version` of a service, `Login.version` of a secret."""

UID = 10003
"""Whom every workload runs as: what an instance runs is not ours to trust, so its image is not asked."""
SECRETS = PurePosixPath("/run/secrets")
STOP_GRACE_S = 20
RESTART_DELAY_S = 2
HEALTH_EVERY_S = 2
HEALTH_START_S = 60
MONITOR_S = 5
SCRATCH_BYTES = 64 * 1024**2
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Options:
    """How workloads stand in this Swarm: everything of them that no row says."""

    plane: str
    """Only what carries it as a label is ours."""
    network: str
    """An overlay network that workloads share with the servers of their databases."""
    image: str
    """What is run where an instance asks for none."""
    constraints: tuple[str, ...] = ()


def labels_of(options: Options, instance_id: InstanceId) -> dict[str, str]:
    return {PLANE: options.plane, INSTANCE: str(instance_id)}


def service_name(instance_id: InstanceId) -> str:
    """Also its name on the network."""
    return f"instance-{instance_id}"


def secrets_of(instance_id: InstanceId, login: Login) -> Mapping[str, tuple[str, str]]:
    """The file's name → the secret's, which says which login it is, and its content."""
    return {
        file: (f"{service_name(instance_id)}-{login.version[:8]}-{file.rpartition('-')[2]}", content)
        for file, content in handing.files(login, SECRETS).items()
    }


def service_of(spec: WorkloadSpec, options: Options, network_id: str, secrets: Sequence[Api]) -> dict[str, Any]:
    """The whole service: a new one is well before the old one is stopped, and what ends is started again for ever."""
    return {
        "Name": service_name(spec.id),
        "Labels": labels_of(options, spec.id) | {NAME: spec.name, VERSION: spec.version},
        "Mode": {"Replicated": {"Replicas": 1}},
        "TaskTemplate": {
            "ContainerSpec": _container(spec, options, secrets),
            "Resources": _resources(spec),
            "RestartPolicy": {"Condition": "any", "Delay": RESTART_DELAY_S * NS, "MaxAttempts": 0},
            "Placement": {"Constraints": list(options.constraints)},
            "Networks": [{"Target": network_id}],
        },
        # A new one that does not come up leaves the old one running, until somebody says what is to run instead.
        "UpdateConfig": {"Parallelism": 1, "Order": "start-first", "FailureAction": "pause", "Monitor": MONITOR_S * NS},
        # A virtual address drops connections that were idle for 15 minutes.
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def stopped(service: Api) -> dict[str, Any]:
    """The same service without a task."""
    return {**service, "Mode": {"Replicated": {"Replicas": 0}}}


def is_stopped(service: Api) -> bool:
    return not service["Mode"]["Replicated"]["Replicas"]


def secret_reference(file: str, name: str, secret_id: str) -> dict[str, Any]:
    return {
        "SecretID": secret_id,
        "SecretName": name,
        "File": {"Name": file, "UID": str(UID), "GID": str(UID), "Mode": 0o400},
    }


def _container(spec: WorkloadSpec, options: Options, secrets: Sequence[Api]) -> dict[str, Any]:
    told = handing.environment(spec, SECRETS, "0.0.0.0", spec.http_port)  # noqa: S104  of its container
    return {
        "Image": spec.image or options.image,
        **({"Command": list(spec.command)} if spec.command else {}),
        "Env": [f"{name}={_as_it_stands(value)}" for name, value in told.items()],
        "Labels": labels_of(options, spec.id) | {VERSION: spec.version},
        "User": f"{UID}:{UID}",
        "Init": True,
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "Mounts": [{"Type": "tmpfs", "Target": "/tmp", "TmpfsOptions": {"SizeBytes": SCRATCH_BYTES}}],  # noqa: S108  its own
        "Secrets": list(secrets),
        "StopGracePeriod": STOP_GRACE_S * NS,
        "Healthcheck": {
            "Test": ["CMD-SHELL", _asks(spec)],
            "Interval": HEALTH_EVERY_S * NS,
            "Timeout": 5 * NS,
            "StartPeriod": HEALTH_START_S * NS,
            "Retries": 3,
        },
    }


def _as_it_stands(value: str) -> str:
    """Swarm reads an environment as Go templates."""
    return value.replace("{{", '{{"{{"}}')


def _asks(spec: WorkloadSpec) -> str:
    """Asks the health path with what the image has for that."""
    url = shlex.quote(f"http://127.0.0.1:{spec.http_port}{spec.health_path}")
    python = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=4)"
    return (
        f"if command -v curl >/dev/null; then curl -fsS -o /dev/null -m 4 {url}; "
        f"elif command -v wget >/dev/null; then wget -q -T 4 -O /dev/null {url}; "
        f'else python3 -c "{python}" {url}; fi'
    )


def _resources(spec: WorkloadSpec) -> dict[str, Any]:
    return {
        "Limits": {"NanoCPUs": int(spec.cpu_limit * NS), "MemoryBytes": spec.memory_limit},
        "Reservations": {"MemoryBytes": spec.memory_limit // 4},
    }
