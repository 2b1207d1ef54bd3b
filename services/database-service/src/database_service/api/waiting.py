"""How long a caller is willing to wait: `Prefer: wait=N` (RFC 7240) or `?wait=N`, in whole seconds."""

import re
from datetime import timedelta
from typing import Annotated

from fastapi import Header, Query

from database_service.deps import Deps

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)

Prefer = Annotated[str | None, Header(description="`wait=N`: answer when it is ready, at the latest after N seconds.")]
Wait = Annotated[
    int, Query(ge=0, le=86400, description="Answer when it is ready, at the latest after so many seconds (30 at most).")
]


def preferred_wait(deps: Deps, prefer: str | None) -> timedelta | None:
    """The wait that is honoured; None where none was asked for. A preference we cannot read is ignored, as the RFC says."""
    found = _WAIT.search(prefer) if prefer else None
    return capped(deps, int(found[1])) if found else None


def capped(deps: Deps, seconds: int) -> timedelta:
    return min(timedelta(seconds=seconds), deps.policy.longest_wait)


def applied(wait: timedelta | None) -> dict[str, str]:
    """The header that tells the caller what was honoured."""
    return {"Preference-Applied": f"wait={int(wait.total_seconds())}"} if wait is not None else {}
