"""Deps: what a verb or a step may use, in one frozen record. wiring.py makes it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from database_service.broker.nudge import Nudge
from database_service.dataplane.tenants import Tenants
from database_service.dataplane.transfers import Transfers
from database_service.domain.policy import Policy
from database_service.provisioners.base import Provisioner
from database_service.secretbox import SecretBox
from database_service.store.changes import Changes
from database_service.store.claims import Claims
from database_service.store.pool import Db


@dataclass(frozen=True, slots=True)
class Deps:
    db: Db
    tenants: Tenants
    transfers: Transfers
    provisioners: Mapping[str, Provisioner]
    secrets: SecretBox
    nudge: Nudge
    changes: Changes
    now: Callable[[], datetime]
    policy: Policy
    claims: Claims
    move_dir: Path
    """Where a move puts a dump for as long as it takes."""
