"""A server as a Swarm service: pure descriptions in the Engine API's own words (version 1.41), and what differs in two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from database_service.domain.ids import ServerId
from database_service.domain.servers import ServerSpec
from database_service.provisioners.swarm.options import Options

PLANE, SERVER, MADE = "database-service.plane", "database-service.server", "database-service.made"
"""Labels: whose thing it is, which server's, and, on services, whether it ever had data."""

PORT = 5432
MOUNTED_AT = "/var/lib/postgresql"
PGDATA = f"{MOUNTED_AT}/pgdata"
SECRET_FILE = "admin"  # noqa: S105  the name of a file
IDENTITY_FILE = "identity"
MODES = {SECRET_FILE: 0o444, IDENTITY_FILE: 0o400}
"""The administrator's is a verifier, which `initdb` reads as another account; a key is root's, who hands it to PostgreSQL."""
ERASE = "erase"
NODE = "node.id=="
STOP_GRACE_S = 120
RESTART_DELAY_S = 1
NS = 1_000_000_000
MIB = 1024 * 1024
LEAST_SHARED_MEMORY = 64 * MIB
CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID")
"""What the entrypoint needs to give data to the account of PostgreSQL and to become it; the server itself has none."""

ROW = "database-service.row"
"""A label of services: what the server was as a row, for who has lost the rows. Its password is sealed."""

Api = Mapping[str, Any]
"""A JSON object of the Engine API."""


@dataclass(frozen=True, slots=True)
class Stand:
    """What of a service its spec does not say: where it may run, what it is connected to, by what it is reached."""

    network_id: str | None
    secret_ids: Mapping[str, str]
    """By name, those of `secrets_of`."""
    storage: Path | str
    """A path on every node, or the name of a volume."""
    node_id: str | None
    """The only node that has its volume."""
    published_port: int | None


def labels_of(options: Options, server_id: ServerId) -> dict[str, str]:
    return {PLANE: options.plane, SERVER: str(server_id)}


def secrets_of(spec: ServerSpec) -> dict[str, str]:
    """The file that each secret is to the server, by the secret's name: new content needs a new name."""
    files = {f"{spec.name}-admin-v{spec.password_version}": SECRET_FILE}
    return files | ({f"{spec.name}-identity-{spec.key_id}": IDENTITY_FILE} if spec.identity else {})


def volume_name(spec: ServerSpec) -> str:
    return f"{spec.name}-data"


def service_of(spec: ServerSpec, options: Options, stand: Stand) -> dict[str, Any]:
    """The whole service: one replica that is stopped before its successor starts, and restarted for ever."""
    return {
        "Name": spec.name,
        "Labels": labels_of(options, spec.id) | {MADE: _truth(spec.made_before)},
        "Mode": {"Replicated": {"Replicas": 1}},
        "TaskTemplate": {
            "ContainerSpec": _container(spec, options, stand),
            "Resources": _resources(spec),
            "RestartPolicy": {"Condition": "any", "Delay": RESTART_DELAY_S * NS, "MaxAttempts": 0},
            "Placement": {"Constraints": _constraints(options, stand)},
            "Networks": [{"Target": stand.network_id}] if stand.network_id else [],
        },
        "UpdateConfig": _one_after_the_other(),
        "RollbackConfig": _one_after_the_other(),
        # A virtual address drops connections that were idle for 15 minutes.
        "EndpointSpec": {"Mode": "dnsrr", "Ports": _ports(stand)},
    }


def stopped(service: Api) -> dict[str, Any]:
    """The same service without a task: its data stays where it is."""
    return {**service, "Mode": {"Replicated": {"Replicas": 0}}}


def erasing(service: Api) -> dict[str, Any]:
    """The same service with one task that deletes the data, under the lock that its server held."""
    template = service["TaskTemplate"]
    container = {**template["ContainerSpec"], "Args": [ERASE], "Healthcheck": {"Test": ["NONE"]}}
    once = {**template, "ContainerSpec": container, "RestartPolicy": {"Condition": "none"}}
    return {**service, "Mode": {"Replicated": {"Replicas": 1}}, "TaskTemplate": once}


