"""What a service's tasks tell: which of it runs, and, in words an operator can act on, why something does not."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from instance_service.workloads.description import VERSION
from instance_service.workloads.engine import Api

RUNNING = "running"
STARTING = "starting"
"""The container's process runs, and its health check has not passed yet."""
OVER = frozenset({"complete", "shutdown", "failed", "rejected", "orphaned", "remove"})
ILL = frozenset({"failed", "rejected"})
OUT_OF_MEMORY = 137
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a service. `state` is what its node last told; it is `running` once its health check has passed."""

    created: str
    state: str
    wanted: bool
    node_id: str
    message: str
    exit_code: int | None
    version: str
    image: str
    memory: int

    @classmethod
    def of(cls, told: Api) -> "Task":
        status, spec = told.get("Status", {}), told["Spec"]
        return cls(
            created=told["CreatedAt"],
            state=status.get("State", "new"),
            wanted=told.get("DesiredState") in (RUNNING, "ready", "accepted"),
            node_id=told.get("NodeID", ""),
            message=status.get("Err", ""),
            exit_code=(status.get("ContainerStatus") or {}).get("ExitCode") or None,
            version=spec["ContainerSpec"].get("Labels", {}).get(VERSION, ""),
            image=spec["ContainerSpec"]["Image"],
            memory=spec.get("Resources", {}).get("Limits", {}).get("MemoryBytes", 0),
        )

    @property
    def over(self) -> bool:
        return self.state in OVER


def running(tasks: Iterable[Task]) -> list[Task]:
    """Those that serve, also one that is about to make room for its successor."""
    return [task for task in tasks if task.state == RUNNING]


def why_not(tasks: Iterable[Task]) -> str:
    """Why what is wanted does not run; empty where nothing has gone wrong yet."""
    newest = sorted(tasks, key=lambda task: task.created, reverse=True)
    waiting = next((task for task in newest if task.wanted and not task.over and task.message), None)
    if waiting:
        return _why_not_placed(waiting)
    ill = next((task for task in newest if task.state in ILL), None)
    if ill:
        return _why_it_failed(ill)
    return "its health check has not passed yet" if any(task.state == STARTING for task in newest) else ""


def _why_not_placed(task: Task) -> str:
    return f"no node is suitable: {reason[1]}" if (reason := re.search(r"\(([^)]*)\)", task.message)) else task.message


def _why_it_failed(task: Task) -> str:
    if "No such image" in task.message:
        return f"the image {task.image} is not found, neither on its node nor in its registry"
    if "unhealthy container" in task.message:
        return "it runs and does not answer its health check"
    if task.exit_code == OUT_OF_MEMORY:
        return f"it was killed, most likely because it needed more than its {task.memory // MIB} MiB of memory"
    if task.exit_code is not None:
        return f"it ended with code {task.exit_code}"
    return task.message or f"it {task.state}"
