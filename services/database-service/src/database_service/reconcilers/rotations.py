"""Rotation of administrators' passwords: one server after the other gets a new one. No session ends, no server restarts."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from database_service.deps import Deps
from database_service.domain.errors import ServiceError
from database_service.domain.ids import ServerId
from database_service.domain.operations import Operation, Step, StepState, Target
from database_service.domain.servers import Server, Status
from database_service.reconcilers import progress
from database_service.reconcilers import servers as server_steps
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.leasing import LostLease, said
from database_service.secretbox import new_password
from database_service.store import servers


class Rotation:
    """The work of kind `rotate_admin_password`."""

    async def prepare(self, deps: Deps, operation: Operation, steps: Sequence[Step]) -> Target:
        return operation.target

    async def begin(self, deps: Deps, operation: Operation, step: Step) -> Operation:
        """The new password is stored before the server is told."""
        async with deps.db.transaction() as conn:
            await progress.fence(conn, operation)
            server = await progress.locked_subject(conn, step)
            if server.status in progress.LEAVING:
                begun = step.become(StepState.SKIPPED, deps.now(), progress.NOBODYS)
            elif server.status is not Status.ACTIVE:
                begun = step.become(StepState.FAILED, deps.now(), f"the server is {server.status}")
            else:
                await servers.want_password(conn, server.id, deps.secrets.seal(new_password(), server.id))
                begun = step.become(StepState.RUNNING, deps.now())
            return await progress.record_in(conn, deps, operation, begun)

    async def carry(self, deps: Deps, operation: Operation, step: Step) -> Operation:
        step = progress.watched(deps, operation, step)
        async with progress.alone_with(deps, ServerId(step.subject_id)) as server:
            if server and server.admin_password_next is None:  # its own step found that it has the new one
                return await progress.record(deps, operation, step.become(StepState.SUCCEEDED, deps.now()))
            if server:
                return await _give_password(deps, operation, step, server)
        if (await progress.subject(deps, step)).status in progress.LEAVING:
            return await progress.record(deps, operation, step.become(StepState.SKIPPED, deps.now(), progress.NOBODYS))
        return await progress.hold(deps, operation, step, progress.IN_THE_WAY)


async def _give_password(deps: Deps, operation: Operation, step: Step, server: Server) -> Operation:
    try:
        async with asyncio.timeout(deps.policy.effect_timeout.total_seconds()):
            await _tell_server(deps, server)
    except (ServiceError, TimeoutError) as e:
        return await _not_yet(deps, operation, step, said(e))
    async with deps.db.transaction() as conn:
        await progress.fence(conn, operation)
        if await servers.turn_password(conn, server.id, server.version, deps.now()) is None:
            raise LostLease
        await server_steps.note_rotated(conn, server, deps.now())
        return await progress.record_in(conn, deps, operation, step.become(StepState.SUCCEEDED, deps.now()))


async def _tell_server(deps: Deps, server: Server) -> None:
    current = admin_of(deps, server)
    following = replace(current, password=deps.secrets.open(server.admin_password_next or b"", server.id))
    await deps.tenants.change_password(current, following)


async def _not_yet(deps: Deps, operation: Operation, step: Step, why: str) -> Operation:
    """Both passwords stay stored: the server may have taken the next one and not been heard."""
    if deps.now() - step.state_since > deps.policy.server_start_timeout:
        return await progress.record(deps, operation, step.become(StepState.FAILED, deps.now(), why))
    return await progress.hold(deps, operation, step, why)
