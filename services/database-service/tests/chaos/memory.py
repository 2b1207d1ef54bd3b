"""What clients were told, and what follows from it: contradictions show as soon as they are told."""

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LATE_S = 90.0
"""Longer than any fault lasts and anything waits."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is None where no answer came: what was asked for may have been done, or may yet be. `body` as it came."""

    status: int | None
    body: Any = None

    @property
    def code(self) -> str | None:
        """What a problem is called."""
        return self.body.get("code") if isinstance(self.body, dict) else None

    @property
    def certain(self) -> bool:
        """Whether the asker knows now: neither silence, nor word that something else does not answer."""
        return self.status is not None and self.status not in (429, 500, 502, 503, 504)

    def __str__(self) -> str:
        return "no answer" if self.status is None else f"{self.status} {self.code or ''}".strip()


@dataclass(slots=True)
class Journal:
    """Answers by verb, and whatever a client was told that cannot be."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def note(self, verb: str, answer: Answer) -> None:
        self.answers[verb, str(answer)] += 1
        if answer.status == 500:
            self.complain(f"{verb} was answered with a defect: {answer.body}")

    def complain(self, what: str) -> None:
        self.complaints.append(what)


class Works(StrEnum):
    """Whether a login may still be used."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


@dataclass(slots=True)
class Given:
    """Credentials as they were answered."""

    user: str
    password: str
    database: str
    works: Works = Works.YES


class Door(StrEnum):
    """What was last asked for and answered. `ASKED`: an allocation was accepted, and not said to be done yet."""

    UNKNOWN = "unknown"
    ASKED = "asked"
    OPEN = "open"
    SHUT = "shut"


@dataclass(slots=True)
class Life:
    """One instance as its client knows it."""

    instance: str
    customer: str
    plan: str
    door: Door = Door.UNKNOWN
    opening: bool = False
    """An allocation or undeletion was asked for, and no certain answer has come."""
    shutting: bool = False
    """The same for a release."""
    late: dict[str, float] = field(default_factory=dict)
    """Verbs of which a request may still be on its way, and until when (monotonic): their opposite is not asked for."""
    plan_sure: bool = True
    given: list[Given] = field(default_factory=list)
    """The newest last."""
    rotations: int = 0
    """Keys with which a rotation was asked for."""
    rotated: int = 0
    """How many of them were answered with new credentials."""
    reads: int = 0
    """Reads of credentials that were answered."""
    place: tuple[str, int] | None = None
    kept: set[int] = field(default_factory=set)
    """Rows whose commit was acknowledged."""
    written: int = 0
    """Rows that were tried."""
    released: int = 0
    undeleted: int = 0
    plans_changed: int = 0
    gone: bool = False
    """It was said to be deleted for good."""

    @property
    def newest(self) -> Given | None:
        return self.given[-1] if self.given else None

    def may_come(self, verb: str) -> bool:
        """A request whose answer nobody waits for any more may still arrive, held up by a wire or by who should serve it."""
        return time.monotonic() < self.late.get(verb, 0)

    def be_late(self, verb: str) -> None:
        self.late[verb] = time.monotonic() + LATE_S

    @property
    def settled(self) -> bool:
        return self.door is not Door.UNKNOWN and not self.opening and not self.shutting

    @property
    def ask(self) -> dict[str, str]:
        return {"instance_id": self.instance, "customer_id": self.customer, "plan_tier": self.plan}

    def learn(self, body: dict[str, Any]) -> str | None:
        """Credentials that were answered; why they cannot be, where they contradict others."""
        told = Given(body["db_user"], body["db_password"], body["db_name"])
        self.place = (body["db_host"], body["db_port"])
        known = next((given for given in self.given if given.user == told.user), None)
        if known is None:
            return self._learn_new(told)
        if (known.password, known.database) != (told.password, told.database):
            return f"{self.instance}: {told.user} was answered with two passwords or databases"
        if known is not self.newest:
            return f"{self.instance}: {told.user} was answered after a newer login had been"
        return None

    def _learn_new(self, told: Given) -> str | None:
        if self.given and told.database != self.given[0].database:
            return f"{self.instance}: its database was {self.given[0].database} and is {told.database}"
        if self.may_come("rotate"):
            told.works = Works.UNSURE
        self.given.append(told)
        if len(self.given) > 1 + self.rotations:
            return f"{self.instance}: {len(self.given)} logins were answered for {self.rotations} rotations"
        return None

    def end_older(self, *, sure: bool) -> None:
        """A rotation without overlap: those before the newest do not work any more."""
        for given in self.given[:-1]:
            if given.works is not Works.NO:
                given.works = Works.NO if sure else Works.UNSURE


@dataclass(slots=True)
class Race:
    """An instance that several clients ask for at once, some of them as another customer: who was told what."""

    instance: str
    told: dict[str, set[tuple[Any, ...]]] = field(default_factory=dict)
    """Credentials by the customer who was given them."""
    asked: set[str] = field(default_factory=set)

    def learn(self, customer: str, body: dict[str, Any]) -> str | None:
        seat = tuple(body[key] for key in ("db_name", "db_user", "db_password"))
        self.told.setdefault(customer, set()).add(seat)
        if len(self.told) > 1:
            return f"{self.instance} was given to {' and to '.join(sorted(self.told))}"
        if len(self.told[customer]) > 1:
            return f"{self.instance}: different credentials for the same request"
        return None


@dataclass(slots=True)
class Own:
    """A pool that a client ordered."""

    key: str
    id: str | None = None
    cordoned: bool | None = None
    """None: not known."""
    retiring: bool = False
    """It was asked for; `retired` if it was answered."""
    retired: bool = False
    cordons: int = 0
