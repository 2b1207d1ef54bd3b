"""What the tests of moves share: two servers, the way from one to the other, and the names used on it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import asyncpg

from database_service.dataplane.transfer.moving import TenantTransfers
from database_service.domain.tenancy import LoginSpec, TenantSpec
from database_service.domain.transfers import Passage, Progress
from database_service.secretbox import new_password
from dataplane.house import Connection, House, built

NOW = timedelta(0)
_numbers = count(1)


@dataclass(slots=True)
class Move:
    here: House
    there: House
    transfers: TenantTransfers
    folder: Path
    progress: list[Progress] = field(default_factory=list)

    async def tenant(self, script: str = "SELECT 1", **differently: object) -> TenantSpec:
        """A tenant on the first server, whose first login has run this script."""
        tenant = await self.here.tenant(**differently)
        async with self.here.inside(tenant) as conn:
            await conn.execute(script)
        return tenant

    def passage(self, tenant: TenantSpec, **differently: object) -> Passage:
        number = next(_numbers)
        passage = Passage(
            tenant=tenant, source=self.here.admin, target=self.there.admin, staging=f"staging_{tenant.name}_{number}",
            mover=LoginSpec(f"mover_{tenant.name}_{number}", new_password()),
        )  # fmt: skip
        return replace(passage, **differently)

    async def copied(self, tenant: TenantSpec) -> Passage:
        """Fenced and copied."""
        passage = self.passage(tenant)
        await self.transfers.fence(passage.source, tenant, NOW)
        await self.transfers.copy(passage, self.folder, self.progress.append)
        return passage

    async def differences(self, passage: Passage) -> Sequence[str]:
        return await self.transfers.compare(passage)

    async def opened(self, passage: Passage) -> TenantSpec:
        """The copy under the tenant's name, open."""
        for admin in (passage.source, passage.target):
            await self.transfers.dismiss(admin, passage.mover.role)
        staged = replace(passage.tenant, physical_name=passage.staging)
        await self.there.servers.build(passage.target, staged)
        return built(staged)

    @asynccontextmanager
    async def at_the_copy(self, passage: Passage) -> AsyncIterator[Connection]:
        """A superuser's session in the staging, that no setting of the tenant's bends and no trigger sees."""
        unbent = {
            "role": "none", "statement_timeout": "0", "transaction_timeout": "0", "idle_session_timeout": "0",
            "idle_in_transaction_session_timeout": "0", "lock_timeout": "0", "default_transaction_read_only": "off",
            "session_replication_role": "replica", "search_path": "public, extras",
        }  # fmt: skip
        conn = await asyncpg.connect(self.there.cluster.dsn(passage.staging), server_settings=unbent)
        try:
            yield conn
        finally:
            await conn.close()