def eraser_of(server_id: ServerId, options: Options, directory: Path, image: str) -> dict[str, Any]:
    """A service that only erases, for data that lost its own."""
    told = {"PGDATA": PGDATA, "DBS_SERVER_ID": str(server_id), "DBS_STORAGE": "shared"}
    return {
        "Name": f"erase-{server_id}",
        "Labels": labels_of(options, server_id) | {MADE: _truth(True)},
        "Mode": {"Replicated": {"Replicas": 1}},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Args": [ERASE],
                "Env": [f"{name}={value}" for name, value in told.items()],
                "Mounts": [{"Type": "bind", "Source": str(directory), "Target": MOUNTED_AT}],
                "ReadOnly": True,
                "CapabilityDrop": ["ALL"],
                "CapabilityAdd": [f"CAP_{name}" for name in CAPABILITIES],
                "Healthcheck": {"Test": ["NONE"]},
            },
            "RestartPolicy": {"Condition": "none"},
            "Placement": {"Constraints": list(options.constraints)},
        },
        "UpdateConfig": _one_after_the_other(),
        "RollbackConfig": _one_after_the_other(),
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def had_data(service: Api) -> bool:
    """What its label remembers."""
    return bool(service["Labels"].get(MADE) == _truth(True))


def remembered_of(service: Api) -> str | None:
    """What its label tells of its row."""
    told: str | None = service["Labels"].get(ROW)
    return told


def remembering(service: Api, text: str | None) -> dict[str, Any]:
    """The same service that remembers this; a label restarts nothing."""
    return {**service, "Labels": {**service["Labels"], ROW: text}} if text is not None else {**service}


def node_of(service: Api) -> str | None:
    """The only node it may run on; None where it may run on several."""
    names = [text.partition("==")[2] for text in constraints_of(service) if text.startswith(NODE)]
    return names[0] if names else None


def is_erasing(service: Api) -> bool:
    return arguments_of(service["TaskTemplate"]) == [ERASE]


def arguments_of(template: Api) -> list[str]:
    return list(template["ContainerSpec"].get("Args") or [])


def replicas_of(service: Api) -> int:
    return int(service["Mode"]["Replicated"]["Replicas"])


def published_port_of(service: Api) -> int | None:
    ports = service.get("EndpointSpec", {}).get("Ports") or []
    return int(ports[0]["PublishedPort"]) if ports else None


def constraints_of(service: Api) -> list[str]:
    return list(service["TaskTemplate"].get("Placement", {}).get("Constraints") or [])


def image_of(service: Api) -> str:
    return str(service["TaskTemplate"]["ContainerSpec"]["Image"])


def memory_of(service: Api) -> int:
    return int(service["TaskTemplate"].get("Resources", {}).get("Limits", {}).get("MemoryBytes", 0))


# -- parts ------------------------------------------------------------------------------------------------------------


def _container(spec: ServerSpec, options: Options, stand: Stand) -> dict[str, Any]:
    return {
        "Image": spec.image,
        "Args": ["postgres", *_settings(spec)],
        "Env": _environment(spec, options),
        # Once it had data, no start makes new data: told by a label, as that changes without a restart.
        "Labels": labels_of(options, spec.id),
        "Mounts": [_data_mount(spec, options, stand), *_scratch_mounts(spec)],
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "CapabilityAdd": [f"CAP_{name}" for name in CAPABILITIES],
        "StopSignal": "SIGINT",
        "StopGracePeriod": STOP_GRACE_S * NS,
        "Healthcheck": {
            "Test": ["CMD", "dbs-healthy"],
            "Interval": NS // 5,
            "Timeout": 20 * NS,
            "StartPeriod": 3600 * NS,  # a long recovery is work, not illness
            "Retries": 3,
        },
        "Secrets": [
            {
                "SecretID": stand.secret_ids.get(name, ""),
                "SecretName": name,
                "File": {"Name": file, "UID": "0", "GID": "0", "Mode": MODES[file]},
            }
            for name, file in secrets_of(spec).items()
        ],
    }


def _settings(spec: ServerSpec) -> list[str]:
    ours = {"listen_addresses": "*", "cluster_name": spec.name}
    return [word for name, value in sorted({**spec.settings, **ours}.items()) for word in ("-c", f"{name}={value}")]


def _environment(spec: ServerSpec, options: Options) -> list[str]:
    """No secret: the password is a file, and in it a verifier; so is the key."""
    told = {
        "PGDATA": PGDATA,
        "POSTGRES_USER": spec.admin_user,
        "POSTGRES_PASSWORD_FILE": f"/run/secrets/{SECRET_FILE}",
        "DBS_SERVER_ID": str(spec.id),
        "DBS_STORAGE": "shared" if options.shared_storage else "volume",
        "DBS_MADE": f'{{{{index .Service.Labels "{MADE}"}}}}',
    } | ({"DBS_IDENTITY": f"/run/secrets/{IDENTITY_FILE}"} if spec.identity else {})
    return [f"{name}={value}" for name, value in told.items()]


def _data_mount(spec: ServerSpec, options: Options, stand: Stand) -> dict[str, Any]:
    if options.shared_storage:
        return {"Type": "bind", "Source": str(stand.storage), "Target": MOUNTED_AT}
    return {
        "Type": "volume",
        "Source": str(stand.storage),
        "Target": MOUNTED_AT,
        "VolumeOptions": {"Labels": labels_of(options, spec.id)},
    }


