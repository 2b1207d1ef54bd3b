"""Drift on the wire."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from database_service.actions.remove_drift import Offer
from database_service.api.paging import cursor_of
from database_service.api.schemas.common import Hidden, In, Out, Text
from database_service.api.schemas.pools import Confirmation
from database_service.domain.drift import Drift, Kind, State
from database_service.domain.policy import Policy
from database_service.views.drift import DriftPage


class DriftOut(Out):
    """One thing that is not as the rows say."""

    id: UUID
    kind: Kind
    state: State = Field(
        description="`open`: it is there. `removing`: its removal is confirmed. `removed`: it was removed. `gone`: it "
        "is no longer so, without us."
    )
    provisioner: Text
    server_id: UUID = Field(description="The server it is, or is on; it may have no row.")
    server_name: Text
    thing: Text | None = Field(description="What of the server: a database, a role, a directory; null: itself.")
    told: list[Text] = Field(description="Exactly what there is.")
    remark: Text | None = Field(description="What may change from one look to the next, such as a size.")
    removable: bool = Field(description="Whether it may ever be removed.")
    kept_because: Text | None = Field(description="Why not, where it may not.")
    removable_from: datetime | None = Field(description="The end of its grace, where it may be removed.")
    first_seen: datetime
    last_seen: datetime
    gone_at: datetime | None
    confirmed_at: datetime | None
    confirmed_by: Text | None
    last_error: Text | None = Field(description="Why its removal did not succeed, or was refused.")

    @classmethod
    def of(cls, drift: Drift, policy: Policy) -> "DriftOut":
        found = drift.finding
        return cls(
            id=drift.id,
            kind=found.kind,
            state=drift.state,
            provisioner=found.provisioner,
            server_id=found.server_id,
            server_name=found.server_name,
            thing=found.thing or None,
            told=list(found.told),
            remark=found.remark or None,
            removable=found.kept is None,
            kept_because=found.kept,
            removable_from=None if found.kept else drift.removable_from(policy),
            first_seen=drift.first_seen,
            last_seen=drift.last_seen,
            gone_at=drift.gone_at,
            confirmed_at=drift.confirmed_at,
            confirmed_by=drift.confirmed_by,
            last_error=drift.last_error,
        )


class UnlookedOut(Out):
    where: Text
    why: Text


class DriftsOut(Out):
    """Findings in the order they were first found, and how far the last look reached."""

    drift: list[DriftOut]
    total_count: int
    next_cursor: Text | None
    looked_at: datetime | None = Field(description="When the last look began; null before the first.")
    not_looked_at: list[UnlookedOut] = Field(description="Places it could not look at; what was found there stays.")
    look_wanted: bool = Field(description="Somebody asked for a look that did not end yet.")

    @classmethod
    def of(cls, page: DriftPage, policy: Policy) -> "DriftsOut":
        return cls(
            drift=[DriftOut.of(drift, policy) for drift in page.drift],
            total_count=page.total,
            next_cursor=cursor_of(page.next_after),
            looked_at=page.look.began_at,
            not_looked_at=[UnlookedOut(where=where, why=why) for where, why in page.look.unlooked],
            look_wanted=page.look.wanted,
        )


class LookOut(Out):
    """A worker looks soon; the list tells when it did."""

    wanted_at: datetime


class RemoveIn(In):
    """Without `confirm` nothing is removed; it is told what would be."""

    confirm: Confirmation | None = None


class OfferOut(Out):
    """What exactly would be removed. Nothing was."""

    drift: DriftOut
    confirmation: Hidden = Field(description="Send it back as `confirm` to have just this removed.")
    expires_at: datetime = Field(description="Until when it counts.")

    @classmethod
    def of(cls, offer: Offer, policy: Policy) -> "OfferOut":
        return cls(drift=DriftOut.of(offer.drift, policy), confirmation=offer.confirmation, expires_at=offer.until)
