"""Statistics, the audit trail and API tokens."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from database_service.actions import tokens as token_actions
from database_service.api.inject import AdminReader, AdminWriter, Use
from database_service.api.paging import Cursor, Limit, position_of
from database_service.api.rendering import NO_STORE, answer
from database_service.api.schemas.admin import (
    EventsOut,
    IssuedOut,
    IssueIn,
    StatsOut,
    TokenOut,
    TokensOut,
    VerificationOut,
)
from database_service.api.schemas.common import CallerId
from database_service.domain.chain import Head
from database_service.domain.ids import CustomerId, TokenId
from database_service.views import chain as chain_view
from database_service.views import events as events_view
from database_service.views import stats as stats_view
from database_service.views import tokens as tokens_view

Since = Annotated[
    str | None,
    Query(
        pattern=r"^[1-9][0-9]{0,17}:[0-9a-f]{64}$", description="The `head` of an earlier verification, to go on from."
    ),
]
router = APIRouter(prefix="/api/database/admin", tags=["admin"])


@router.get("/stats", responses={200: {"model": StatsOut}})
async def stats(asked: AdminReader, deps: Use) -> Response:
    """The whole fleet in numbers."""
    return answer(StatsOut.of(await stats_view.stats(deps)))


@router.get("/events", responses={200: {"model": EventsOut}})
async def events(
    asked: AdminReader,
    deps: Use,
    instance_id: Annotated[CallerId | None, Query()] = None,
    subject_id: Annotated[UUID | None, Query(description="A server, a database, a token or drift.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The audit trail, newest first."""
    before = position_of(cursor) if cursor is not None else events_view.NEWEST
    page = await events_view.page(deps, instance_id=instance_id, subject_id=subject_id, before=before, limit=limit)
    return answer(EventsOut.of(page))


@router.get("/events/verification", responses={200: {"model": VerificationOut}})
async def verify_events(asked: AdminReader, deps: Use, since: Since = None) -> Response:
    """Walk the audit trail and name the first event that was changed, removed or inserted; 100,000 events at a time."""
    return answer(VerificationOut.of(await chain_view.verify(deps, _head(since) if since else None)))


@router.post("/tokens", status_code=201, responses={201: {"model": IssuedOut}})
async def issue(wanted: IssueIn, asked: AdminWriter, deps: Use) -> Response:
    """A new API token, shown this once. A token can give only scopes it holds itself, and for no longer than it is valid.

    No two tokens that are valid have the same name: events are signed with it.
    """
    asked.caller.must_hold(wanted.scopes)
    customer_id = CustomerId(wanted.customer_id) if wanted.customer_id else None
    token, secret = await token_actions.issue(
        deps,
        wanted.name,
        wanted.scopes,
        wanted.expires_at,
        asked.who,
        customer_id=customer_id,
        until=asked.caller.expires_at,
    )
    return answer(IssuedOut.with_text(token, secret), 201, NO_STORE)


@router.get("/tokens", responses={200: {"model": TokensOut}})
async def tokens(asked: AdminWriter, deps: Use) -> Response:
    """All API tokens, without their texts."""
    return answer(TokensOut(tokens=[TokenOut.of(token) for token in await tokens_view.all_tokens(deps)]))


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke(token_id: UUID, asked: AdminWriter, deps: Use) -> Response:
    """It stops working everywhere within a moment."""
    await token_actions.revoke(deps, TokenId(token_id), asked.who)
    return Response(status_code=204)


def _head(text: str) -> Head:
    seq, _, hash_ = text.partition(":")
    return Head(int(seq), bytes.fromhex(hash_))
