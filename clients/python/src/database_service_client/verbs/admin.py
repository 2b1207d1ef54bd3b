"""What operators do: pools, moves between them, drift, tokens, the fleet."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from database_service_client.asking import idempotency_key
from database_service_client.models import (
    AdoptionReport,
    AuthorityList,
    DatabaseHistory,
    Drift,
    DriftPage,
    Event,
    EventPage,
    HealthCheck,
    IssuedToken,
    KeyRing,
    LoggedRequest,
    Look,
    MoveReport,
    NeighbourList,
    Pool,
    PoolHistory,
    PoolPage,
    RemovalOffer,
    RequestPage,
    Stats,
    TokenList,
    Verification,
)
from database_service_client.steps import Call, PageT, Scalar, Steps, Stream, T, paged
from database_service_client.verb import stream, verb
from database_service_client.verbs.following import Following, Op

LOOKED_AT_S = 60
"""What the service may take for a verb that has it look at a server itself."""

Chosen = Sequence[UUID] | str
"""Ids of servers, in the order they come; or `shared` or `all` active ones."""


class AdminVerbs(Following[Op]):
    """`client.admin`: needs a token with the scopes `admin:read` and `admin:write`."""

    # -- pools --

    @verb
    def pools(
        self,
        *,
        status: str | None = None,
        server_type: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Steps[PoolPage]:
        """Servers in the order they were made; those that are gone only when asked for by status."""
        query = {"status": status, "server_type": server_type, "cursor": cursor, "limit": limit}
        return (yield from self._asker.get(PoolPage, _get("/admin/pools", query)))

    @stream
    def each_pool(self, *, status: str | None = None, server_type: str | None = None) -> Stream[Pool]:
        """All of them; pages are read as they are needed."""
        query = {"status": status, "server_type": server_type}
        return self._each(PoolPage, "/admin/pools", query, lambda page: page.pools)

    @verb
    def pool(self, pool_id: UUID) -> Steps[Pool]:
        """One server."""
        return (yield from self._asker.get(Pool, _get(f"/admin/pools/{pool_id}")))

    @verb
    def order_pool(
        self,
        *,
        max_instances: int | None = None,
        cpu_limit: float | None = None,
        memory_limit: int | None = None,
        priority: int = 0,
        manual: bool = False,
    ) -> Steps[Pool]:
        """Stored at once and made in the background. What is left out is as the service is set; memory is bytes."""
        body = {
            "max_instances": max_instances, "cpu_limit": cpu_limit, "memory_limit": memory_limit, "priority": priority,
            "manual": manual,
        }  # fmt: skip
        return (yield from self._asker.get(Pool, _post("/admin/pools", body, idempotency_key())))

    @verb
    def preview_adoption(
        self, host: str, user: str, password: str, max_instances: int, *, port: int = 5432, name: str | None = None
    ) -> Steps[AdoptionReport]:
        """Look at a server that somebody else runs: what adopting it would change. Nothing is changed."""
        body = _adoption(host, user, password, max_instances, port, name)
        return (
            yield from self._asker.get(AdoptionReport, replace(_post("/admin/pools/adopt", body), held_s=LOOKED_AT_S))
        )

    @verb
    def adopt(
        self,
        host: str,
        user: str,
        password: str,
        max_instances: int,
        *,
        confirm: str,
        port: int = 5432,
        name: str | None = None,
    ) -> Steps[Pool]:
        """Take that server over. `confirm` is the `confirmation` of the report that you agree to."""
        body = {**_adoption(host, user, password, max_instances, port, name), "confirm": confirm}
        return (yield from self._asker.get(Pool, replace(_post("/admin/pools/adopt", body), held_s=LOOKED_AT_S)))

    @verb
    def rollout(
        self,
        *,
        pools: Chosen = "shared",
        image: str | None = None,
        memory_limit: int | None = None,
        cpu_limit: float | None = None,
        max_instances: int | None = None,
        tls: bool = False,
    ) -> Steps[Op]:
        """Change image, memory, CPUs or slots of servers, one at a time, or have them speak TLS. What is left out stays."""
        body = {
            "pools": _chosen(pools), "image": image, "memory_limit": memory_limit, "cpu_limit": cpu_limit,
            "max_instances": max_instances, "tls": tls or None,
        }  # fmt: skip
        return (yield from self._operation(_post("/admin/pools/rollout", body, idempotency_key())))

    @verb
    def rotate_admin_password(self, *, pools: Chosen = "shared") -> Steps[Op]:
        """New administrators' passwords, one server after the other; no session ends."""
        call = _post("/admin/pools/rotate-admin-password", {"pools": _chosen(pools)}, idempotency_key())
        return (yield from self._operation(call))

    @verb
    def health_check(self, pool_id: UUID) -> Steps[HealthCheck]:
        """Have the service log in to it now and say how it is."""
        return (
            yield from self._asker.get(
                HealthCheck, replace(_post(f"/admin/pools/{pool_id}/health-check"), held_s=LOOKED_AT_S)
            )
        )

    @verb
    def cordon(self, pool_id: UUID, *, reason: str | None = None) -> Steps[Pool]:
        """No new databases for it; those it has stay."""
        return (yield from self._asker.get(Pool, _post(f"/admin/pools/{pool_id}/cordon", {"reason": reason})))

    @verb
    def uncordon(self, pool_id: UUID) -> Steps[Pool]:
        """New databases may come again."""
        return (yield from self._asker.get(Pool, _post(f"/admin/pools/{pool_id}/uncordon")))

    @verb
    def retire(self, pool_id: UUID) -> Steps[Pool]:
        """Remove an empty server for good."""
        return (yield from self._asker.get(Pool, _post(f"/admin/pools/{pool_id}/retire")))

    # -- moves --

    @verb
    def move(self, instance_id: str, *, pool_id: UUID | None = None) -> Steps[Op]:
        """Move its database to that pool, or to any other one with room. Nobody can use it while it is copied."""
        call = _post(f"/admin/databases/{instance_id}/move", _move(pool_id, dry_run=False), idempotency_key())
        return (yield from self._operation(call))

    @verb
    def preview_move(self, instance_id: str, *, pool_id: UUID | None = None) -> Steps[MoveReport]:
        """What `move` would do."""
        call = _post(f"/admin/databases/{instance_id}/move", _move(pool_id, dry_run=True))
        return (yield from self._asker.get(MoveReport, call))

    @verb
    def drain(self, pool_id: UUID) -> Steps[Op]:
        """Cordon it and move every database in use on it elsewhere, one after the other."""
        return (yield from self._operation(_post(f"/admin/pools/{pool_id}/drain", headers=idempotency_key())))

    @verb
    def rebalance(self, *, most: int | None = None) -> Steps[Op]:
        """Move databases from fuller pools to emptier ones, one after the other; without `most`, ten at most."""
        return (yield from self._operation(_post("/admin/pools/rebalance", {"most": most}, idempotency_key())))

    # -- drift --

    @verb
    def drift(
        self, *, kind: str | None = None, state: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> Steps[DriftPage]:
        """What the last look found, and what it could not look at; what is gone only when asked for by state."""
        query = {"kind": kind, "state": state, "cursor": cursor, "limit": limit}
        return (yield from self._asker.get(DriftPage, _get("/admin/drift", query)))

    @verb
    def find_drift(self) -> Steps[Look]:
        """Have a worker look now; `drift().looked_at` tells when it did."""
        return (yield from self._asker.get(Look, _post("/admin/drift/find")))

    @verb
    def preview_drift_removal(self, drift_id: UUID) -> Steps[RemovalOffer]:
        """What exactly would be removed."""
        return (yield from self._asker.get(RemovalOffer, _post(f"/admin/drift/{drift_id}/remove", {})))

    @verb
    def remove_drift(self, drift_id: UUID, *, confirm: str) -> Steps[Drift]:
        """Have it removed. `confirm` is the `confirmation` of the offer that you agree to."""
        return (yield from self._asker.get(Drift, _post(f"/admin/drift/{drift_id}/remove", {"confirm": confirm})))

    # -- the fleet --

    @verb
    def neighbours(self, *, pool_id: UUID | None = None, limit: int | None = None) -> Steps[NeighbourList]:
        """The noisiest databases on pools, with advice."""
        query: dict[str, Scalar | None] = {"pool_id": str(pool_id) if pool_id else None, "limit": limit}
        return (yield from self._asker.get(NeighbourList, _get("/admin/neighbours", query)))

    @verb
    def pool_history(self, pool_id: UUID, *, by: str | None = None) -> Steps[PoolHistory]:
        """What a server had: two weeks by the `hour`, or all that is kept by the `day`."""
        return (yield from self._asker.get(PoolHistory, _get(f"/admin/pools/{pool_id}/history", {"by": by})))

    @verb
    def database_history(self, instance_id: str) -> Steps[DatabaseHistory]:
        """The size of a database, day by day."""
        path = f"/admin/databases/{quote(instance_id, safe='')}/history"
        return (yield from self._asker.get(DatabaseHistory, _get(path)))

    @verb
    def stats(self) -> Steps[Stats]:
        """The whole fleet in numbers."""
        return (yield from self._asker.get(Stats, _get("/admin/stats")))

    @verb
    def events(
        self,
        *,
        instance_id: str | None = None,
        subject_id: UUID | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Steps[EventPage]:
        """The audit trail, newest first. `subject_id` is that of a server, a database, a token or drift."""
        query = {**_about(instance_id, subject_id), "cursor": cursor, "limit": limit}
        return (yield from self._asker.get(EventPage, _get("/admin/events", query)))

    @stream
    def each_event(self, *, instance_id: str | None = None, subject_id: UUID | None = None) -> Stream[Event]:
        """The whole audit trail, newest first; pages are read as they are needed."""
        return self._each(EventPage, "/admin/events", _about(instance_id, subject_id), lambda page: page.events)

    @verb
    def verify_events(self, *, since: str | None = None) -> Steps[Verification]:
        """Walk the audit trail, 100,000 events at a time: the first that was changed, removed or inserted is named.

        `since` is the `head` that an earlier verification told.
        """
        call = replace(_get("/admin/events/verification", {"since": since}), held_s=LOOKED_AT_S)
        return (yield from self._asker.get(Verification, call))

    @verb
    def requests(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        endpoint: str | None = None,
        status: int | None = None,
        errors: bool | None = None,
        token_id: UUID | None = None,
        instance_id: str | None = None,
        request_id: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Steps[RequestPage]:
        """The request log, newest first: errors, changes, and a share of what was read. It is seconds behind.

        `since` counts itself, `until` does not; `endpoint` is a path as the contract has it.
        """
        query: dict[str, Scalar | None] = {
            **_within(since, until),
            "endpoint": endpoint,
            "status": status,
            "errors": errors,
            "token_id": str(token_id) if token_id else None,
            "instance_id": instance_id,
            "request_id": request_id,
            "cursor": cursor,
            "limit": limit,
        }
        return (yield from self._asker.get(RequestPage, _get("/admin/requests", query)))

    @stream
    def each_request(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        endpoint: str | None = None,
        instance_id: str | None = None,
    ) -> Stream[LoggedRequest]:
        """All of the request log between two moments; pages are read as they are needed."""
        query = {**_within(since, until), "endpoint": endpoint, "instance_id": instance_id}
        return self._each(RequestPage, "/admin/requests", query, lambda page: page.requests)

    # -- keys and tokens --

    @verb
    def keys(self) -> Steps[KeyRing]:
        """Which keys of the ring are in use, and which can be removed. Never a key."""
        return (yield from self._asker.get(KeyRing, _get("/admin/keys")))

    @verb
    def reseal(self) -> Steps[KeyRing]:
        """Have a worker seal and sign everything with the ring's newest key; `keys()` tells when it did."""
        return (yield from self._asker.get(KeyRing, _post("/admin/keys/reseal")))

    @verb
    def authorities(self) -> Steps[AuthorityList]:
        """Who vouches for servers that speak TLS, and for how many. Never a key."""
        return (yield from self._asker.get(AuthorityList, _get("/admin/authorities")))

    @verb
    def rotate_authority(self, *, overlap_seconds: int | None = None) -> Steps[AuthorityList]:
        """Another authority, trusted at once; after the overlap (without it 30 days) it vouches for every server."""
        call = _post("/admin/authorities/rotate", {"overlap_seconds": overlap_seconds})
        return (yield from self._asker.get(AuthorityList, call))

    @verb
    def tokens(self) -> Steps[TokenList]:
        """All API tokens, without their texts."""
        return (yield from self._asker.get(TokenList, _get("/admin/tokens")))

    @verb
    def issue_token(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        expires_at: datetime | None = None,
        customer_id: str | None = None,
    ) -> Steps[IssuedToken]:
        """A new API token, whose text is told this once. `expires_at` knows its time zone; None: until it is revoked.

        With `customer_id` it sees and touches this customer's databases alone, and may hold only scopes `databases:…`.
        Where the answer is lost it is not asked for again: there may be a token then that nobody knows the text of.
        """
        body = {
            "name": name, "scopes": list(scopes), "expires_at": expires_at.isoformat() if expires_at else None,
            "customer_id": customer_id,
        }  # fmt: skip
        call = Call(method="POST", path="/admin/tokens", body=body, repeatable=False)
        return (yield from self._asker.get(IssuedToken, call))

    @verb
    def revoke_token(self, token_id: UUID) -> Steps[None]:
        """It stops working everywhere within a moment."""
        yield from self._asker.ask(Call(method="DELETE", path=f"/admin/tokens/{token_id}"))

    def _each(
        self, shape: type[PageT], path: str, query: Mapping[str, Scalar | None], of: Callable[[PageT], Iterable[T]]
    ) -> Stream[T]:
        return paged(lambda cursor: self._asker.get(shape, _get(path, {**query, "cursor": cursor})), of)


def _get(path: str, query: Mapping[str, Scalar | None] | None = None) -> Call:
    return Call(method="GET", path=path, query=query or {})


def _post(path: str, body: Mapping[str, object] | None = None, headers: Mapping[str, str] | None = None) -> Call:
    return Call(method="POST", path=path, body=body, headers=headers or {})


def _chosen(pools: Chosen) -> str | list[str]:
    return pools if isinstance(pools, str) else [str(pool) for pool in pools]


def _adoption(
    host: str, user: str, password: str, max_instances: int, port: int, name: str | None
) -> Mapping[str, object]:
    return {
        "host": host, "port": port, "user": user, "password": password, "name": name, "max_instances": max_instances,
    }  # fmt: skip


def _move(pool_id: UUID | None, *, dry_run: bool) -> Mapping[str, object]:
    return {"pool_id": str(pool_id) if pool_id else None, "dry_run": dry_run}


def _about(instance_id: str | None, subject_id: UUID | None) -> dict[str, Scalar | None]:
    return {"instance_id": instance_id, "subject_id": str(subject_id) if subject_id else None}


def _within(since: datetime | None, until: datetime | None) -> dict[str, Scalar | None]:
    return {"since": since.isoformat() if since else None, "until": until.isoformat() if until else None}
