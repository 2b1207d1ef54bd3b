"""What a service's tasks tell: whether the server runs, where, and, in words an operator can act on, why not."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from database_service.provisioners.swarm import description
from database_service.provisioners.swarm.description import Api

RUNNING = "running"
STARTING = frozenset({"starting", RUNNING})
"""The container's process runs; in `starting` its health check has not passed yet."""
OVER = frozenset({"complete", "shutdown", "failed", "rejected", "orphaned", "remove"})
ILL = frozenset({"failed", "rejected"})
OUT_OF_MEMORY = 137
MIB = 1024 * 1024
OURS = "dbs: "
"""How the entrypoint begins what it says."""
COMPLAINT = re.compile(r"(?:FATAL|PANIC|error):|LOG:(?=\s+(?:could not|invalid|unrecognized))")
FULL = re.compile(r"No space left on device|wrote only \d+ of \d+ bytes|Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a service. `desired` is what Swarm wants of it, `state` what its node last told."""

    id: str
    created: str
    state: str
    desired: str
    node_id: str | None
    message: str
    exit_code: int | None
    args: tuple[str, ...]
    image: str

    @classmethod
    def of(cls, told: Api) -> "Task":
        status: dict[str, Any] = told.get("Status", {})
        container = status.get("ContainerStatus") or {}
        return cls(
            id=told["ID"],
            created=told["CreatedAt"],
            state=status.get("State", "new"),
            desired=told.get("DesiredState", ""),
            node_id=told.get("NodeID") or None,
            message=status.get("Err") or "",
            exit_code=container.get("ExitCode") or None,
            args=tuple(description.arguments_of(told["Spec"])),
            image=told["Spec"]["ContainerSpec"]["Image"],
        )

    @property
    def wanted(self) -> bool:
        return self.desired in (RUNNING, "ready", "accepted")

    @property
    def over(self) -> bool:
        return self.state in OVER


def current(tasks: Iterable[Task]) -> Task | None:
    """The task that Swarm wants to run: one that does, before the newest that is to."""
    alive = (task for task in tasks if task.wanted and not task.over)
    return max(alive, key=lambda task: (task.state == RUNNING, task.created), default=None)


def last_ill(tasks: Iterable[Task]) -> Task | None:
    """The newest task that failed or was refused by its node."""
    return max((task for task in tasks if task.state in ILL), key=lambda task: task.created, default=None)


def why_not_placed(task: Task, service: Api) -> str:
    """Why a task waits for a node, from the scheduler's own reasons; empty where it has none."""
    reasons = re.findall(r"\(([^)]*)\)", task.message)
    told = [_reason(part.strip(), service) for reason in reasons for part in reason.split(";")]
    if told:
        return f"no suitable node: {'; '.join(told)}"
    return task.message


def _reason(told: str, service: Api) -> str:
    nodes = match[1] if (match := re.search(r"on (\d+ nodes?)", told)) else "some nodes"
    if "constraints" in told:
        return f"{nodes} without constraint {' and '.join(description.constraints_of(service))}"
    if "resources" in told:
        return f"{nodes} with less than {description.memory_of(service) // MIB} MiB of memory unreserved"
    if "host-mode port" in told:
        return f"{nodes} with port {description.published_port_of(service)} already taken"
    if "not available" in told:
        return f"{nodes} not available"
    return told


def why_it_failed(task: Task, service: Api, node: str, log: Sequence[str]) -> str:
    """Why a task's container did not come up or ended; `log` is what the server said last, oldest first."""
    message = task.message
    if "No such image" in message:
        return f"image {task.image} is not found, neither on node {node} nor in its registry"
    if "bind source path does not exist" in message:
        path = message.rpartition("bind source path does not exist:")[2].strip()
        return f"the storage {path} is not there on node {node}: is it mounted?"
    if "address already in use" in message:
        return f"port {description.published_port_of(service)} of node {node} is taken by something else"
    if "unhealthy container" in message:
        return _with_words(f"unhealthy: it runs on node {node} and does not answer", log)
    if "read-only file system" in message.lower():
        return f"the storage on node {node} is read only: {message}"
    if full := [line for line in log if FULL.search(line)]:
        return f"the storage on node {node} is full: {_plain(full[-1])}"
    if task.exit_code is not None:
        return _with_words(_why_it_ended(task.exit_code, service, node), log)
    return f"on node {node}: {message or task.state}"


def _why_it_ended(exit_code: int, service: Api, node: str) -> str:
    if exit_code == OUT_OF_MEMORY:
        limit = description.memory_of(service) // MIB
        return f"it was killed on node {node}, most likely because it needed more than its {limit} MiB of memory"
    return f"it ended on node {node} with code {exit_code}"


def _with_words(what: str, log: Sequence[str]) -> str:
    """The entrypoint's own sentence says it all; PostgreSQL's last complaint says why."""
    ours = [line.removeprefix(OURS) for line in log if line.startswith(OURS)]
    complaints = [_plain(line) for line in log if COMPLAINT.search(line)]
    if ours:
        return f"{ours[-1]} (it {what.removeprefix('it ')})"
    return f"{what}: {'; '.join(complaints[-2:])}" if complaints else what


def _plain(line: str) -> str:
    """A line of PostgreSQL's log without its time and level."""
    return re.sub(r"^.*?(?:FATAL|PANIC|ERROR|LOG|error):\s+", "", line)
