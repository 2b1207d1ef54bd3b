"""What the reconcilers ask of database-service."""

from datetime import timedelta
from typing import Protocol
from uuid import UUID

from instance_service.domain.databases import DatabaseSeen, Following
from instance_service.domain.ids import CustomerId
from instance_service.domain.plans import Tier
from instance_service.domain.workloads import Login


class Databases(Protocol):
    """One database for each instance, by the instance's id. Every method may be repeated, and may be cut off and repeated.

    Every method raises DatabasesUnavailable where database-service does not answer or cannot serve now, and DatabaseRefused
    where it says no.
    """

    async def allocate(self, instance_id: str, customer_id: CustomerId, tier: Tier) -> DatabaseSeen:
        """Have a database for this instance: READY, or COMING. Asked again, the same one."""
        ...

    async def look(self, instance_id: str, wait: timedelta = timedelta()) -> DatabaseSeen:
        """How it is now, or as soon as it is ready, at the latest after `wait`. No secret is asked for."""
        ...

    async def login(self, instance_id: str) -> Login:
        """The newest credentials; to be used at once and kept nowhere."""
        ...

    async def rotate(self, instance_id: str, key: UUID, overlap: timedelta) -> bool:
        """Make a new login, one for each `key`; those before work on for `overlap`. False while it is being made."""
        ...

    async def change_plan(self, instance_id: str, tier: Tier, key: UUID) -> Following:
        """Begin to change the plan, once for each `key`. One that has that plan already is over."""
        ...

    async def follow(self, operation_id: UUID) -> Following:
        """How far that is now."""
        ...

    async def release(self, instance_id: str, why: str) -> None:
        """Give it back; its data is kept for the plan's grace. Not there, or released already, is success."""
        ...
