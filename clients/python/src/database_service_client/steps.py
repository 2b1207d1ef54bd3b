"""What a verb is made of: a generator that says what it wants done, and is told what came of it.

It does no I/O and knows no event loop, so each verb is written once; `drivers` do what is wanted, blocking or awaiting.
"""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import httpx

T = TypeVar("T")
PageT = TypeVar("PageT", bound="Page")

Scalar = str | int | float | bool
Body = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request below `/api/database`. What is None in `query` and `body` is left out."""

    method: str
    path: str
    query: Mapping[str, Scalar | None] = field(default_factory=dict)
    body: Body | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    held_s: float = 0
    """How long the service was asked to hold it before it answers; comes on top of every timeout."""
    until: float | None = None
    """By the client's clock: who waits for it has no more use for an answer then. None: as long as it takes."""
    repeatable: bool = True
    """Whether it may be sent again when nobody knows whether it arrived."""
    also_answers: frozenset[int] = frozenset()
    """Statuses that are no success and yet an answer, not an error."""


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float
    idle: bool = False
    """Nothing is expected to have happened after it: somebody only listens."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Call a caller's function. Where the client awaits, so may the function."""

    listener: Callable[[Any], object]
    what: object


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """One of the things that a stream yields to its caller."""

    value: T


Effect = Call | Pause | Tell
Came = httpx.Response | httpx.TransportError | None
"""What an effect led to; only calls lead to something."""
Steps = Generator[Effect, Any, T]
Stream = Generator[Effect | Item[T], Any, None]


def exchange(call: Call) -> Steps[httpx.Response]:
    """Send it once. httpx.TransportError where there was no answer."""
    came: httpx.Response | httpx.TransportError = yield call
    if isinstance(came, httpx.TransportError):
        raise came
    return came


class Page(Protocol):
    """What lists answer with."""

    @property
    def next_cursor(self) -> str | None: ...


def paged(page_at: Callable[[str | None], Steps[PageT]], of: Callable[[PageT], Iterable[T]]) -> Stream[T]:
    """What is on all pages, from the first on, which has no cursor; each page is read when it is needed."""
    cursor: str | None = None
    while True:
        page = yield from page_at(cursor)
        yield from map(Item, of(page))
        if (cursor := page.next_cursor) is None:
            return


def pause(seconds: float, *, idle: bool = False) -> Steps[None]:
    yield Pause(seconds, idle)


def tell(listener: Callable[[T], object] | None, what: T) -> Steps[None]:
    if listener is not None:
        yield Tell(listener, what)
