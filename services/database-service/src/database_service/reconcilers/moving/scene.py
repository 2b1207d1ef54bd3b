"""What a move is about, what its effects are told, and how its progress is recorded."""

from dataclasses import dataclass, replace
from typing import TypeVar

from database_service.deps import Deps
from database_service.domain.databases import Database, LoginState
from database_service.domain.moves import Move, Sight
from database_service.domain.operations import Operation, Step, Wish
from database_service.domain.plans import PLANS
from database_service.domain.servers import Server
from database_service.domain.tenancy import Admin, LoginSpec, TenantSpec
from database_service.domain.transfers import Passage
from database_service.reconcilers import databases as database_steps
from database_service.reconcilers import progress
from database_service.reconcilers.addressing import admin_of
from database_service.reconcilers.leasing import reconciler
from database_service.store import databases, events, logins, moves, servers
from database_service.store.pool import Conn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scene:
    """A move and all it is about, as the rows say."""

    operation: Operation
    step: Step
    move: Move
    database: Database
    source: Server
    target: Server | None
    twin: Database | None

    @property
    def sight(self) -> Sight:
        return Sight(self.database, self.target, self.twin, cancelled=self.operation.wish is Wish.CANCEL)


async def look(deps: Deps, operation: Operation, step: Step) -> Scene | None:
    """None where the plan changes and the database stays where it is."""
    async with deps.db.connection() as conn:
        move = await moves.get(conn, operation.id, step.ordinal)
        if move is None:
            return None
        return Scene(
            operation=operation,
            step=step,
            move=move,
            database=present(await databases.get(conn, move.database_id)),
            source=present(await servers.get(conn, move.source_id)),
            target=await servers.get(conn, move.target_id) if move.target_id else None,
            twin=await databases.get(conn, move.twin_id) if move.twin_id else None,
        )


async def tenant_of(deps: Deps, scene: Scene) -> TenantSpec:
    """As it is on the source, with the limits and logins it shall have on the target."""
    async with deps.db.connection() as conn:
        alive = await logins.alive(conn, scene.database.id)
    active = [login for login in alive if login.state is LoginState.ACTIVE]
    there = database_steps.tenant_spec(deps, scene.database, active)
    return replace(there, limits=PLANS[scene.move.after.plan_tier].limits)


async def passage_of(deps: Deps, scene: Scene) -> Passage:
    move = scene.move
    password = deps.secrets.open(move.mover_password_sealed, move.mover_role)
    return Passage(
        tenant=await tenant_of(deps, scene),
        source=source_admin(deps, scene),
        target=present(target_admin(deps, scene)),
        staging=present(present(scene.twin).physical_name),
        mover=LoginSpec(move.mover_role, password),
        stale=move.stale,
    )


def source_admin(deps: Deps, scene: Scene) -> Admin:
    return admin_of(deps, scene.source)


def target_admin(deps: Deps, scene: Scene) -> Admin | None:
    return admin_of(deps, scene.target) if scene.target else None


# -- recording ---


async def save(deps: Deps, scene: Scene, move: Move, why: str | None = None) -> Operation:
    async with deps.db.transaction() as conn:
        await progress.fence(conn, scene.operation)
        return await record(conn, deps, scene, move, why)


async def record(conn: Conn, deps: Deps, scene: Scene, move: Move, why: str | None = None) -> Operation:
    await moves.save(conn, move)
    return await progress.record_in(conn, deps, scene.operation, replace(scene.step, error=why or scene.step.error))


def way(scene: Scene) -> str:
    return f"from {scene.source.name} to {present(scene.target).name}"


async def note(conn: Conn, deps: Deps, before: Database, after: Database, why: str, *, action: str) -> None:
    await events.append(
        conn, at=deps.now(), who=reconciler(), action=action, subject="database", subject_id=after.id,
        instance_id=after.instance_id, before=before.status, after=after.status, why=why,
    )  # fmt: skip


async def note_twin(
    conn: Conn, deps: Deps, scene: Scene, twin: Database, *, action: str, before: Database | None
) -> None:
    await events.append(
        conn, at=deps.now(), who=reconciler(), action=action, subject="database", subject_id=twin.id,
        before=before.status if before else None, after=twin.status, why=f"the place of {scene.step.name}",
    )  # fmt: skip


def present(row: T | None) -> T:
    if row is None:
        raise LookupError("a move points to a row that is not there; such rows are never deleted")
    return row
