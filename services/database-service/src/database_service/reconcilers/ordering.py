"""New rows for servers: name, administrator's password and slots are stored before anything is started."""

from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from database_service.deps import Deps
from database_service.domain import naming
from database_service.domain.ids import CustomerId, InstanceId, ServerId, Who
from database_service.domain.plans import PLANS, ServerType, Tier
from database_service.domain.secret import Secret
from database_service.domain.servers import Address, Server, Status
from database_service.reconcilers import certifying, slotting
from database_service.secretbox import new_password, random_name_bytes
from database_service.store import events, servers
from database_service.store.pool import Conn

ADMIN_USER = "dbs_admin"


@dataclass(frozen=True, slots=True)
class Order:
    """A server as it is wanted; None means what the policy says."""

    server_type: ServerType = ServerType.SHARED
    max_instances: int | None = None
    cpu_limit: float | None = None
    memory_limit: int | None = None
    priority: int = 0
    manual: bool = False
    request_key: str | None = None
    name: str | None = None
    provisioner: str | None = None
    address: Address | None = None
    admin_user: str = ADMIN_USER
    admin_password: Secret | None = None
    instance_id: InstanceId | None = None
    customer_id: CustomerId | None = None
    tier: Tier | None = None


async def new_shared(
    conn: Conn, deps: Deps, who: Who, order: Order | None = None, why: str | None = None
) -> Server | None:
    """A shared server with its slots. None where this `request_key` ordered one before."""
    return await place(conn, deps, who, order or Order(), why)


async def new_dedicated(
    conn: Conn, deps: Deps, who: Who, instance_id: InstanceId, customer_id: CustomerId, tier: Tier
) -> Server | None:
    """A server with one slot, for this instance alone. Raises UniqueViolation where the instance has one."""
    size = PLANS[tier].dedicated
    if size is None:
        raise ValueError(f"plan {tier} has no dedicated server")
    order = Order(
        server_type=ServerType.DEDICATED, max_instances=1, cpu_limit=size.cpu, memory_limit=size.memory_bytes,
        instance_id=instance_id, customer_id=customer_id, tier=tier,
    )  # fmt: skip
    return await place(conn, deps, who, order, None)


async def place(conn: Conn, deps: Deps, who: Who, order: Order, why: str | None) -> Server | None:
    server_id, now, policy = ServerId(uuid4()), deps.now(), deps.policy
    kind = "dedicated" if order.server_type is ServerType.DEDICATED else "pool"
    provisioner = order.provisioner or policy.default_provisioner
    server = await servers.insert(
        conn, server_id=server_id, name=order.name or naming.server_name(kind, random_name_bytes()),
        server_type=order.server_type, provisioner=provisioner,
        # A server that somebody else runs is there already.
        status=Status.INITIALIZING if order.address else Status.PROVISIONING,
        now=now, manual=order.manual, priority=order.priority,
        max_instances=order.max_instances or policy.pool_slots,
        instance_id=order.instance_id, customer_id=order.customer_id, plan_tier=order.tier,
        host=order.address.host if order.address else None, port=order.address.port if order.address else None,
        admin_user=order.admin_user,
        admin_password_sealed=deps.secrets.seal(order.admin_password or new_password(), server_id),
        image=policy.default_image if provisioner == policy.default_provisioner else None,
        cpu_limit=order.cpu_limit or policy.pool_cpu, memory_limit=order.memory_limit or policy.pool_memory_bytes,
        request_key=order.request_key,
    )  # fmt: skip
    if server is None:
        return None
    if policy.tls and provisioner == policy.default_provisioner:
        server = await certifying.equip(conn, deps, server)
    await slotting.furnish(conn, deps, server)
    await _note(conn, server, who, now, why)
    return server


async def _note(conn: Conn, server: Server, who: Who, now: datetime, why: str | None) -> None:
    await events.append(
        conn, at=now, who=who, action="server.ordered", subject="server", subject_id=server.id,
        instance_id=server.instance_id, after=server.status, why=why,
    )  # fmt: skip
