"""House: the whole service without its doors, over a real control database and a real tenant server."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import asyncpg

from database_service.broker.nudge import Silent
from database_service.dataplane.sessions import TenantServers
from database_service.dataplane.transfer.moving import TenantTransfers
from database_service.deps import Deps
from database_service.domain.answers import Allocation, Pending
from database_service.domain.databases import Ask, Database, Login
from database_service.domain.ids import CustomerId, InstanceId, OperationId, ServerId, Who
from database_service.domain.operations import Operation
from database_service.domain.plans import Tier, seat_for
from database_service.domain.policy import Policy
from database_service.domain.servers import Address, Server, Status
from database_service.provisioners.base import Provisioner
from database_service.provisioners.external import ExternalProvisioner
from database_service.provisioners.runtime import client_programs
from database_service.reconcilers import capacity
from database_service.reconcilers import operations as operation_steps
from database_service.reconcilers import servers as server_steps
from database_service.reconcilers.ordering import Order, place
from database_service.reconcilers.sweep import sweep
from database_service.secretbox import SecretBox
from database_service.store import databases, logins, operations, servers
from database_service.store.changes import Changes
from database_service.store.claims import Claims
from database_service.store.pool import Db, open_pool
from support.clock import Clock
from support.cluster import Cluster
from support.faults import Fate, FatedDb
from support.secrets import refuse_in_rows

WHO = Who("tests", "req-1")
POLICY = Policy(auto_order=False, spares_least=0, allocate_budget=timedelta(seconds=20))

EMPTY = (
    "SET LOCAL session_replication_role = replica;"  # else the audit trail cannot be emptied
    "TRUNCATE servers, databases, slots, logins, events, links, tokens, operations, operation_steps, moves, usage, requests, "
    "server_history, database_history, "
    "authorities, certificates RESTART IDENTITY"
)
"""A control database as it was migrated."""

STARTING = (Status.PROVISIONING, Status.INITIALIZING)

_numbers = count(1)


def ask(instance: str | None = None, tier: Tier = Tier.FREE, **more: object) -> Ask:
    """An ask as a caller would make it, for an instance of its own unless named."""
    dedicated = bool(more.pop("require_dedicated", False))
    return Ask(
        instance_id=InstanceId(instance or f"i-{next(_numbers)}"),
        customer_id=CustomerId(str(more.pop("customer", "c-1"))),
        plan_tier=tier,
        server_type=seat_for(tier, require_dedicated=dedicated),
        require_dedicated=dedicated,
        **more,  # type: ignore[arg-type]
    )


@dataclass
class House:
    """Deps and what tests say about them. `tenant` is the real server its pools stand on."""

    deps: Deps
    clock: Clock
    tenant: Cluster
    other: Cluster | None = None
    """A second real server, for pools that are told to stand on it."""

    def with_policy(self, **changes: object) -> "House":
        return replace(self, deps=replace(self.deps, policy=replace(self.deps.policy, **changes)))  # type: ignore[arg-type]

    @property
    def hurried(self) -> "House":
        """Whoever asks is answered after a moment, also where nothing is there yet."""
        return self.with_policy(allocate_budget=timedelta(milliseconds=200))

    async def pool(self, slots: int = 10, on: Cluster | None = None, **order: object) -> Server:
        """A pool of this many slots, active; all pools of a house stand on one real server, unless told on which else."""
        return await self.settled(await self.ordered(slots, on, **order))

    async def ordered(self, slots: int = 10, on: Cluster | None = None, **order: object) -> ServerId:
        """The same, ordered and not begun."""
        at = on or self.tenant
        wanted = Order(
            max_instances=slots, provisioner="external", address=Address(at.host, at.port),
            admin_user=at.superuser, admin_password=at.password, **order,  # type: ignore[arg-type]
        )  # fmt: skip
        async with self.deps.db.transaction() as conn:
            server = await place(conn, self.deps, WHO, wanted, None)
        assert server
        return server.id

    async def settled(self, server_id: ServerId, patience: timedelta = timedelta(seconds=30)) -> Server:
        """As it rests. A start is waited for until the patience ends: steps look ever less often at one that takes long."""
        until = self.clock() + patience
        await server_steps.settle(self.deps, server_id, patience)
        while (server := await self.server(server_id)).status in STARTING and server.due_at and self.clock() < until:
            await asyncio.sleep(min(max((server.due_at - self.clock()).total_seconds(), 0.05), 1))
            await server_steps.settle(self.deps, server_id, patience)
        return server

    async def spares(self, number: int) -> None:
        """Have this many spares built."""
        deps = replace(self.deps, policy=replace(self.deps.policy, spares_least=number, spares_most=number))
        await capacity.refill(deps)

    async def server(self, server_id: ServerId) -> Server:
        async with self.deps.db.connection() as conn:
            server = await servers.get(conn, server_id)
        assert server
        return server

    async def database(self, instance: str) -> Database:
        async with self.deps.db.connection() as conn:
            database = await databases.of_instance(conn, InstanceId(instance))
        assert database
        return database

    async def logins(self, instance: str) -> list[Login]:
        database = await self.database(instance)
        async with self.deps.db.connection() as conn:
            return await logins.alive(conn, database.id)

    async def value(self, sql: str, *args: object) -> object:
        async with self.deps.db.connection() as conn:
            return await conn.fetchval(sql, *args)

    async def until_quiet(self, passes: int = 40) -> None:
        """Sweep until nothing is due; time stands still for what is put off."""
        for _ in range(passes):
            if (await sweep(self.deps)).quiet:
                return
        raise AssertionError(f"still not quiet after {passes} sweeps")

    async def finished(self, operation_id: OperationId) -> Operation:
        """The operation once it rests; time goes on to whenever it is due."""
        for _ in range(40):
            await operation_steps.settle(self.deps, operation_id, timedelta(seconds=30))
            async with self.deps.db.connection() as conn:
                found = await operations.get(conn, operation_id)
            assert found
            if found.due_at is None:
                return found
            self.clock.forward(max(found.due_at - self.clock(), timedelta()))
            await self.until_quiet()
        raise AssertionError(f"it does not come to rest: {found}")

    async def later(self, span: timedelta) -> None:
        self.clock.forward(span)
        await self.until_quiet()


async def login(
    allocation: Allocation | Pending, timeout_s: float = 10, **more: object
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection with just what the caller was given."""
    assert isinstance(allocation, Allocation), allocation
    return await asyncpg.connect(
        host=allocation.address.host, port=allocation.address.port, user=allocation.login.role,
        password=allocation.password.reveal(), database=allocation.database.name, timeout=timeout_s, **more,  # type: ignore[arg-type]
    )  # fmt: skip