def _scratch_mounts(spec: ServerSpec) -> list[dict[str, Any]]:
    """Docker's 64 MB of shared memory break parallel queries; what is used of these counts as the container's memory."""
    sizes = {
        "/dev/shm": max(LEAST_SHARED_MEMORY, spec.memory_limit // 4),  # noqa: S108  the container's own
        "/tmp": 16 * MIB,  # noqa: S108
        "/var/run/postgresql": 16 * MIB,
    }
    return [{"Type": "tmpfs", "Target": target, "TmpfsOptions": {"SizeBytes": size}} for target, size in sizes.items()]


def _resources(spec: ServerSpec) -> dict[str, Any]:
    """Memory is reserved, as PostgreSQL takes it for good; CPUs are shared by those who are idle."""
    return {
        "Limits": {"NanoCPUs": round(spec.cpu_limit * NS), "MemoryBytes": spec.memory_limit},
        "Reservations": {"MemoryBytes": spec.memory_limit},
    }


def _constraints(options: Options, stand: Stand) -> list[str]:
    return [*options.constraints, *([f"{NODE}{stand.node_id}"] if stand.node_id else [])]


def _one_after_the_other() -> dict[str, Any]:
    return {"Parallelism": 1, "Order": "stop-first", "FailureAction": "pause"}


def _ports(stand: Stand) -> list[dict[str, Any]]:
    if stand.published_port is None:
        return []
    return [
        {"Protocol": "tcp", "TargetPort": PORT, "PublishedPort": stand.published_port, "PublishMode": "host"},
    ]


def _truth(value: bool) -> str:
    return "true" if value else "false"


# -- differences ------------------------------------------------------------------------------------------------------


def differences(has: Api, wanted: Api) -> list[str]:
    """What a running service would be restarted for. The password's version is not among it: a server reads its secret only
    when its data is made, so a new one waits for the next restart. Nor is its certificate, which is renewed while it runs."""
    before, after = _facts(has), _facts(wanted)
    after["image"] = _same_image(before["image"], after["image"])
    return [
        f"{name} is {before.get(name, 'not set')} and should be {after.get(name, 'not set')}"
        for name in [*after, *(name for name in before if name not in after)]
        if before.get(name) != after.get(name)
    ]


def with_image_of(wanted: Api, has: Api) -> dict[str, Any]:
    """`wanted`, with the very image that `has` runs where both mean the same one: a tag that moved since is no change."""
    return with_image(wanted, _same_image(image_of(has), image_of(wanted)))


def with_image(wanted: Api, image: str) -> dict[str, Any]:
    template = wanted["TaskTemplate"]
    return {**wanted, "TaskTemplate": {**template, "ContainerSpec": {**template["ContainerSpec"], "Image": image}}}


def _same_image(running: str, wanted: str) -> str:
    return running if "@" not in wanted and running.partition("@")[0] == wanted else wanted


def _facts(service: Api) -> dict[str, str]:
    """What matters of a service, by name, in words."""
    template = service["TaskTemplate"]
    container = template["ContainerSpec"]
    resources = template.get("Resources", {})
    limits, reserved = resources.get("Limits", {}), resources.get("Reservations", {})
    return {
        "image": container["Image"],
        **_settings_in(arguments_of(template)),
        "memory limit": f"{int(limits.get('MemoryBytes', 0)) // MIB} MiB",
        "memory reservation": f"{int(reserved.get('MemoryBytes', 0)) // MIB} MiB",
        "CPU limit": f"{int(limits.get('NanoCPUs', 0)) / NS:g}",
        "replicas": str(replicas_of(service)),
        "placement": _listed(constraints_of(service)),
        "networks": _listed(sorted(network["Target"] for network in template.get("Networks") or [])),
        "published port": str(published_port_of(service) or "none"),
        "storage": _listed(sorted(_mount_in_words(mount) for mount in container.get("Mounts") or [])),
        "environment": _listed(sorted(container.get("Env") or [])),
        "root file system": "read only" if container.get("ReadOnly") else "writable",
        "endpoint": str(service.get("EndpointSpec", {}).get("Mode")),
        "update order": str(service.get("UpdateConfig", {}).get("Order")),
    }


def _settings_in(arguments: Sequence[str]) -> dict[str, str]:
    """`postgres -c name=value …` by name; any other command as such."""
    if arguments[:1] != ["postgres"]:
        return {"command": _listed(arguments)}
    return dict(word.split("=", 1) for word in arguments[1:] if "=" in word)


def _mount_in_words(mount: Api) -> str:
    return f"{mount.get('Source', mount['Type'])} at {mount['Target']}"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words) or "none"
