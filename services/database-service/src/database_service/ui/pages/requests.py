"""The request log: who asked the API for what, and what came of it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import Response

from database_service.domain.errors import InvalidField
from database_service.ui.fields import number, or_none
from database_service.ui.rendering import page
from database_service.ui.routing import router
from database_service.ui.visitor import Visits
from database_service.views import requests

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST = 2**63 - 1
_LAST_YEAR = 9998

routes = router()

Line = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


@routes.get("/requests")
async def log(
    request: Request,
    visitor: Visits,
    endpoint: Line = "",
    instance: Line = "",
    request_id: Line = "",
    token: Annotated[UUID | None, or_none] = None,
    errors: bool = False,
    status: Line = "",
    since: Line = "",
    until: Line = "",
    before: Annotated[str, Query(pattern=r"^(-?[0-9]{1,18}\.[0-9]{1,19})?$")] = "",
) -> Response:
    """Filters that are left empty are none. `since` and `until` are days in UTC, the first from its beginning, the last to its
    end."""
    last = _day(until, "until")
    wanted = requests.Wanted(
        since=_day(since, "since"),
        until=last + timedelta(days=1) if last else None,
        status=number({"status": status.strip()}, "status", 100, 599),
        endpoint=endpoint or None,
        errors=errors,
        token_id=token,
        instance_id=instance.strip() or None,
        request_id=request_id.strip() or None,
    )
    found = await requests.page(request.app.state.deps, wanted, before=_place(before))
    asked = {
        "endpoint": endpoint,
        "instance": instance,
        "request_id": request_id,
        "token": str(token or ""),
        "errors": "true" if errors else "",
        "status": status,
        "since": since,
        "until": until,
    }
    older = urlencode({key: value for key, value in asked.items() if value} | {"before": _text(found.next_before)})
    return page("requests.html", request, visitor, found=found, asked=asked, older=older)


def _day(text: str, name: str) -> datetime | None:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None
    except ValueError:
        raise InvalidField(name, "must be a day, such as 2026-11-22") from None
    if day and day.year > _LAST_YEAR:  # the day after it must be one as well
        raise InvalidField(name, f"must be a day of the year {_LAST_YEAR} at the latest")
    return day


def _text(place: requests.Place | None) -> str:
    return f"{(place.at - _EPOCH) // timedelta(microseconds=1)}.{place.id}" if place else ""


def _place(text: str) -> requests.Place | None:
    if not text:
        return None
    micros, _, id_ = text.partition(".")
    nowhere = InvalidField("before", "is not one that a page led to")
    try:
        place = requests.Place(_EPOCH + timedelta(microseconds=int(micros)), int(id_))
    except OverflowError:
        raise nowhere from None
    if place.id > _LARGEST:
        raise nowhere
    return place
