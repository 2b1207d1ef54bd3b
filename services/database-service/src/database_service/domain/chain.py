"""The chain of the audit trail: what a link is made of, and how somebody who walks it sees what was done to it.

Events are appended in the transaction of their change, thousands at once, so they are not chained as they are written:
each would wait for the one before. They are linked a moment later, in the order in which they are found.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

GENESIS = bytes(32)
"""The hash before the first one."""

LATE = timedelta(days=1)
"""How long after one event another with a lower id may still be linked. A transaction lives for seconds."""

_GRAIN = timedelta(hours=1)
"""How exactly that is known: one mark an hour, not one for each link."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change: who did what to which, when, why, from what to what, in which request."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    subject_id: UUID
    instance_id: str | None
    before: str | None
    after: str | None
    why: str | None
    request_id: str | None

    @property
    def canonical(self) -> bytes:
        """The same bytes for the same event, for ever, and others for any other."""
        told = [
            self.id, _moment(self.at), self.actor, self.action, self.subject, str(self.subject_id), self.instance_id,
            self.before, self.after, self.why, self.request_id,
        ]  # fmt: skip
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Link:
    """One event's place in the chain. `mac` signs it under the key `mac_key` of the ring."""

    seq: int
    event_id: int
    linked_at: datetime
    hash: bytes
    mac: bytes
    mac_key: str

    @property
    def signed(self) -> bytes:
        return signed(self.seq, self.linked_at, self.hash)


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends, or how far somebody walked it."""

    seq: int = 0
    hash: bytes = GENESIS


def hash_of(before: bytes, event: Event) -> bytes:
    return hashlib.sha256(before + event.canonical).digest()


def signed(seq: int, linked_at: datetime, hash_: bytes) -> bytes:
    """What a link's signature is of."""
    return f"{seq} {_moment(linked_at)} ".encode() + hash_


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


# -- walking it -------------------------------------------------------------------------------------------------------


class Flaw(StrEnum):
    CHANGED = "changed"
    MISSING = "missing"
    INSERTED = "inserted"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong first. `event_id` is None where nobody can say any more which event it was."""

    flaw: Flaw
    event_id: int | None
    seq: int
    told: str


class Walk:
    """Goes along the chain, link by link. Whoever walks shows each link with its event, in the order of `seq`."""

    def __init__(self, fits: Callable[[Link], bool], since: Head, closed: int = 0) -> None:
        """`fits` tells whether a link's signature is ours; up to the id `closed`, everything had been linked for long."""
        self._fits = fits
        self._last_event: int | None = None
        self._long_linked = LongLinked(closed)
        self.head = since
        self.walked = 0

    def step(self, link: Link, event: Event | None) -> Fault | None:
        """What is wrong with this link, if anything; the walk ends there."""
        fault = self._gap(link) or self._unlike(link, event)
        if fault is None and link.event_id <= self._long_linked.when(link.linked_at):
            told = f"event {link.event_id} was added among events that had been linked for more than a day"
            fault = Fault(Flaw.INSERTED, link.event_id, link.seq, told)
        if fault is None:
            self._long_linked.add(link)
            self._last_event = link.event_id
            self.head = Head(link.seq, link.hash)
            self.walked += 1
        return fault

    def unlinked(self, lowest: int, now: datetime) -> Fault | None:
        """What is wrong with events that are not linked yet, of which this is the lowest id."""
        if lowest > self._long_linked.when(now):
            return None
        told = f"event {lowest} is not linked, among events that have been for more than a day"
        return Fault(Flaw.INSERTED, lowest, self.head.seq, told)

    def _gap(self, link: Link) -> Fault | None:
        missing = link.seq - self.head.seq - 1
        if not missing:
            return None
        after = "at the beginning" if self._last_event is None else f"linked after event {self._last_event}"
        told = f"{missing} event(s) {after} were removed together with their links"
        return Fault(Flaw.MISSING, None, self.head.seq + 1, told)

    def _unlike(self, link: Link, event: Event | None) -> Fault | None:
        if not self._fits(link):
            told = f"the link of event {link.event_id} is not signed with the key {link.mac_key!r} of this key ring"
            return Fault(Flaw.UNSIGNED, link.event_id, link.seq, told)
        if event is None:
            return Fault(Flaw.MISSING, link.event_id, link.seq, f"event {link.event_id} was removed")
        if hash_of(self.head.hash, event) != link.hash:
            return Fault(Flaw.CHANGED, link.event_id, link.seq, f"event {link.event_id} is not what was linked")
        return None


class LongLinked:
    """Below which id everything has been linked for long, so that nothing honest comes there any more."""

    def __init__(self, closed: int) -> None:
        self._marks: deque[tuple[datetime, int]] = deque()
        self._highest = self._closed = closed

    def add(self, link: Link) -> None:
        self._highest = max(self._highest, link.event_id)
        if not self._marks or link.linked_at - self._marks[-1][0] > _GRAIN:
            self._marks.append((link.linked_at, self._highest))
        self._marks[-1] = (self._marks[-1][0], self._highest)

    def when(self, now: datetime) -> int:
        while self._marks and self._marks[0][0] < now - LATE - _GRAIN:
            self._closed = self._marks.popleft()[1]
        return self._closed
