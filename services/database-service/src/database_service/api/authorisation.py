"""Who gets which answer where: the table of the manual, read off the routes' guards. A test tries all of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fastapi.routing import APIRoute

from database_service.api.openapi import guard_of
from database_service.auth.guard import requires
from database_service.auth.scopes import OF_CONSUMERS, Scope


class Answer(StrEnum):
    LET_IN = "let in"
    OWN_ALONE = "only its own"
    UNAUTHENTICATED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation, and what it answers to whom."""

    method: str
    path: str
    scope: Scope | None
    """None: it is open to all."""
    without_token: Answer
    """Also to a malformed, unknown, expired or revoked one."""
    without_scope: Answer
    with_scope: Answer
    of_this_customer: Answer
    """To a token with all scopes that one of a customer can have, where the customer is the thing's."""
    of_another_customer: Answer


def entries(routes: Iterable[APIRoute]) -> Iterator[Entry]:
    """The whole table, in the order of the contract."""
    for route in routes:
        for method in sorted(route.methods or ()):
            yield _entry(method, route, guard_of(route))


def page(routes: Iterable[APIRoute]) -> str:
    """docs/reference/authorisation.md"""
    return _INTRODUCTION + "".join(f"{_row(entry)}\n" for entry in entries(routes))


def _entry(method: str, route: APIRoute, guard: requires | None) -> Entry:
    if guard is None:
        return Entry(method, route.path_format, None, *[Answer.LET_IN] * 5)
    theirs, others = _of_customers(route, guard)
    return Entry(
        method, route.path_format, guard.scope, Answer.UNAUTHENTICATED, Answer.FORBIDDEN, Answer.LET_IN, theirs, others
    )


def _of_customers(route: APIRoute, guard: requires) -> tuple[Answer, Answer]:
    if guard.scope not in OF_CONSUMERS:
        return Answer.FORBIDDEN, Answer.FORBIDDEN
    if {"instance_id", "operation_id"} & route.param_convertors.keys():
        return Answer.LET_IN, Answer.NOT_FOUND
    if not guard.keeps_to_customer:
        return Answer.FORBIDDEN, Answer.FORBIDDEN
    return (Answer.LET_IN, Answer.FORBIDDEN) if route.body_field else (Answer.OWN_ALONE, Answer.OWN_ALONE)


def _row(entry: Entry) -> str:
    scope = f"`{entry.scope}`" if entry.scope else "open"
    answers = (
        entry.without_token, entry.without_scope, entry.with_scope, entry.of_this_customer, entry.of_another_customer
    )  # fmt: skip
    return f"| `{entry.method} {entry.path}` | {scope} | {' | '.join(answers)} |"


_INTRODUCTION = """\
# Authorisation

What each operation answers to whom, before it looks at anything else. A test asks every operation with every kind of
token and compares the answers with this table, which is made from the same guards.

- **no token**: nor one that is malformed, unknown, expired or revoked.
- **no scope**: a valid token without the scope of the operation, whatever other scopes it holds. Scopes stand alone.
- **of the customer**: a token that is bound to the customer whose database or operation it is, with every scope such a
  token may hold. **Of another**: the same for another customer. What is another customer's is not found, with the very
  words for what does not exist; asking for a database for another customer is forbidden. An operation is a customer's
  where all that it works on is.

Operations other than changes of plan are steered with `admin:write` besides. An id of an instance that another customer
has already is refused to any caller with `allocation_differs`: ids are one space for all customers.

| operation | scope | no token | no scope | scope | of the customer | of another |
|---|---|---|---|---|---|---|
"""
