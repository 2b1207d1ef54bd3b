"""Deps: what a verb or a step may use, in one frozen record. wiring.py makes it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from instance_service.broker.nudge import Nudge
from instance_service.databases.base import Databases
from instance_service.domain.policy import Policy
from instance_service.store.changes import Changes
from instance_service.store.pool import Db
from instance_service.workloads.base import Workloads


@dataclass(frozen=True, slots=True)
class Deps:
    db: Db
    databases: Databases
    workloads: Workloads
    nudge: Nudge
    changes: Changes
    now: Callable[[], datetime]
    policy: Policy
