"""The request log on the wire."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from database_service.api.paging import cursor_of_place
from database_service.api.schemas.common import Out, Text
from database_service.views.requests import RequestPage, RequestView


class RequestOut(Out):
    """One request that was answered. Of bodies there is what the contract marks as `x-logged`, and numbers, ids and times."""

    at: datetime = Field(description="When it came.")
    request_id: Text = Field(description="As in `X-Request-ID`, in logs and in events.")
    token_id: UUID | None = Field(
        description="Of somebody who signed in without one, an id of their own. Null where no valid token was shown."
    )
    token_name: Text | None
    method: Text
    endpoint: Text = Field(description="The path as the contract has it, without ids; `unmatched` where there is none.")
    instance_id: Text | None
    customer_id: Text | None
    status: int
    ms: float = Field(description="How long it took, in milliseconds.")
    code: Text | None = Field(description="Of the problem it was answered with.")
    request_body: Mapping[str, Any] | None = Field(description="Null where there was none that may be kept.")
    response_body: Mapping[str, Any] | None = Field(description="The same of the answer.")

    @classmethod
    def of(cls, request: RequestView) -> "RequestOut":
        return cls(
            at=request.at,
            request_id=request.request_id,
            token_id=request.token_id,
            token_name=request.token_name,
            method=request.method,
            endpoint=request.endpoint,
            instance_id=request.instance_id,
            customer_id=request.customer_id,
            status=request.status,
            ms=round(request.ms, 2),
            code=request.code,
            request_body=request.request_body,
            response_body=request.response_body,
        )


class RequestsOut(Out):
    requests: list[RequestOut]
    next_cursor: Text | None

    @classmethod
    def of(cls, page: RequestPage) -> "RequestsOut":
        return cls(
            requests=[RequestOut.of(request) for request in page.requests],
            next_cursor=cursor_of_place(page.next_before),
        )
