"""The service's rules, over what the stand-in remembers. What is due happens when somebody looks."""

import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

from database_service_client.testing.clock import FakeClock
from database_service_client.testing.rules import MOST_LOGINS, OVERLAP_S, PLANS, Refused
from database_service_client.testing.state import Ask, Login, Server, Tenant, Work

_DEFAULTS: Ask = {"require_dedicated": False, "database_name": None, "template": "default"}
_PATTERNS = {"instance_id": r"[A-Za-z0-9._-]{1,64}", "customer_id": r"[A-Za-z0-9._-]{1,64}"}
_NAME = r"[a-z_][a-z0-9_-]{0,62}"
_RESERVED = re.compile(r"postgres|template[01]|(pg_|dbs_).*")

ENDED = frozenset({"releasing", "released", "purged"})
UNFINISHED = frozenset({"waiting", "creating", "moving"})
UNSEATED = frozenset({"waiting", "creating"})
REOPENING_S = 1.0
"""From a wish to cancel a move to its end."""
WRITTEN = "It was written to since it was moved; what is kept where it came from differs."


class World:
    """Times are seconds. What stands here publicly, tests may change."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.room_from = 0.0
        """When shared servers have room, by the clock."""
        self.provision_s = 5.0
        """What a dedicated server takes."""
        self.move_s = 4.0
        self.move_fails: str | None = None
        self.move_blockers: Sequence[str] = ()
        self.tenants: dict[str, Tenant] = {}
        self.works: dict[UUID, Work] = {}
        self._rollbacks: dict[UUID, Work] = {}
        self._again: dict[UUID, Work] = {}
        self._numbers = count(1)
        self._shared = self._new_server("shared")

    # -- time --

    def look(self) -> None:
        """Whatever is due by now has happened."""
        for tenant in self.tenants.values():
            self._seat(tenant)
        for work in self.works.values():
            self._go_on(work)

    def hold(self, done: Callable[[], bool], seconds: float) -> None:
        """Let time pass until that is so, at most so long; from one thing that is due to the next."""
        ends = self.clock.seconds + seconds
        self.look()
        while not done() and self.clock.seconds < ends:
            self.clock.forward(min(ends, self._next_due()) - self.clock.seconds)
            self.look()

    @property
    def something_is_due(self) -> bool:
        return self._next_due() < math.inf

    def _next_due(self) -> float:
        unfinished = [tenant for tenant in self.tenants.values() if tenant.status in UNSEATED]
        seats = [tenant.due if tenant.status == "creating" else self.room_from for tenant in unfinished]
        unended = [work for work in self.works.values() if work.finished_at is None]
        works = [at for work in unended for at in (work.fenced_at, work.ends, work.turned_back)]
        return min((at for at in (*seats, *works) if at > self.clock.seconds), default=math.inf)

    def _seat(self, tenant: Tenant) -> None:
        now = self.clock.seconds
        if tenant.status == "waiting" and (tenant.server_type == "dedicated" or self.room_from <= now):
            self._give_place(tenant)
        if tenant.status == "creating" and tenant.due <= now:
            tenant.become("ready", self.clock.now())
            tenant.ready_at = tenant.ready_at or self.clock.now()

    def _give_place(self, tenant: Tenant) -> None:
        dedicated = tenant.server_type == "dedicated"
        tenant.server = tenant.server or (self._new_server("dedicated") if dedicated else self._shared)
        tenant.due = self.clock.seconds + (self.provision_s if dedicated else 0)
        tenant.become("creating", self.clock.now())

    def _go_on(self, work: Work) -> None:
        if work.finished_at is not None:
            return
        now_s, now = self.clock.seconds, self.clock.now()
        if work.turned_back <= min(now_s, work.ends):
            work.become("cancelled", now)
            work.tenant.become("ready", now)
        elif work.ends <= now_s:
            self._end(work)
            work.tenant.become("ready", now)
        elif work.fenced_at <= now_s:
            work.tenant.become("moving", now)

    def _end(self, work: Work) -> None:
        written = WRITTEN if work.kind == "rollback" and work.tenant.written else None
        if why := work.blocked or work.fails or written:
            work.become("failed", self.clock.now(), why)
        else:
            work.tenant.ask, work.tenant.server, work.tenant.written = work.ask, work.after, False
            work.become("succeeded", self.clock.now())

    def _new_server(self, server_type: str) -> Server:
        name = f"{server_type}-{next(self._numbers)}"
        return Server(server_type, name, f"{name}.fake")

    # -- databases --

    def allocate(self, body: Mapping[str, object]) -> Tenant:
        ask = _checked(body)
        instance_id = str(ask["instance_id"])
        if (tenant := self.tenants.get(instance_id)) is None:
            return self._begin(instance_id, ask)
        refuse_ended(tenant)
        if differing := [name for name, wanted in ask.items() if tenant.ask[name] != wanted]:
            raise Refused(
                "allocation_differs",
                f"Instance {instance_id!r} already has a database that was asked for with another {', '.join(differing)}.",
            )
        return tenant

    def _begin(self, instance_id: str, ask: Ask) -> Tenant:
        now = self.clock.now()
        name = str(ask["database_name"] or f"db_{secrets.token_hex(6)}")
        tenant = Tenant(instance_id, ask, name, created_at=now, status="waiting", status_since=now)
        tenant.logins.append(_new_login(now))
        self.tenants[instance_id] = tenant
        self._seat(tenant)
        return tenant

    def tenant(self, instance_id: str) -> Tenant:
        """Purged ones are gone."""
        if (tenant := self.tenants.get(instance_id)) is None:
            raise Refused("database_not_found", f"Instance {instance_id!r} has no database.")
        if (
            tenant.released_at
            and not tenant.protected
            and tenant.purge_after
            and tenant.purge_after <= self.clock.now()
        ):
            tenant.become("purged", self.clock.now())
        if tenant.status == "purged":
            raise Refused(
                "database_gone", f"The database of instance {instance_id!r} was released and its data is deleted."
            )
        return tenant

    def ready(self, instance_id: str) -> Tenant:
        tenant = self.tenant(instance_id)
        refuse_ended(tenant)
        if tenant.status == "moving":
            raise Refused("database_moving", f"The database of instance {instance_id!r} is being moved.")
        if tenant.status != "ready":
            detail = f"The database of instance {instance_id!r} is not ready yet: it is {tenant.status}."
            raise Refused("database_not_ready", detail)
        return tenant

    def logins(self, tenant: Tenant) -> list[Login]:
        """Those that work, the newest first."""
        now = self.clock.now()
        return [each for each in reversed(tenant.logins) if each.expires_at is None or each.expires_at > now]

    def rotate(self, instance_id: str, overlap_s: float | None, key: str | None) -> Tenant:
        tenant = self.ready(instance_id)
        if key is not None and any(login.key == key for login in tenant.logins):
            return tenant
        alive = self.logins(tenant)
        if len(alive) >= MOST_LOGINS:
            detail = f"The database of instance {instance_id!r} already has {MOST_LOGINS} live logins; wait until one expires."
            raise Refused("too_many_logins", detail)
        ends = self.clock.now() + timedelta(seconds=OVERLAP_S if overlap_s is None else overlap_s)
        for login in alive:
            login.expires_at = min(login.expires_at or ends, ends)
        tenant.logins.append(_new_login(self.clock.now(), key))
        return tenant

    def release(self, instance_id: str) -> Tenant:
        tenant = self.tenant(instance_id)
        if tenant.status in ENDED:
            return tenant
        if tenant.protected:
            detail = (
                f"The database of instance {instance_id!r} is protected against deletion; lift the protection first."
            )
            raise Refused("database_protected", detail)
        now = self.clock.now()
        tenant.released_at = now
        if tenant.status == "waiting":
            tenant.become("purged", now)
        else:
            tenant.purge_after = now + timedelta(seconds=tenant.plan.grace_s)
            tenant.become("released", now)
        return tenant

    def undelete(self, instance_id: str) -> Tenant:
        tenant = self.tenant(instance_id)
        if tenant.status not in ENDED:
            detail = (
                f"The database of instance {instance_id!r} is {tenant.status}; only a released one can be undeleted."
            )
            raise Refused("database_not_released", detail)
        tenant.released_at = tenant.purge_after = None
        tenant.become("ready", self.clock.now())
        return tenant

    def protect(self, instance_id: str, *, protected: bool) -> Tenant:
        tenant = self.tenant(instance_id)
        tenant.protected = protected
        return tenant

    # -- plans and moves --

    def change_of_plan(self, instance_id: str, plan_tier: str, *, require_dedicated: bool) -> Work:
        """Not begun yet."""
        tenant = self.ready(instance_id)
        ask = {**tenant.ask, "plan_tier": plan_tier, "require_dedicated": require_dedicated}
        _refuse_plan(ask)
        if ask == tenant.ask:
            detail = (
                f"The database of instance {instance_id!r} has the plan {plan_tier!r} already, on that kind of server."
            )
            raise Refused("same_plan", detail)
        wanted = "dedicated" if require_dedicated else PLANS[plan_tier].server_type
        if wanted == tenant.server_type:
            return self._work("change_plan", tenant, ask, tenant.server)
        return self._work("change_plan", tenant, ask, self._shared if wanted == "shared" else self._new_server(wanted))

    def move(self, instance_id: str) -> Work:
        """To another shared server; not begun yet."""
        tenant = self.ready(instance_id)
        if tenant.server_type == "dedicated":
            detail = f"The database of instance {instance_id!r} has a server of its own; it leaves it by a change of its plan."
            raise Refused("database_has_own_server", detail)
        return self._work("move", tenant, tenant.ask, self._new_server("shared"))

    def begin(self, work: Work) -> Work:
        if busy := [each for each in self.works.values() if each.tenant is work.tenant and each.finished_at is None]:
            detail = f"The database is part of the operation {busy[0].id}, which is not over yet."
            raise Refused("database_busy", detail)
        self.works[work.id] = work
        self.look()
        return work

    def rollback(self, work_id: UUID) -> Work:
        """Asked again, the same one."""
        if begun := self._rollbacks.get(work_id):
            return begun
        work = self.work(work_id)
        if work.finished_at is None:
            raise Refused("move_not_reversible", f"The operation {work_id} is {work.state}; cancel it instead.")
        if not work.moves or work.state != "succeeded" or work.tenant.server is not work.after:
            detail = f"The operation {work_id} moved nothing that is still where it brought it."
            raise Refused("move_not_reversible", detail)
        back = self._work("rollback", work.tenant, work.ask_before, work.before)
        self._rollbacks[work_id] = self.begin(back)
        return back

    def retry(self, work_id: UUID) -> Work:
        """Asked again, the same one."""
        if begun := self._again.get(work_id):
            return begun
        work = self.work(work_id)
        if work.state not in ("failed", "cancelled"):
            detail = f"The operation {work_id} is {work.state}; one that failed or was cancelled can be tried again."
            raise Refused("nothing_to_retry", detail)
        if work.kind == "rollback":
            raise Refused("nothing_to_retry", "A rollback is asked for again at the operation that it takes back.")
        again = self._work(work.kind, work.tenant, work.ask, work.after)
        self._again[work_id] = self.begin(again)
        return again

    def _work(self, kind: str, tenant: Tenant, ask: Ask, after: Server | None) -> Work:
        now, moves = self.clock.now(), after is not tenant.server
        blockers = ["The database cannot be moved.", *self.move_blockers] if self.move_blockers else []
        return Work(
            kind, tenant, ask, tenant.ask, tenant.server, after, began=self.clock.seconds,
            takes_s=self.move_s if moves else 0, created_at=now, state_since=now,
            blocked=" ".join(blockers) or None if moves else None, fails=self.move_fails if moves else None,
        )  # fmt: skip

    # -- operations --

    def work(self, work_id: UUID) -> Work:
        if (work := self.works.get(work_id)) is None:
            raise Refused("operation_not_found", f"There is no operation {work_id}.")
        return work

    def cancel(self, work_id: UUID) -> Work:
        """A move that is cancelled in time leaves its database where it was."""
        work = self.wish(work_id, "cancel")
        work.turned_back = min(work.turned_back, self.clock.seconds + REOPENING_S)
        return work

    def wish(self, work_id: UUID, wish: str | None) -> Work:
        """It takes effect after the step in hand, and there is only one."""
        work = self._steerable(work_id)
        work.wish = wish
        return work

    def _steerable(self, work_id: UUID) -> Work:
        work = self.work(work_id)
        if work.finished_at is not None:
            raise Refused("operation_over", f"The operation {work_id} is over: it is {work.state}.")
        return work


def refuse_ended(tenant: Tenant) -> None:
    if tenant.status == "purged":
        raise Refused(
            "database_gone", f"The database of instance {tenant.instance_id!r} was released and its data is deleted."
        )
    if tenant.status in ENDED:
        raise Refused(
            "database_released", f"The database of instance {tenant.instance_id!r} is released; it can be undeleted."
        )


def _checked(body: Mapping[str, object]) -> Ask:
    """What is asked for, in full. Refused as the service would."""
    ask = {**_DEFAULTS, **{name: value for name, value in body.items() if value is not None}}
    for name, pattern in _PATTERNS.items():
        if not re.fullmatch(pattern, str(ask.get(name, ""))):
            raise Refused("invalid_request", f"{name}: String should match pattern '^{pattern}$'", fields=[name])
    _refuse_plan(ask)
    _refuse_names(ask)
    return ask


def _refuse_plan(ask: Ask) -> None:
    plan_tier = str(ask.get("plan_tier"))
    if plan_tier not in PLANS:
        raise Refused("invalid_request", f"plan_tier: Input should be one of {', '.join(PLANS)}", fields=["plan_tier"])
    if ask["require_dedicated"] and not PLANS[plan_tier].may_be_dedicated:
        raise Refused("plan_has_no_dedicated", f"The plan '{plan_tier}' does not include a dedicated server.")


def _refuse_names(ask: Ask) -> None:
    if ask["template"] != "default":
        detail = f"There is no template {ask['template']!r}; the only template is 'default'."
        raise Refused("unknown_template", detail, fields=["template"])
    name = ask["database_name"]
    if name is not None and not re.fullmatch(_NAME, str(name)):
        raise Refused(
            "invalid_request", f"database_name: String should match pattern '^{_NAME}$'", fields=["database_name"]
        )
    if name is not None and _RESERVED.fullmatch(str(name)):
        raise Refused("invalid_field", "database_name: is reserved", fields=["database_name"])


def _new_login(now: datetime, key: str | None = None) -> Login:
    return Login(f"u_{secrets.token_hex(6)}", secrets.token_urlsafe(24), created_at=now, key=key)
