"""`python -m database_service.cli.health FOLDER`: the container's health check, for whichever role runs in it.

It is run every few seconds, so it reads no more code than it needs; `dbs doctor` looks at everything.
"""

import http.client
import sys
import time
from pathlib import Path

from database_service.observability import alive

STALE_S = 60.0
_PATIENCE_S = 5.0


def complaint(folder: Path, now: float) -> str | None:
    """What is wrong with the role that left its sign in this folder; None where it is well. `now` is in Unix time."""
    if (told := folder / alive.API).exists():
        return _of_the_api(int(told.read_text()))
    for role in (alive.WORKER, alive.BEAT):
        if (sign := folder / role).exists():
            return _of_a_sign(role, now - sign.stat().st_mtime)
    return "nothing has started yet"


def _of_the_api(port: int) -> str | None:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        asked.request("GET", "/api/database/health")
        status = asked.getresponse().status
    except (OSError, http.client.HTTPException) as e:
        return f"the API does not answer: {type(e).__name__}"
    finally:
        asked.close()
    return None if status == http.client.OK else f"the API says {status}"


def _of_a_sign(role: str, age_s: float) -> str | None:
    """While the broker is away both wait for it without a sign; a restart would mend nothing."""
    if age_s < STALE_S or not _broker_answers():
        return None
    return f"the {role} has given no sign of life for {age_s:.0f} s, and the broker answers"


def _broker_answers() -> bool:
    import asyncio  # noqa: PLC0415  half of what a check costs, and seldom needed

    from database_service.broker.celery import new_sender  # noqa: PLC0415  most of a second, and seldom needed
    from database_service.broker.pulse import Pulse  # noqa: PLC0415
    from database_service.domain.errors import Unavailable  # noqa: PLC0415
    from database_service.settings import load_settings  # noqa: PLC0415

    try:
        asyncio.run(Pulse(new_sender(load_settings().broker_url()))())
    except Unavailable:
        return False
    return True


if __name__ == "__main__":
    sys.exit(complaint(Path(sys.argv[1]), time.time()))
