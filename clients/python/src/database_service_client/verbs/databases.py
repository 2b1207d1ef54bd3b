"""Databases of instances: asked for, read, rotated, moved, released."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import quote
from uuid import UUID

import httpx

from database_service_client.asking import idempotency_key, parsed
from database_service_client.errors import (
    ApiError,
    DatabaseMoving,
    DatabaseNotReady,
    DatabaseReleased,
    NotReadyYet,
    Unreachable,
)
from database_service_client.models import (
    ENDED,
    Address,
    Alive,
    Allocation,
    Credentials,
    Database,
    DatabaseChange,
    DedicatedServer,
    Moved,
    MoveReport,
    Pending,
    Readiness,
    Rotation,
)
from database_service_client.steps import Call, Item, Steps, Stream
from database_service_client.verb import stream, verb
from database_service_client.verbs.following import Following, Op
from database_service_client.waiting import LONGEST_HELD_S, Deadline

_WATCH_ROUND_S = 5
"""Between two looks while nothing moves, should the service not hold them."""


class DatabaseVerbs(Following[Op]):
    """The verbs of a consumer, on the client itself."""

    @verb
    def allocate(
        self,
        instance_id: str,
        customer_id: str,
        plan_tier: str,
        *,
        require_dedicated: bool = False,
        database_name: str | None = None,
        template: str | None = None,
        wait: float = 30,
    ) -> Steps[Allocation]:
        """A database for this instance, with its credentials. Asked again it is the same one.

        `wait` is seconds, 0 to ask just once; NotReadyYet when they are over and it is still in the making. A service that
        is away is waited for meanwhile, Unreachable where it still is at the end.
        """
        body = {
            "instance_id": instance_id, "customer_id": customer_id, "plan_tier": plan_tier,
            "require_dedicated": require_dedicated, "database_name": database_name, "template": template,
        }  # fmt: skip
        call = Call(method="POST", path="/allocate", body=body)
        return parsed(Allocation, (yield from self._until_done(call, wait, _preferring)))

    @verb
    def provision_dedicated(self, instance_id: str, customer_id: str, plan_tier: str) -> Steps[DedicatedServer]:
        """Order a dedicated server for this instance. Asked again it tells how far it is."""
        body = {"instance_id": instance_id, "customer_id": customer_id, "plan_tier": plan_tier}
        return (
            yield from self._asker.get(DedicatedServer, Call(method="POST", path="/provision-dedicated", body=body))
        )

    @verb
    def status(self, instance_id: str, *, wait: int = 0, while_on: UUID | None = None) -> Steps[Database]:
        """Status, server, plan and limits; no secrets.

        With `wait` it comes when the database is neither waiting nor in the making, or after so many seconds, 30 at most;
        with `while_on` as well, when it is ready on another server than that one.
        """
        return (yield from self._seen(instance_id, min(wait, LONGEST_HELD_S), while_on))

    @verb
    def wait_until_ready(self, instance_id: str, timeout: float | None = 300) -> Steps[Database]:
        """Its database when it is ready. `timeout` is seconds, None: as long as it takes; then NotReadyYet, or Unreachable
        where the service is away then; before, it is waited for.

        DatabaseReleased at once where it was released: it does not become ready by itself.
        """
        time = self._asker.time
        deadline = Deadline.after(time, timeout)
        while True:
            began = time.now()
            try:
                seen = yield from self._seen(instance_id, deadline.held_s(), until=deadline.until)
            except (Unreachable, ApiError) as error:
                yield from deadline.outlast(error)
                continue
            if seen.ready:
                return seen
            _refuse_ended(seen)
            if deadline.passed:
                raise NotReadyYet(seen)
            yield from deadline.rest_of_round(began)

    @verb
    def credentials(self, instance_id: str) -> Steps[Credentials]:
        """The newest login. The service notes each read in its audit trail."""
        return (yield from self._credentials(instance_id))

    @verb
    def rotate(
        self, instance_id: str, *, overlap_seconds: int | None = None, key: str | None = None, wait: float = 30
    ) -> Steps[Rotation]:
        """A new login, which works at once; those before it stay valid for `overlap_seconds`, else as the service is set.

        NotReadyYet where the database's server does not answer for `wait` seconds; asked again it is another rotation, unless
        with a `key` of your own, which names the rotation: the same key again is the same one, also after a restart.
        """
        path, body = f"{_path(instance_id)}/rotate", {"overlap_seconds": overlap_seconds}
        call = Call(method="POST", path=path, body=body, headers=idempotency_key(key))
        return parsed(Rotation, (yield from self._until_done(call, wait, _as_it_is)))

    @verb
    def release(self, instance_id: str, *, why: str | None = None) -> Steps[DatabaseChange]:
        """Close its door. The data is kept until `purge_after`, and until then `undelete` takes it back."""
        call = Call(method="DELETE", path=_path(instance_id), query={"why": why})
        return (yield from self._asker.get(DatabaseChange, call))

    @verb
    def undelete(self, instance_id: str) -> Steps[Allocation]:
        """Take a released database back, with its data and its credentials.

        NotReadyYet where its server does not answer now; it is taken back all the same, see `wait_until_ready`.
        """
        answer = yield from self._asker.ask(Call(method="POST", path=f"{_path(instance_id)}/undelete"))
        if answer.status_code == httpx.codes.ACCEPTED:
            raise NotReadyYet(parsed(Pending, answer))
        return parsed(Allocation, answer)

    @verb
    def protect(self, instance_id: str, *, protected: bool = True) -> Steps[DatabaseChange]:
        """Protect it against deletion, or lift that protection."""
        call = Call(method="POST", path=f"{_path(instance_id)}/protection", body={"protected": protected})
        return (yield from self._asker.get(DatabaseChange, call))

    @verb
    def change_plan(
        self, instance_id: str, plan_tier: str, *, require_dedicated: bool = False, key: str | None = None
    ) -> Steps[Op]:
        """An operation; it is over already where only limits change, else it moves the database and `.wait()` follows it.

        A `key` of your own names the change: the same key again is the same operation, also after a restart.
        """
        call = _change_plan(instance_id, plan_tier, require_dedicated, dry_run=False, headers=idempotency_key(key))
        return (yield from self._operation(call))

    @verb
    def preview_change_plan(
        self, instance_id: str, plan_tier: str, *, require_dedicated: bool = False
    ) -> Steps[MoveReport]:
        """What `change_plan` would do: whether it moves, for how long writers would be kept out, what is in its way."""
        call = _change_plan(instance_id, plan_tier, require_dedicated, dry_run=True)
        return (yield from self._asker.get(MoveReport, call))

    @stream
    def moves(self, instance_id: str, *, since: Credentials | Address | None = None) -> Stream[Moved]:
        """Each move of its database to another server, with its credentials there, for as long as you listen.

        `since` is where you know it to be; without it, where it is when you begin. A service that is away is waited for;
        it ends with DatabaseReleased, DatabaseGone, Forbidden and whatever else asking again does not cure.
        """
        known = since.address if since else None
        time = self._asker.time
        while True:
            began = time.now()
            found: Credentials | Address | None = yield from self._whereabouts(instance_id, known)
            if found is None or found == known:
                yield from Deadline.after(time, None).rest_of_round(began, _WATCH_ROUND_S, idle=True)
                continue
            if isinstance(found, Credentials) and known is not None:
                yield Item(Moved(old=known, new=found))
            known = found.address

    @verb
    def health(self) -> Steps[Alive]:
        """Whether it answers at all. Needs no token."""
        return (yield from self._asker.get(Alive, Call(method="GET", path="/health")))

    @verb
    def ready(self) -> Steps[Readiness]:
        """Whether it can serve, also where the answer is that it cannot. Needs no token."""
        call = Call(method="GET", path="/health/ready", also_answers=frozenset({httpx.codes.SERVICE_UNAVAILABLE}))
        return (yield from self._asker.get(Readiness, call))

    @verb
    def ca(self) -> Steps[str]:
        """Who vouches for servers that speak TLS, as PEM: the file that libpq's `sslrootcert` names."""
        answer = yield from self._asker.ask(Call(method="GET", path="/ca.pem"))
        return answer.text

    @verb
    def metrics(self) -> Steps[str]:
        """Its numbers, in the text that Prometheus reads."""
        answer = yield from self._asker.ask(Call(method="GET", path="/metrics"))
        return answer.text

    def _seen(
        self, instance_id: str, held_s: int = 0, while_on: UUID | None = None, until: float | None = None
    ) -> Steps[Database]:
        query = {"wait": held_s or None, "while_on": str(while_on) if while_on else None}
        call = Call(method="GET", path=_path(instance_id), query=query, held_s=held_s, until=until)
        return (yield from self._asker.get(Database, call))

    def _credentials(self, instance_id: str) -> Steps[Credentials]:
        return (yield from self._asker.get(Credentials, Call(method="GET", path=f"{_path(instance_id)}/credentials")))

    def _retold(self, instance_id: str, moved: Moved) -> Steps[Moved]:
        """That move, to where the database is now: it may have moved on since."""
        found = yield from self._whereabouts(instance_id, moved.new.address, held_s=0)
        return Moved(old=moved.old, new=found) if isinstance(found, Credentials) else moved

    def _whereabouts(
        self, instance_id: str, known: Address | None, held_s: int = LONGEST_HELD_S
    ) -> Steps[Credentials | Address | None]:
        """Its credentials where it has moved from what is known, else its address; None where nobody can tell now."""
        try:
            seen = yield from self._seen(instance_id, held_s, known.db_server_id if known else None)
            _refuse_ended(seen)
            if known is None or not seen.ready or seen.address == known:
                return known or seen.address
            return (yield from self._credentials(instance_id))
        except (Unreachable, DatabaseMoving, DatabaseNotReady):  # as it was just reached, or is on its way once more
            return None
        except ApiError as refused:
            if refused.passing:
                return None
            raise

    def _until_done(self, call: Call, wait: float, held: Callable[[Call, int], Call]) -> Steps[httpx.Response]:
        """The answer that is no 202. The same request again is what the service wants to be asked."""
        time = self._asker.time
        deadline = Deadline.after(time, wait)
        while True:
            began = time.now()
            try:
                answer = yield from self._asker.ask(held(replace(call, until=deadline.until), deadline.held_s()))
            except (Unreachable, ApiError) as error:
                yield from deadline.outlast(error)
                continue
            if answer.status_code != httpx.codes.ACCEPTED:
                return answer
            pending = parsed(Pending, answer)
            if deadline.passed:
                raise NotReadyYet(pending)
            yield from deadline.rest_of_round(began, pending.retry_after)


def _path(instance_id: str) -> str:
    return f"/databases/{quote(instance_id, safe='')}"


def _preferring(call: Call, held_s: int) -> Call:
    """RFC 7240's wait."""
    return replace(call, headers={**call.headers, "Prefer": f"wait={held_s}"}, held_s=held_s) if held_s else call


def _as_it_is(call: Call, held_s: int) -> Call:
    return call


def _refuse_ended(seen: Database) -> None:
    if seen.status in ENDED:
        raise DatabaseReleased(
            f"The database of instance {seen.instance_id!r} is {seen.status}.", status=httpx.codes.CONFLICT
        )


def _change_plan(
    instance_id: str,
    plan_tier: str,
    require_dedicated: bool,
    *,
    dry_run: bool,
    headers: Mapping[str, str] | None = None,
) -> Call:
    body = {"plan_tier": plan_tier, "require_dedicated": require_dedicated, "dry_run": dry_run}
    return Call(method="POST", path=f"{_path(instance_id)}/change-plan", body=body, headers=headers or {})
