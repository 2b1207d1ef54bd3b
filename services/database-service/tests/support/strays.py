"""Strays: things without a row, planted on purpose; and a house with a provisioner and a server of its own to plant them on."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from os import urandom
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from database_service.actions.order_server import order_pool
from database_service.dataplane.sessions import TenantServers
from database_service.domain import naming
from database_service.domain.drift import Drift, Kind
from database_service.domain.ids import ServerId
from database_service.domain.plans import PLANS, Tier
from database_service.domain.servers import Server, Status
from database_service.domain.tenancy import LoginSpec, TenantSpec
from database_service.provisioners.place import Hands, Identity, Place
from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from database_service.reconcilers.addressing import admin_of
from database_service.secretbox import new_password
from database_service.store import drift
from support.clock import Clock
from support.cluster import Cluster
from support.faults import Fate, FatedHands
from support.house import POLICY, WHO, House, open_house

SMALL = replace(POLICY, pool_memory_bytes=128 * 1024**2)


@dataclass(frozen=True)
class Yard:
    """A house whose pools are processes below `home`."""

    house: House
    home: Path
    local: ProcessProvisioner

    async def pool(self) -> Server:
        server = await order_pool(self.house.deps, WHO, max_instances=5)
        server = await self.house.settled(server.id)
        assert server.status is Status.ACTIVE, server.last_error
        return server

    async def there(self) -> dict[tuple[Kind, str], Drift]:
        """Findings that are not gone, by kind and thing."""
        async with self.house.deps.db.connection() as conn:
            return {(row.finding.kind, row.finding.thing): row for row in await drift.there(conn)}

    async def do(self, server: Server, script: str, database: str = "postgres") -> Any:
        """As the administrator of that server; returns the first value."""
        admin = admin_of(self.house.deps, server)
        conn = await asyncpg.connect(
            host=admin.host, port=admin.port, user=admin.user, password=admin.password.reveal(), database=database
        )
        try:
            return await conn.fetchval(script)
        finally:
            await conn.close()

    async def events(self, drift_id: object) -> list[str]:
        async with self.house.deps.db.connection() as conn:
            rows = await conn.fetch("SELECT action FROM events WHERE subject_id = $1 ORDER BY id", drift_id)
        return [row["action"].removeprefix("drift.") for row in rows]

    def directory(self, name: str = "pool-lost", **identity: object) -> ServerId:
        """A server's directory with our layout that no row knows; `identity` falsifies what its file says."""
        server_id = ServerId(uuid4())
        place = Place(self.home, server_id)
        place.data_dir.mkdir(parents=True)
        (place.data_dir / "PG_VERSION").write_text("18\n")
        told = json.loads(Identity(server_id, name, port=1, made=True).text()) | identity
        place.identity_file.write_text(json.dumps(told))
        return server_id


async def a_stray_tenant(house: House, server: Server) -> TenantSpec:
    """A whole tenant on that server that no row knows; built without the house's own sessions, whoever dies in those."""
    login = LoginSpec(naming.login_role(urandom(8)), new_password())
    name, owner = naming.database_name(urandom(8)), naming.owner_role(urandom(8))
    tenant = TenantSpec(name, None, owner, "default", PLANS[Tier.FREE].limits, (login,))
    async with TenantServers() as servers:
        await servers.build(admin_of(house.deps, server), tenant)
    return replace(tenant, physical_name=name)


@asynccontextmanager
async def open_yard(
    control_dsn: str,
    tenant: Cluster,
    runtime: PostgresRuntime,
    home: Path,
    clock: Clock | None = None,
    fate: Fate | None = None,
) -> AsyncIterator[Yard]:
    """Servers are left running: whoever made `home` stops them."""
    hands: Any = FatedHands(Hands(runtime), fate) if fate else Hands(runtime)
    local = ProcessProvisioner(runtime, runtime.reachable_home(home), hands)
    async with open_house(control_dsn, tenant, SMALL, {"process": local}, clock, fate) as house:
        yield Yard(house, home, local)
