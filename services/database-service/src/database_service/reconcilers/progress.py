"""What all kinds of operations share: the step and its operation recorded together, fenced; the server it is about."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from database_service.deps import Deps
from database_service.domain.errors import Unavailable
from database_service.domain.ids import ServerId, Who
from database_service.domain.operations import OVER, Operation, State, Step, Wish
from database_service.domain.servers import Server, Status
from database_service.reconcilers.leasing import LostLease, new_token, reconciler
from database_service.store import events, leases, operations, servers
from database_service.store.pool import Conn

T = TypeVar("T")

BEAT = timedelta(seconds=1)
"""How often long work says that it goes on."""
TIGHTEST_POLL = timedelta(milliseconds=50)
SLOWEST_POLL = timedelta(seconds=10)
LEAVING = (Status.DEPROVISIONING, Status.GONE)
NOBODYS = "the server is being removed"
IN_THE_WAY = "somebody else is at work on the server"


async def record(deps: Deps, operation: Operation, step: Step) -> Operation:
    """The step as it is now; the next move is due. Raises LostLease."""
    async with deps.db.transaction() as conn:
        return await record_in(conn, deps, operation, step)


async def record_in(conn: Conn, deps: Deps, operation: Operation, step: Step) -> Operation:
    """As `record`, in a transaction that begins with `fence`."""
    return await _record(conn, operation.look_again(deps.now()), step)


async def hold(deps: Deps, operation: Operation, step: Step, why: str) -> Operation:
    """Look again soon: tightly at first, and at a tenth of the step's age later. Raises LostLease."""
    now = deps.now()
    pause = min(max(TIGHTEST_POLL, (now - step.state_since) / 10), SLOWEST_POLL)
    async with deps.db.transaction() as conn:
        return await _record(conn, operation.look_again(now + pause, why), step)


async def put_off(deps: Deps, operation: Operation, why: str) -> Operation:
    """Look again some moments later. Raises LostLease."""
    async with deps.db.transaction() as conn:
        return await _saved(conn, operation.look_again(deps.now() + SLOWEST_POLL, why))


async def _record(conn: Conn, operation: Operation, step: Step) -> Operation:
    saved = await _saved(conn, operation)
    await operations.save_step(conn, step)
    return saved


async def become(
    deps: Deps, operation: Operation, state: State, why: str | None = None, who: Who | None = None
) -> Operation:
    """In another state. Raises LostLease."""
    async with deps.db.transaction() as conn:
        return await become_in(conn, deps, operation, operation.become(state, deps.now(), why), who or reconciler())


async def become_in(conn: Conn, deps: Deps, before: Operation, after: Operation, who: Who) -> Operation:
    saved = await _saved(conn, after)
    if after.state in OVER:
        await operations.let_go(conn, after.id, deps.now())
    await events.append(
        conn, at=deps.now(), who=who, action=f"operation.became_{after.state}", subject="operation",
        subject_id=after.id, before=before.state, after=after.state, why=after.last_error,
    )  # fmt: skip
    return saved


async def fence(conn: Conn, operation: Operation) -> None:
    """LostLease unless the operation is as it was read; it stays so until the transaction ends."""
    if not await operations.still(conn, operation):
        raise LostLease


async def _saved(conn: Conn, operation: Operation) -> Operation:
    saved = await operations.save(conn, operation)
    if saved is None:
        raise LostLease
    return saved


async def kept(
    deps: Deps,
    operation: Operation,
    work: Coroutine[Any, Any, T],
    beat: Callable[[Conn], Awaitable[None]] | None = None,
) -> tuple[Operation, T]:
    """What came of long work, and the operation as it is then; meanwhile its lease is renewed, with `beat` in the same breath.

    LostLease where the lease was lost, or the operation is to be cancelled: the work was cut off then, and has ended.
    """
    effect = asyncio.create_task(work)
    guard = asyncio.create_task(_guarded(deps, operation, beat))
    try:
        await asyncio.wait((effect, guard), return_when=asyncio.FIRST_COMPLETED)
        if guard.done():
            guard.result()
            raise LostLease
        result = effect.result()
    finally:
        effect.cancel()
        guard.cancel()
        await asyncio.gather(effect, guard, return_exceptions=True)
    return await _still_ours(deps, operation), result


async def _guarded(deps: Deps, operation: Operation, beat: Callable[[Conn], Awaitable[None]] | None) -> None:
    """Renews the lease by the clock; ends when the work is nobody's any more, or nobody wants it."""
    until = deps.now() + deps.policy.lease
    while deps.now() < until:
        await asyncio.sleep(BEAT.total_seconds())  # noqa: TID251  a lease is renewed by the clock
        try:
            ours = await _renewed(deps, operation, beat)
        except Unavailable:  # the lease may hold until our database is back
            continue
        if ours is None or ours.wish is Wish.CANCEL:
            return
        until = deps.now() + deps.policy.lease


async def _renewed(
    deps: Deps, operation: Operation, beat: Callable[[Conn], Awaitable[None]] | None = None
) -> Operation | None:
    async with deps.db.transaction() as conn:
        ours = await operations.renew(conn, operation, deps.now() + deps.policy.lease)
        if ours and beat:
            await beat(conn)
    return ours


async def _still_ours(deps: Deps, operation: Operation) -> Operation:
    ours = await _renewed(deps, operation)
    if ours is None:
        raise LostLease
    return ours


@asynccontextmanager
async def alone_with(deps: Deps, server_id: ServerId) -> AsyncIterator[Server | None]:
    """The server under its own lease, so that no step of its own works on it meanwhile. None: somebody else does, or it leaves.

    Afterwards it is due: how it is now is what the next look has to tell.
    """
    token = new_token()
    async with deps.db.connection() as conn:
        server = await servers.take(conn, server_id, deps.now(), deps.policy.lease, token)
    try:
        yield server
    except LostLease:
        await _hand_back(deps, server_id, token)
        raise
    await _hand_back(deps, server_id, token)


async def _hand_back(deps: Deps, server_id: ServerId, token: UUID) -> None:
    async with deps.db.transaction() as conn:
        await leases.release(conn, "servers", server_id, token)
        await servers.make_due(conn, server_id, deps.now())


async def subject(deps: Deps, step: Step) -> Server:
    async with deps.db.connection() as conn:
        return _there(await servers.get(conn, ServerId(step.subject_id)), step)


async def locked_subject(conn: Conn, step: Step) -> Server:
    return _there(await servers.lock(conn, ServerId(step.subject_id)), step)


def watched(deps: Deps, operation: Operation, step: Step) -> Step:
    """A time nobody was there to watch (a worker had died) does not count against the server."""
    now = deps.now()
    left_alone = operation.due_at is not None and now - operation.due_at > deps.policy.lease
    return replace(step, state_since=now) if left_alone else step


def _there(server: Server | None, step: Step) -> Server:
    if server is None:
        raise LookupError(f"server {step.subject_id} has no row; rows of servers are never deleted")
    return server