@asynccontextmanager
async def open_house(
    control_dsn: str,
    tenant: Cluster,
    policy: Policy = POLICY,
    provisioners: Mapping[str, Provisioner] | None = None,
    clock: Clock | None = None,
    fate: Fate | None = None,
) -> AsyncIterator[House]:
    """`fate` lets the service die at an effect; what it leaves behind is the next house's over the same database.

    A house that is left in order has no secret in any of its rows.
    """
    clock = clock or Clock()
    pool = await open_pool(control_dsn, least=0, most=20, application="tests")
    db = FatedDb(pool, fate) if fate else Db(pool)

    async def address_of(server_id: ServerId) -> Address | None:
        async with db.connection() as conn:
            server = await servers.get(conn, server_id)
        return server.address if server else None

    watched = {"on_statement": fate.on_statement} if fate else {}
    sessions = TenantServers(width=policy.build_width, **watched)
    transfers = TenantTransfers(client_programs(), **watched)
    with tempfile.TemporaryDirectory(prefix="dbs-test-dumps-") as dumps:
        async with Changes(control_dsn) as changes:
            deps = Deps(
                db=db, tenants=sessions, transfers=transfers, move_dir=Path(dumps),
                secrets=SecretBox({"test": b"k" * 32}), nudge=Silent(), changes=changes,
                now=clock, policy=policy, claims=Claims(),
                provisioners={"external": ExternalProvisioner(address_of), **(provisioners or {})},
            )  # fmt: skip
            try:
                yield House(deps, clock, tenant)
                async with db.connection() as conn:
                    await refuse_in_rows(conn)
            finally:
                await sessions.aclose()
                await transfers.aclose()
                await pool.close()
