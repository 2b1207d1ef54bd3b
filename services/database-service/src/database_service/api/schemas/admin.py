"""Statistics, events, tokens and health on the wire."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from database_service.api.paging import cursor_of
from database_service.api.schemas.common import CallerId, Hidden, In, Line, Moment, Out, Text
from database_service.auth.scopes import Scope
from database_service.domain.answers import Token
from database_service.domain.chain import Event, Flaw
from database_service.domain.secret import Secret
from database_service.views.chain import Verification
from database_service.views.events import EventPage
from database_service.views.stats import Stats


class StatsOut(Out):
    """The fleet in numbers. Capacity and use are slots, on servers that are not `deprovisioning`; utilization is percent."""

    total_pools: int
    active_pools: int = Field(description="Servers that are shown as `active`: not cordoned, and with a free slot.")
    total_capacity: int
    total_used: int
    total_free: int
    total_spare: int
    total_waiting: int
    overall_utilization: float
    by_status: Mapping[str, int] = Field(description="Servers by status, in the words of the list of pools.")
    by_type: Mapping[str, int]
    by_health: Mapping[str, int]
    databases: Mapping[str, int] = Field(
        description="Databases by status; the `purged` are those still to be dropped, which hold their slots."
    )

    @classmethod
    def of(cls, stats: Stats) -> "StatsOut":
        return cls(
            total_pools=stats.servers,
            active_pools=stats.active,
            total_capacity=stats.capacity,
            total_used=stats.used,
            total_free=stats.free,
            total_spare=stats.databases.get("spare", 0),
            total_waiting=stats.databases.get("waiting", 0),
            overall_utilization=round(100 * stats.used / stats.capacity, 1) if stats.capacity else 0.0,
            by_status=stats.by_status,
            by_type=stats.by_type,
            by_health=stats.by_health,
            databases=stats.databases,
        )


class EventOut(Out):
    """One change: who did what to which, when, why, from what to what, in which request."""

    id: int
    at: datetime
    actor: Text
    action: Text
    subject: Text
    subject_id: UUID
    instance_id: Text | None
    before: Text | None
    after: Text | None
    why: Text | None
    request_id: Text | None

    @classmethod
    def of(cls, event: Event) -> "EventOut":
        return cls(
            id=event.id,
            at=event.at,
            actor=event.actor,
            action=event.action,
            subject=event.subject,
            subject_id=event.subject_id,
            instance_id=event.instance_id,
            before=event.before,
            after=event.after,
            why=event.why,
            request_id=event.request_id,
        )


class EventsOut(Out):
    events: list[EventOut]
    next_cursor: Text | None

    @classmethod
    def of(cls, page: EventPage) -> "EventsOut":
        return cls(events=[EventOut.of(event) for event in page.events], next_cursor=cursor_of(page.next_before))


class FaultOut(Out):
    flaw: Flaw
    event_id: int | None = Field(description="Null where nobody can say any more which event it was.")
    told: Text


class VerificationOut(Out):
    """How far the audit trail is as it was written. `fault` is what is wrong first; nothing after it was looked at."""

    ok: bool
    complete: bool = Field(
        description="The end was reached. Where it was not, and all is well, go on `since` this `head`."
    )
    verified: int = Field(description="Events that are as they were linked.")
    unlinked: int | None = Field(
        description="The newest, which are not linked yet: of these nothing is known. Null where the end was not reached."
    )
    head: Text | None = Field(
        description="The last link that is well. Keep it elsewhere and give it as `since`: then also a trail that was cut "
        "off or made anew is found out."
    )
    fault: FaultOut | None
    checked_at: datetime

    @classmethod
    def of(cls, found: Verification) -> "VerificationOut":
        fault = found.fault
        return cls(
            ok=fault is None,
            complete=found.complete,
            verified=found.verified,
            unlinked=found.unlinked,
            head=f"{found.head.seq}:{found.head.hash.hex()}" if found.head.seq else None,
            fault=FaultOut(flaw=fault.flaw, event_id=fault.event_id, told=fault.told) if fault else None,
            checked_at=found.at,
        )


class IssueIn(In):
    name: Line
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    expires_at: Moment | None = Field(None, description="Without it the token is valid until it is revoked.")
    customer_id: CallerId | None = Field(
        None,
        description="The token sees and touches this customer's databases alone; it may hold only scopes `databases:…`.",
    )


class TokenOut(Out):
    id: UUID
    name: Text
    scopes: list[Text]
    customer_id: Text | None = Field(description="Whose databases alone it is for; null: everybody's.")
    created_at: datetime
    created_by: Text
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")

    @classmethod
    def of(cls, token: Token) -> "TokenOut":
        return cls(
            id=token.id,
            name=token.name,
            scopes=list(token.scopes),
            customer_id=token.customer_id,
            created_at=token.created_at,
            created_by=token.created_by,
            expires_at=token.expires_at,
            revoked_at=token.revoked_at,
            last_used_at=token.last_used_at,
        )


class IssuedOut(TokenOut):
    token: Hidden = Field(description="Shown this once; only its hash is stored.")

    @classmethod
    def with_text(cls, token: Token, secret: Secret) -> "IssuedOut":
        return cls(**TokenOut.of(token).__dict__, token=secret.reveal())


class TokensOut(Out):
    tokens: list[TokenOut]


class AliveOut(Out):
    status: Literal["alive"] = "alive"
    checked: list[Text] = Field(default=["this process answers"], description="All that this answer stands for.")


class CheckOut(Out):
    ok: bool
    ms: float
    message: Text | None = None


class ReadyOut(Out):
    """`ready`: all is well. `degraded`: requests are served, but work behind them waits. `unavailable`: they are not."""

    status: Literal["ready", "degraded", "unavailable"]
    control_database: CheckOut
    broker: CheckOut | None = Field(description="Null where none is configured.")
    overdue_seconds: float | None = Field(
        description="How long the oldest due work has waited for a worker; null if unknown."
    )
