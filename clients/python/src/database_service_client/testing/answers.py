"""What the stand-in remembers, as the models that the service answers with: a field that is missing here does not compile."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

from database_service_client.models import (
    Allocation,
    Credentials,
    Database,
    DatabaseChange,
    Login,
    MoveReport,
    OperationRecord,
    OperationStep,
    Pending,
    Progress,
    Rotation,
    ServerRef,
)
from database_service_client.testing import state
from database_service_client.testing.rules import MIB, RETRY_AFTER_S
from database_service_client.testing.state import FENCED, Server, Tenant, Work

PHASES = ("seating", "fencing", "copying", "verifying")


def credentials(tenant: Tenant) -> Credentials:
    server, login = _place(tenant), tenant.logins[-1]
    return Credentials(
        instance_id=tenant.instance_id,
        db_server_id=server.id,
        db_host=server.host,
        db_port=server.port,
        db_name=tenant.name,
        db_user=login.db_user,
        db_password=login.password,
        ssl_mode="prefer",
        ssl_root_cert=None,
    )


def allocation(tenant: Tenant) -> Allocation:
    return Allocation(
        **asdict(credentials(tenant)),
        status="allocated",
        customer_id=str(tenant.ask["customer_id"]),
        plan_tier=tenant.plan_tier,
        server_type=tenant.server_type,
        server_name=_place(tenant).name,
    )


def rotation(tenant: Tenant, alive: list[state.Login]) -> Rotation:
    return Rotation(**asdict(allocation(tenant)), logins=tuple(_told(login) for login in alive))


def pending(tenant: Tenant) -> Pending:
    return Pending(
        status="provisioning",
        instance_id=tenant.instance_id,
        database_status=tenant.status,
        db_server_id=tenant.server.id if tenant.server else None,
        retry_after=RETRY_AFTER_S,
        message=f"The database is {tenant.status}.",
    )


def database(tenant: Tenant, alive: list[state.Login]) -> Database:
    server = tenant.server
    return Database(
        id=tenant.id,
        instance_id=tenant.instance_id,
        customer_id=str(tenant.ask["customer_id"]),
        status=tenant.status,
        status_since=tenant.status_since,
        plan_tier=tenant.plan_tier,
        server_type=tenant.server_type,
        template=str(tenant.ask["template"]),
        protected=tenant.protected,
        db_server_id=server.id if server else None,
        db_host=server.host if server else None,
        db_port=server.port if server else None,
        db_name=tenant.name,
        server_name=server.name if server else None,
        server_status="active" if server else None,
        server_health="healthy" if server else None,
        postgres_version="18.0" if server else None,
        ssl_root_cert=None,
        limits=tenant.plan.limits,
        usage=None,
        logins=tuple(_told(login) for login in alive),
        attempts=0,
        last_error=None,
        created_at=tenant.created_at,
        ready_at=tenant.ready_at,
        released_at=tenant.released_at,
        purge_after=tenant.purge_after,
    )


def change(tenant: Tenant) -> DatabaseChange:
    return DatabaseChange(
        id=tenant.id,
        instance_id=tenant.instance_id,
        status=tenant.status,
        protected=tenant.protected,
        purge_after=tenant.purge_after,
    )


def move_report(work: Work, blockers: Sequence[str]) -> MoveReport:
    return MoveReport(
        instance_id=work.tenant.instance_id,
        moves=work.moves,
        plan_tier=str(work.ask["plan_tier"]),
        server_type=work.after.server_type if work.after else work.tenant.server_type,
        from_server=_named(work.before),
        to_server=_named(work.after) if work.after and work.after.server_type == "shared" else None,
        size_bytes=8 * MIB,
        tables=0,
        large_objects=0,
        extensions=(),
        estimated_downtime_s=work.takes_s * (1 - FENCED),
        blockers=tuple(blockers) if work.moves else (),
        losses=(),
    )


def operation(work: Work, now_s: float) -> OperationRecord:
    return OperationRecord(
        id=work.id,
        kind=work.kind,
        state=work.state,
        state_since=work.state_since,
        target={"plan_tier": work.ask["plan_tier"]},
        wish=work.wish,
        error=work.error,
        steps=(_step(work, now_s),),
        created_by="fake",
        created_at=work.created_at,
        finished_at=work.finished_at,
    )


def _step(work: Work, now_s: float) -> OperationStep:
    return OperationStep(
        ordinal=1,
        name=work.tenant.instance_id,
        subject_id=work.tenant.id,
        state=work.state,
        error=work.error,
        started_at=work.created_at,
        finished_at=work.finished_at,
        progress=_progress(work, now_s) if work.moves else None,
    )


def _progress(work: Work, now_s: float) -> Progress:
    """All phases take equally long; there is something to tell of the copying alone."""
    part = (now_s - work.began) / work.takes_s * len(PHASES)
    phase = PHASES[min(int(part), len(PHASES) - 1)]
    if work.finished_at:
        phase = "done" if work.state == "succeeded" else "undone"
    done = work.state == "succeeded"
    return Progress(
        phase=phase,
        fraction=round(part % 1, 3) if phase == "copying" else None,
        attempt=1,
        plan_tier=str(work.ask["plan_tier"]),
        from_server=work.before.name if work.before else "",
        to_server=work.after.name if work.after and phase != "seating" else None,
        size_bytes=8 * MIB,
        downtime_s=work.takes_s * (1 - FENCED) if done else None,
        switched_at=work.finished_at if done else None,
        kept_until=work.finished_at + timedelta(seconds=work.tenant.plan.grace_s)
        if done and work.finished_at
        else None,
    )


def _told(login: state.Login) -> Login:
    return Login(db_user=login.db_user, state="active", created_at=login.created_at, expires_at=login.expires_at)


def _named(server: Server | None) -> ServerRef | None:
    return ServerRef(id=server.id, name=server.name) if server else None


def _place(tenant: Tenant) -> Server:
    if tenant.server is None:
        raise AssertionError(f"{tenant.instance_id} is {tenant.status} and has no place")
    return tenant.server
