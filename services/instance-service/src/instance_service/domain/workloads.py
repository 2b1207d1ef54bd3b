"""Workloads: what an instance runs, with which login to its database, and what was seen of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256

from instance_service.domain.ids import InstanceId
from instance_service.domain.secret import Secret


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Login:
    """A login to an instance's database. A rotation gives another user, a move another address; the name stays."""

    address: Address
    database: str
    user: str
    password: Secret
    roots: str | None = None
    """Who vouches for the server, as PEM: nobody else is given the password. None: it speaks no TLS."""

    @property
    def version(self) -> str:
        """Names it without telling its password: equal where it is the same user of the same database at the same address,
        with the same ones to vouch for the server."""
        trusted = (self.roots,) if self.roots else ()
        return _digest(self.address.host, str(self.address.port), self.database, self.user, *trusted)


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """All that is needed to run an instance; equal specs run the same, however often."""

    id: InstanceId
    name: str
    """The caller's name for it, for labels and for people; other customers' instances may have the same."""
    login: Login
    image: str | None = None
    """None: the example application, or whatever the runner of workloads is set to run."""
    command: tuple[str, ...] = ()
    """Empty: the image's own, or the runner's."""
    env: Mapping[str, str] = field(default_factory=dict)
    """The caller's, never a secret of ours; it may not carry `DATABASE_…`."""
    http_port: int = 8000
    """Where it is to listen, told to it as PORT. A runner whose workloads share one machine's ports chooses and tells another."""
    health_path: str = "/healthz"
    """What answers 200 there when it is well."""
    cpu_limit: float = 1
    memory_limit: int = 256 * 1024**2
    """Bytes."""

    @property
    def version(self) -> str:
        """Names all that a running one would have to be changed for. No secret can be read from it."""
        env = [f"{name}={value}" for name, value in sorted(self.env.items())]
        limits = (str(self.cpu_limit), str(self.memory_limit), str(self.http_port), self.health_path)
        return _digest(self.login.version, self.image or "", *limits, "command", *self.command, "env", *env)


class Presence(StrEnum):
    """What was found. UNKNOWN (it could not be looked at) is never taken for ABSENT.

    STARTING: it was told to run and does not yet, or is being replaced; whoever keeps it running tries by himself.
    """

    ABSENT = "absent"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Seen:
    """A workload as it was found."""

    presence: Presence
    healthy: bool = False
    """Its health path answered 200 at this look, or its runner's own health check says so."""
    address: Address | None = None
    """Where it can be reached by HTTP, where it can be."""
    version: str | None = None
    """`WorkloadSpec.version` of all of it that runs; None while one that is being replaced still serves."""
    detail: str = ""
    """What is not well, in words that an operator can act on. Never a secret."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that carries our label, whether a row knows it or not."""

    id: InstanceId
    name: str
    presence: Presence
    traces: tuple[str, ...] = ()
    """What there is of it, in words: `service instance-x`, `directory /srv/…`. All of it goes when it is removed."""


def _digest(*parts: str) -> str:
    """Sixteen hexadecimal digits; the lengths keep what ends one part from beginning the next."""
    return sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()[:16]
