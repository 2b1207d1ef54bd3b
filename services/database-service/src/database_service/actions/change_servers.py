"""Change servers that run, or their administrators' passwords: stored at once, done one server after the other."""

from collections.abc import Sequence
from enum import StrEnum
from uuid import UUID, uuid4

from database_service.deps import Deps
from database_service.domain.errors import InvalidField, ServerBusy, ServerNotActive, ServerNotFound
from database_service.domain.ids import OperationId, ServerId, Who
from database_service.domain.operations import Kind, Operation, Target
from database_service.domain.plans import ServerType
from database_service.domain.servers import Server, Status
from database_service.store import events, operations, servers
from database_service.store.pool import Conn


class Every(StrEnum):
    """Active servers, without those that somebody else runs where only their owner can do it."""

    SHARED = "shared"
    ALL = "all"


Chosen = Every | Sequence[ServerId]


async def roll_out(
    deps: Deps, who: Who, chosen: Chosen, target: Target, *, request_key: str | None = None
) -> Operation:
    """A change of image, memory, CPUs or slots, on its way. The same `request_key` makes one, however often it is sent.

    Raises InvalidField, ServerNotFound, ServerNotActive, and ServerBusy where another operation is at one of the servers.
    """
    if target.empty:
        raise InvalidField("image", "or memory_limit, cpu_limit, max_instances or tls has to be given")
    key = f"rollout:{request_key}" if request_key else None
    return await _begin(deps, who, Kind.ROLLOUT, chosen, target, key)


async def rotate_admin_passwords(deps: Deps, who: Who, chosen: Chosen, *, request_key: str | None = None) -> Operation:
    """New passwords for the administrators of these servers, on their way. Raises as `roll_out`."""
    key = f"rotate:{request_key}" if request_key else None
    return await _begin(deps, who, Kind.ROTATE_ADMIN_PASSWORD, chosen, Target(), key)


async def _begin(deps: Deps, who: Who, kind: Kind, chosen: Chosen, target: Target, key: str | None) -> Operation:
    async with deps.db.transaction() as conn:
        operation = await begin_in(conn, deps, who, kind, chosen, target, key)
    deps.nudge.operation(operation.id)
    return operation


async def begin_in(
    conn: Conn, deps: Deps, who: Who, kind: Kind, chosen: Chosen, target: Target, key: str | None
) -> Operation:
    """In a transaction of the caller's, who nudges after it."""
    operation = await operations.insert(
        conn, operation_id=OperationId(uuid4()), kind=kind, target=target, created_by=who.actor, request_key=key,
        now=deps.now(),
    )  # fmt: skip
    if operation is None:
        return await _asked_before(conn, key)
    await _give_steps(conn, deps, who, operation, chosen)
    return operation


async def _give_steps(conn: Conn, deps: Deps, who: Who, operation: Operation, chosen: Chosen) -> None:
    target = operation.target
    found = await _choose(conn, chosen, external=operation.kind is Kind.ROLLOUT and not target.restarts)
    if operation.kind is Kind.ROLLOUT:
        _refuse_unfit(found, target)
    subjects: dict[UUID, str] = {server.id: server.name for server in found}
    for busy in await operations.insert_steps(conn, operation.id, subjects, deps.now()):
        raise ServerBusy(subjects[busy], await operations.holder(conn, busy))
    await events.append(
        conn, at=deps.now(), who=who, action="operation.asked_for", subject="operation", subject_id=operation.id,
        after=operation.state, why=f"{operation.kind} of {len(subjects)} server(s)",
    )  # fmt: skip


async def _choose(conn: Conn, chosen: Chosen, *, external: bool) -> list[Server]:
    if isinstance(chosen, Every):
        return await servers.choose(conn, ServerType.SHARED if chosen is Every.SHARED else None, external=external)
    return [await _active(conn, server_id) for server_id in dict.fromkeys(chosen)]


async def _active(conn: Conn, server_id: ServerId) -> Server:
    server = await servers.get(conn, server_id)
    if server is None or server.status is Status.GONE:
        raise ServerNotFound(server_id)
    if server.status is not Status.ACTIVE:
        raise ServerNotActive(server.name, server.status)
    return server


def _refuse_unfit(found: Sequence[Server], target: Target) -> None:
    for server in found:
        if target.restarts and server.provisioner == "external":
            raise InvalidField(
                "pools", f"{server.name} is run by somebody else, who alone can change more than its slots"
            )
        if target.tls and server.provisioner != "swarm":
            raise InvalidField("tls", f"{server.name} is no service of a Swarm")
        if target.max_instances and server.server_type is not ServerType.SHARED:
            raise InvalidField("max_instances", f"{server.name} is not shared, so it has the one slot it was made with")
    if target.image and len(kinds := sorted({server.provisioner for server in found})) > 1:
        raise InvalidField("pools", f"an image is for one kind of server, and these are of {' and '.join(kinds)}")


async def _asked_before(conn: Conn, request_key: str | None) -> Operation:
    operation = await operations.by_request_key(conn, request_key) if request_key else None
    if operation is None:
        raise LookupError("an operation without a request key conflicts with nothing")
    return operation
