"""Requests to the stand-in, each to what it asks for."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from pydantic import TypeAdapter

from database_service_client.models import Alive, Check, OperationPage, OperationRecord, Problem, Readiness
from database_service_client.settings import PREFIX
from database_service_client.testing import answers
from database_service_client.testing.rules import RETRY_AFTER_S, STATUS, Refused
from database_service_client.testing.state import Tenant, Work
from database_service_client.testing.world import ENDED, UNFINISHED, World

_WAIT = re.compile(r"wait=(\d+)")
LONGEST_HELD_S = 30


class NotFaked(AssertionError):
    """The stand-in does not know this endpoint: a test that needs it needs the service."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. `part` is the part of its path that varies."""

    request: httpx.Request
    part: str
    body: Mapping[str, Any]

    @property
    def held_s(self) -> int:
        found = _WAIT.search(self.request.headers.get("prefer", ""))
        return min(LONGEST_HELD_S, int(found[1] if found else self.query.get("wait", 0)))

    @property
    def query(self) -> httpx.QueryParams:
        return self.request.url.params

    @property
    def key(self) -> str | None:
        key: str | None = self.request.headers.get("idempotency-key")
        return key


Answer = tuple[int, object]


class Door:
    def __init__(self, world: World) -> None:
        self._world = world
        self._done: dict[tuple[str, str], UUID] = {}
        """Which operation an Idempotency-Key began, by path."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        self._world.look()
        try:
            status, what = self._route(request)
        except Refused as refused:
            return problem(request, refused)
        headers = {"X-Request-ID": request.headers.get("x-request-id", "")}
        if status == httpx.codes.ACCEPTED:
            headers["Retry-After"] = str(RETRY_AFTER_S)
        return httpx.Response(status, headers=headers, content=TypeAdapter(type(what)).dump_json(what))

    def _route(self, request: httpx.Request) -> Answer:
        path = request.url.path.removeprefix(PREFIX)
        for method, pattern, answer in _ROUTES:
            if method == request.method and (found := pattern.fullmatch(path)):
                return answer(
                    self, Asked(request, found[1] if found.groups() else "", json.loads(request.content or b"{}"))
                )
        raise NotFaked(f"{request.method} {path}")

    # -- databases --

    def allocate(self, asked: Asked) -> Answer:
        tenant = self._world.allocate(asked.body)
        self._world.hold(lambda: tenant.status not in UNFINISHED, asked.held_s)
        return _allocated(tenant)

    def status(self, asked: Asked) -> Answer:
        tenant, elsewhere_than = self._world.tenant(asked.part), asked.query.get("while_on")
        patience_s = asked.held_s if elsewhere_than is None or self._world.something_is_due else 0
        self._world.hold(lambda: _settled(tenant, elsewhere_than), patience_s)
        return 200, answers.database(self._world.tenant(asked.part), self._world.logins(tenant))

    def credentials(self, asked: Asked) -> Answer:
        return 200, answers.credentials(self._world.ready(asked.part))

    def rotate(self, asked: Asked) -> Answer:
        tenant = self._world.rotate(asked.part, asked.body.get("overlap_seconds"), asked.key)
        return 200, answers.rotation(tenant, self._world.logins(tenant))

    def release(self, asked: Asked) -> Answer:
        return 202, answers.change(self._world.release(asked.part))

    def undelete(self, asked: Asked) -> Answer:
        return _allocated(self._world.undelete(asked.part))

    def protect(self, asked: Asked) -> Answer:
        return 200, answers.change(self._world.protect(asked.part, protected=asked.body["protected"]))

    # -- moves --

    def change_plan(self, asked: Asked) -> Answer:
        return self._begin(asked, lambda: self._world.change_of_plan(
            asked.part, asked.body["plan_tier"], require_dedicated=asked.body.get("require_dedicated", False)
        ))  # fmt: skip

    def move(self, asked: Asked) -> Answer:
        if asked.body.get("pool_id"):
            raise NotFaked("a move to a certain pool")
        return self._begin(asked, lambda: self._world.move(asked.part))

    def _begin(self, asked: Asked, plan: Callable[[], Work]) -> Answer:
        """A report, or the operation; the same one for the same key."""
        if asked.body.get("dry_run"):
            return 200, answers.move_report(plan(), self._world.move_blockers)
        return self._begun(asked, lambda: self._world.begin(plan()))

    def retry(self, asked: Asked) -> Answer:
        return 202, self._told(self._world.retry(UUID(asked.part)))

    def rollback(self, asked: Asked) -> Answer:
        return 202, self._told(self._world.rollback(UUID(asked.part)))

    def _begun(self, asked: Asked, begin: Callable[[], Work]) -> Answer:
        name = (asked.request.url.path, asked.key or "")
        if asked.key is None or name not in self._done:
            self._done[name] = begin().id
        work = self._world.work(self._done[name])
        return 202 if work.moves or work.finished_at is None else 200, self._told(work)

    # -- operations --

    def operations(self, asked: Asked) -> Answer:
        state = asked.query.get("state")
        found = [work for work in reversed(self._world.works.values()) if state in (None, work.state)]
        told = tuple(self._told(work) for work in found)
        return 200, OperationPage(operations=told, next_cursor=None)

    def operation(self, asked: Asked) -> Answer:
        work = self._world.work(UUID(asked.part))
        self._world.hold(lambda: work.finished_at is not None, asked.held_s)
        return 200, self._told(work)

    def cancel(self, asked: Asked) -> Answer:
        return 200, self._told(self._world.cancel(UUID(asked.part)))

    def pause(self, asked: Asked) -> Answer:
        return 200, self._told(self._world.wish(UUID(asked.part), "pause"))

    def resume(self, asked: Asked) -> Answer:
        return 200, self._told(self._world.wish(UUID(asked.part), None))

    def _told(self, work: Work) -> OperationRecord:
        return answers.operation(work, self._world.clock.seconds)

    # -- health --

    def health(self, asked: Asked) -> Answer:
        return 200, Alive(status="alive", checked=("this process answers",))

    def readiness(self, asked: Asked) -> Answer:
        return 200, Readiness(status="ready", control_database=Check(ok=True, ms=0), broker=None, overdue_seconds=0)


_INSTANCE = r"/databases/([^/]+)"
_OPERATION = r"/operations/([0-9a-f-]{36})"
_ROUTES: list[tuple[str, re.Pattern[str], Callable[[Door, Asked], Answer]]] = [
    (method, re.compile(path), answer)
    for method, path, answer in (
        ("POST", "/allocate", Door.allocate),
        ("GET", _INSTANCE, Door.status),
        ("DELETE", _INSTANCE, Door.release),
        ("GET", f"{_INSTANCE}/credentials", Door.credentials),
        ("POST", f"{_INSTANCE}/rotate", Door.rotate),
        ("POST", f"{_INSTANCE}/undelete", Door.undelete),
        ("POST", f"{_INSTANCE}/protection", Door.protect),
        ("POST", f"{_INSTANCE}/change-plan", Door.change_plan),
        ("POST", f"/admin{_INSTANCE}/move", Door.move),
        ("GET", "/operations", Door.operations),
        ("GET", _OPERATION, Door.operation),
        ("POST", f"{_OPERATION}/cancel", Door.cancel),
        ("POST", f"{_OPERATION}/pause", Door.pause),
        ("POST", f"{_OPERATION}/resume", Door.resume),
        ("POST", f"{_OPERATION}/retry", Door.retry),
        ("POST", f"{_OPERATION}/rollback", Door.rollback),
        ("GET", "/health", Door.health),
        ("GET", "/health/ready", Door.readiness),
    )
]


def problem(request: httpx.Request, refused: Refused) -> httpx.Response:
    told = Problem(
        type=f"{PREFIX}/docs#{refused.code}",
        title=refused.code.replace("_", " ").capitalize(),
        status=STATUS[refused.code],
        detail=refused.detail,
        instance=request.url.path,
        code=refused.code,
        request_id=request.headers.get("x-request-id", ""),
        errors=refused.fields or None,
    )
    headers = {"Content-Type": "application/problem+json", "X-Request-ID": told.request_id}
    if refused.retry_after is not None:
        headers["Retry-After"] = f"{refused.retry_after:.0f}"
    return httpx.Response(told.status, headers=headers, content=TypeAdapter(Problem).dump_json(told))


def _allocated(tenant: Tenant) -> Answer:
    if tenant.status == "ready":
        return 200, answers.allocation(tenant)
    return 202, answers.pending(tenant)


def _settled(tenant: Tenant, elsewhere_than: str | None) -> bool:
    if tenant.status in ENDED:
        return True
    return tenant.status not in UNFINISHED and elsewhere_than != str(tenant.server and tenant.server.id)
