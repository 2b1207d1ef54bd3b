"""Drift: ask for a look, and agree to a removal: first what exactly would go, then, with its confirmation, that."""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from database_service.deps import Deps
from database_service.domain.drift import Drift, State, confirmation, expiry
from database_service.domain.errors import (
    ConfirmationExpired,
    ConfirmationMismatch,
    DriftInGrace,
    DriftNotFound,
    DriftNotRemovable,
)
from database_service.domain.ids import DriftId, Who
from database_service.store import drift, events


@dataclass(frozen=True, slots=True)
class Offer:
    """What would be removed, and the word that agrees to just that."""

    drift: Drift
    confirmation: str
    until: datetime


async def want_look(deps: Deps) -> datetime:
    """Have a worker look soon; returns since when that is wanted."""
    now = deps.now()
    async with deps.db.connection() as conn:
        await drift.want_look(conn, now)
    deps.nudge.drift()
    return now


async def offer(deps: Deps, drift_id: DriftId) -> Offer:
    """Changes nothing. Raises DriftNotFound, DriftNotRemovable, DriftInGrace."""
    async with deps.db.connection() as conn:
        row = await drift.get(conn, drift_id)
    found = _removable(deps, drift_id, row)
    until = (deps.now() + deps.policy.drift_confirmation).replace(microsecond=0) + timedelta(seconds=1)
    return Offer(found, confirmation(found.id, found.finding, until), until)


async def confirm(deps: Deps, drift_id: DriftId, code: str, who: Who) -> Drift:
    """Its removal is wanted from now on; the worker looks once more and removes it. Asked again, the same answer.

    Raises what `offer` raises, ConfirmationMismatch, ConfirmationExpired.
    """
    async with deps.db.transaction() as conn:
        row = await drift.lock(conn, drift_id)
        if row and row.confirmation == code and row.state in (State.REMOVING, State.REMOVED):
            return row
        found = _removable(deps, drift_id, row)
        _agree(deps, found, code)
        now = deps.now()
        confirmed = await drift.confirm(conn, drift_id, code, who, now)
        await events.append(
            conn, at=now, who=who, action="drift.removal_confirmed", subject="drift", subject_id=drift_id,
            before=found.finding.kind, why="; ".join(found.finding.told),
        )  # fmt: skip
    deps.nudge.drift()
    return confirmed


def _removable(deps: Deps, drift_id: DriftId, row: Drift | None) -> Drift:
    if row is None:
        raise DriftNotFound(drift_id)
    if row.gone_at:
        raise DriftNotRemovable("It is no longer there.")
    if row.finding.kept:
        raise DriftNotRemovable(row.finding.kept)
    if deps.now() < row.removable_from(deps.policy):
        raise DriftInGrace(row.removable_from(deps.policy))
    return row


def _agree(deps: Deps, row: Drift, code: str) -> None:
    until = expiry(code)
    if until is None or not hmac.compare_digest(confirmation(row.id, row.finding, until).encode(), code.encode()):
        raise ConfirmationMismatch
    if deps.now() >= until or until > deps.now() + deps.policy.drift_confirmation + timedelta(seconds=1):
        raise ConfirmationExpired(until)
