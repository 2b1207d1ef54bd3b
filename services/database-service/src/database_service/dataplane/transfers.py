"""Transfers: the data of one tenant on its way from one server to another. Every method may be repeated."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from database_service.domain.tenancy import Admin, TenantSpec
from database_service.domain.transfers import Passage, Progress, Survey


class Transfers(Protocol):
    """The port of moves; `dataplane.transfer.moving.TenantTransfers` is its one implementation.

    Errors of every method: TenantServerUnavailable (cannot reach, lost, timed out: try again), TenantDatabaseMissing,
    NameTaken, and what each says. None of them opens a door: `Tenants.build` does that, on the side that won. What is
    cancelled leaves no process and no session of its own behind.
    """

    async def survey(self, source: Admin, tenant: TenantSpec, target: Admin | None) -> Survey:
        """What there is to move, why it could not be moved to `target`, and what would not come along.

        Changes nothing, and the database may be in use. Without a target only what the source says is looked at.
        """
        ...

    async def fence(self, source: Admin, tenant: TenantSpec, drain: timedelta) -> None:
        """No login may log in and no session is left, so every commit that was acknowledged is there to be read.

        Idle sessions end at once; those in a transaction or statement end as soon as it is over, at the latest after
        `drain`. What stopped its writes for its size is taken away: who opens it stops it again. MoveBlocked, with the doors
        shut, where somebody else could still write or left a prepared transaction.
        """
        ...

    async def copy(self, passage: Passage, folder: Path, told: Callable[[Progress], None]) -> None:
        """The fenced database under the name `passage.staging` on the target, whole, with its roles, and closed.

        `folder` is there, empty, and ours alone; what is put there is removed. MoveBlocked before anything is made on the
        target; TransferFailed where dumping or restoring failed: another attempt needs another staging.
        """
        ...

    async def compare(self, passage: Passage) -> Sequence[str]:
        """How the staging on the target differs from the database on the source, in words; empty where it does not.

        Names objects and counts, never what is in a row. Takes any two closed databases, also such that no copy made;
        the staging may then be the database's own name. Makes the mover on both servers where it is not there.
        """
        ...

    async def discard(self, target: Admin, tenant: TenantSpec, stagings: Sequence[str]) -> None:
        """None of these stagings is on the target any more; only those that `tenant.owner_role` owns are dropped."""
        ...

    async def dismiss(self, admin: Admin, mover: str) -> None:
        """The mover is gone from this server, and its sessions with it. Not there is success; not ours is NameTaken."""
        ...
