"""What the request log keeps of one HTTP request. Values alone."""

from dataclasses import dataclass
from datetime import datetime

from database_service.domain.ids import TokenId


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was answered. Bodies are JSON texts of what may be kept of them; None: nothing may, or it was too long."""

    id: int
    """Made by the process that answered, so that a row which is written twice is one."""
    at: datetime
    """When it came."""
    request_id: str
    token_id: TokenId | None
    token_name: str | None
    method: str
    endpoint: str
    """The route's template, such as `/api/database/databases/{instance_id}`."""
    instance_id: str | None
    customer_id: str | None
    status: int
    ms: float
    code: str | None
    """Of the problem it was answered with."""
    request_body: str | None
    response_body: str | None
