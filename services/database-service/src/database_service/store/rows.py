"""Rows become values here, and nowhere above."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from database_service.domain import drift
from database_service.domain.answers import Token
from database_service.domain.chain import Event
from database_service.domain.databases import Ask, Database, Login, LoginState
from database_service.domain.databases import Status as DatabaseStatus
from database_service.domain.drift import Drift, Finding
from database_service.domain.ids import CustomerId, TokenId
from database_service.domain.moves import Move, Phase, Terms
from database_service.domain.operations import Kind, Operation, State, Step, StepState, Target, Values, Wish
from database_service.domain.plans import ServerType, Tier
from database_service.domain.servers import Health, Server
from database_service.domain.servers import Status as ServerStatus
from database_service.domain.tls import Authority, Identity
from database_service.domain.usage import Counters, Level, Rates, Standing, Stop, Usage

SERVER = """s.id, s.seq, s.name, s.server_type, s.provisioner, s.status, s.status_since, s.health_status, s.health_failures,
 s.health_message, s.last_health_check, s.cordoned, s.cordon_reason, s.manual, s.priority, s.max_instances, s.instance_id,
 s.customer_id, s.plan_tier, s.host, s.port, s.admin_user, s.admin_password_sealed, s.admin_password_version,
 s.admin_password_next, s.image, s.postgres_version, s.cpu_limit, s.memory_limit, s.facts, s.keep_data_until, s.due_at,
 s.version, s.attempts, s.last_error, s.created_at, s.updated_at,
 (SELECT to_jsonb(c) || jsonb_build_object('authorities', (SELECT jsonb_agg(to_jsonb(a) ORDER BY a.generation) FROM authorities a))
  FROM certificates c WHERE c.server_id = s.id) AS tls"""

DATABASE = """d.id, d.status, d.status_since, d.instance_id, d.customer_id, d.asked_tier, d.server_type, d.require_dedicated,
 d.database_name, d.plan_tier, d.limits_tier, d.template, d.server_id, d.name, d.physical_name, d.owner_role, d.protected,
 d.purge_after, d.due_at, d.version, d.attempts, d.last_error, d.created_at, d.ready_at, d.released_at, d.twin_of, d.rank,
 d.stop, d.stop_wanted"""

DRIFT = """d.id, d.seq, d.kind, d.provisioner, d.server_id, d.server_name, d.thing, d.told, d.remark, d.kept, d.first_seen,
 d.last_seen, d.gone_at, d.confirmation, d.confirmed_at, d.confirmed_by, d.begun_at, d.due_at, d.attempts, d.last_error"""

ROOTS = """(SELECT string_agg(a.certificate, '' ORDER BY a.generation) FROM authorities a
  WHERE EXISTS (SELECT FROM certificates c WHERE c.server_id = s.id)) AS roots"""
"""Who vouches for the server `s`, as PEM; null where it speaks no TLS."""

LOGIN = "l.id, l.database_id, l.role, l.password_sealed, l.state, l.created_at, l.expires_at"


USAGE = """u.database_id, u.server_id, u.sampled_at, u.connections, u.oldest_transaction_s, u.transactions, u.blocks, u.temp_bytes,
 u.busy_s, u.transactions_per_s, u.blocks_per_s, u.temp_bytes_per_s, u.busy, u.size_bytes, u.written, u.sized_at, u.tier, u.level,
 u.level_since, u.stopped_bytes"""

OPERATION = """o.id, o.seq, o.kind, o.state, o.state_since, o.target, o.wish, o.created_by, o.due_at, o.version, o.last_error,
 o.created_at, o.finished_at, o.lease_token"""

MOVE = """m.operation_id, m.ordinal, m.database_id, m.source_id, m.target_id, m.twin_id, m.tier_before, m.tier_after, m.type_before,
 m.type_after, m.dedicated_before, m.dedicated_after, m.back, m.phase, m.phase_since, m.attempt, m.tries, m.stale, m.mover_role,
 m.mover_password_sealed, m.size_bytes, m.fraction, m.kept_until, m.fenced_at, m.switched_at, m.opened_at, m.undone_why"""


def readable(moment: str) -> str:
    """SQL: the moment, within the years that Python has. Only who writes rows by hand leaves them, and that must be seen."""
    return f"greatest(least({moment}, '9999-12-30 00:00:00+00'::timestamptz), '0001-01-02 00:00:00+00'::timestamptz)"


EVENT = f"""e.id, {readable("e.at")} AS at, e.actor, e.action, e.subject, e.subject_id, e.instance_id, e.before, e.after, e.why,
 e.request_id"""

LINK = f"l.seq, l.event_id, {readable('l.linked_at')} AS linked_at, l.hash, l.mac, l.mac_key"

TOKEN = "id, name, scopes, customer_id, created_at, created_by, expires_at, revoked_at, last_used_at"  # noqa: S105  columns

STEP = """p.operation_id, p.ordinal, p.name, p.subject_id, p.state, p.state_since, p.detail, p.error, p.started_at,
 p.finished_at"""


def server_of(row: asyncpg.Record) -> Server:
    return Server(
        id=row["id"],
        seq=row["seq"],
        name=row["name"],
        server_type=ServerType(row["server_type"]),
        provisioner=row["provisioner"],
        status=ServerStatus(row["status"]),
        status_since=row["status_since"],
        health=Health(row["health_status"]),
        health_failures=row["health_failures"],
        health_message=row["health_message"],
        last_health_check=row["last_health_check"],
        cordoned=row["cordoned"],
        cordon_reason=row["cordon_reason"],
        manual=row["manual"],
        priority=row["priority"],
        max_instances=row["max_instances"],
        instance_id=row["instance_id"],
        customer_id=row["customer_id"],
        plan_tier=Tier(row["plan_tier"]) if row["plan_tier"] else None,
        host=row["host"],
        port=row["port"],
        admin_user=row["admin_user"],
        admin_password_sealed=row["admin_password_sealed"],
        admin_password_version=row["admin_password_version"],
        admin_password_next=row["admin_password_next"],
        image=row["image"],
        postgres_version=row["postgres_version"],
        cpu_limit=row["cpu_limit"],
        memory_limit=row["memory_limit"],
        facts=row["facts"],
        keep_data_until=row["keep_data_until"],
        due_at=row["due_at"],
        version=row["version"],
        attempts=row["attempts"],
        last_error=row["last_error"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        tls=identity_of(row["tls"]) if row["tls"] else None,
    )


def identity_of(told: Mapping[str, Any]) -> Identity:
    """From a row of `certificates` as JSON has it, with the `authorities` beside it."""
    return Identity(
        key_id=told["key_id"],
        key_sealed=bytes_of(told["key_sealed"]),
        certificate=told["certificate"],
        names=frozenset(told["names"]),
        not_after=datetime.fromisoformat(told["not_after"]),
        authority_id=UUID(told["authority_id"]),
        installed=told["installed"],
        authorities=tuple(_authority_of(each) for each in told["authorities"]),
    )


def bytes_of(told: str) -> bytes:
    """From a `bytea` as JSON has it."""
    return bytes.fromhex(told.removeprefix("\\x"))


def _authority_of(told: Mapping[str, Any]) -> Authority:
    issues_from = datetime.fromisoformat(told["issues_from"])
    return Authority(UUID(told["id"]), told["generation"], told["certificate"], issues_from)


def _ask_of(row: asyncpg.Record) -> Ask | None:
    if row["instance_id"] is None:
        return None
    return Ask(
        instance_id=row["instance_id"],
        customer_id=row["customer_id"],
        plan_tier=Tier(row["asked_tier"]),
        server_type=ServerType(row["server_type"]),
        require_dedicated=row["require_dedicated"],
        database_name=row["database_name"],
        template=row["template"],
    )


def database_of(row: asyncpg.Record) -> Database:
    return Database(
        id=row["id"],
        status=DatabaseStatus(row["status"]),
        status_since=row["status_since"],
        ask=_ask_of(row),
        plan_tier=Tier(row["plan_tier"]),
        limits_tier=Tier(row["limits_tier"]) if row["limits_tier"] else None,
        template=row["template"],
        server_id=row["server_id"],
        name=row["name"],
        physical_name=row["physical_name"],
        owner_role=row["owner_role"],
        protected=row["protected"],
        purge_after=row["purge_after"],
        due_at=row["due_at"],
        version=row["version"],
        attempts=row["attempts"],
        last_error=row["last_error"],
        created_at=row["created_at"],
        ready_at=row["ready_at"],
        released_at=row["released_at"],
        twin_of=row["twin_of"],
        rank=row["rank"],
        stop=Stop(row["stop"]) if row["stop"] else None,
        stop_wanted=Stop(row["stop_wanted"]),
    )


def usage_of(row: asyncpg.Record) -> Usage:
    return Usage(
        database_id=row["database_id"],
        server_id=row["server_id"],
        sampled_at=row["sampled_at"],
        connections=row["connections"],
        oldest_transaction_s=row["oldest_transaction_s"],
        counters=Counters(row["transactions"], row["blocks"], row["temp_bytes"], row["busy_s"]),
        rates=rates_of(row),
        size_bytes=row["size_bytes"],
        written=row["written"],
        sized_at=row["sized_at"],
    )


def rates_of(row: asyncpg.Record) -> Rates | None:
    if row["busy"] is None:
        return None
    return Rates(row["transactions_per_s"], row["blocks_per_s"], row["temp_bytes_per_s"], row["busy"])


def standing_of(row: asyncpg.Record, tier: Tier) -> Standing:
    """`tier` counts for what was never judged."""
    return Standing(
        tier=Tier(row["tier"]) if row["tier"] else tier,
        level=Level(row["level"]),
        stop=Stop(row["stop_wanted"]),
        stopped_bytes=row["stopped_bytes"],
    )


def login_of(row: asyncpg.Record) -> Login:
    return Login(
        id=row["id"],
        database_id=row["database_id"],
        role=row["role"],
        password_sealed=row["password_sealed"],
        state=LoginState(row["state"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )


def drift_of(row: asyncpg.Record) -> Drift:
    finding = Finding(
        kind=drift.Kind(row["kind"]),
        provisioner=row["provisioner"],
        server_id=row["server_id"],
        server_name=row["server_name"],
        thing=row["thing"],
        told=tuple(row["told"]),
        remark=row["remark"],
        kept=row["kept"],
    )
    return Drift(
        id=row["id"],
        seq=row["seq"],
        finding=finding,
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        gone_at=row["gone_at"],
        confirmation=row["confirmation"],
        confirmed_at=row["confirmed_at"],
        confirmed_by=row["confirmed_by"],
        begun_at=row["begun_at"],
        due_at=row["due_at"],
        attempts=row["attempts"],
        last_error=row["last_error"],
    )


def operation_of(row: asyncpg.Record) -> Operation:
    return Operation(
        id=row["id"],
        seq=row["seq"],
        kind=Kind(row["kind"]),
        state=State(row["state"]),
        state_since=row["state_since"],
        target=Target(**row["target"]),
        wish=Wish(row["wish"]) if row["wish"] else None,
        created_by=row["created_by"],
        due_at=row["due_at"],
        version=row["version"],
        last_error=row["last_error"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        lease_token=row["lease_token"],
    )


def step_of(row: asyncpg.Record) -> Step:
    detail = row["detail"]
    return Step(
        operation_id=row["operation_id"],
        ordinal=row["ordinal"],
        name=row["name"],
        subject_id=row["subject_id"],
        state=StepState(row["state"]),
        state_since=row["state_since"],
        before=Values(**detail["before"]) if detail.get("before") else None,
        seen_before=detail.get("seen_before"),
        error=row["error"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def move_of(row: asyncpg.Record) -> Move:
    return Move(
        operation_id=row["operation_id"],
        ordinal=row["ordinal"],
        database_id=row["database_id"],
        source_id=row["source_id"],
        target_id=row["target_id"],
        twin_id=row["twin_id"],
        before=_terms_of(row, "before"),
        after=_terms_of(row, "after"),
        back=row["back"],
        phase=Phase(row["phase"]),
        phase_since=row["phase_since"],
        attempt=row["attempt"],
        tries=row["tries"],
        stale=tuple(row["stale"]),
        mover_role=row["mover_role"],
        mover_password_sealed=row["mover_password_sealed"],
        size_bytes=row["size_bytes"],
        fraction=row["fraction"],
        kept_until=row["kept_until"],
        fenced_at=row["fenced_at"],
        switched_at=row["switched_at"],
        opened_at=row["opened_at"],
        undone_why=row["undone_why"],
    )


def _terms_of(row: asyncpg.Record, when: str) -> Terms:
    return Terms(Tier(row[f"tier_{when}"]), ServerType(row[f"type_{when}"]), row[f"dedicated_{when}"])


def event_of(row: asyncpg.Record) -> Event:
    return Event(
        id=row["id"],
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        subject=row["subject"],
        subject_id=row["subject_id"],
        instance_id=row["instance_id"],
        before=row["before"],
        after=row["after"],
        why=row["why"],
        request_id=row["request_id"],
    )


def token_of(row: asyncpg.Record) -> Token:
    return Token(
        id=TokenId(row["id"]),
        name=row["name"],
        scopes=tuple(row["scopes"]),
        customer_id=CustomerId(row["customer_id"]) if row["customer_id"] else None,
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
