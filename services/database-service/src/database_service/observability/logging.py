"""One line of JSON (or of colours) per fact, on stderr. structlog's own lines and the standard library's look the same."""

import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from database_service.domain.secret import Secret

HIDDEN = "***"
_SECRET_KEY = re.compile(
    r"(^|[_-])(password|passwd|token|secret|dsn|authorization|credentials?|key_ring)$", re.IGNORECASE
)
_SECRET_IN_TEXT = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+(?=@)|\bdbs_[A-Za-z0-9_-]{40,}")
_CHATTY = ("uvicorn.access", "httpx", "httpcore", "asyncio")

Look = Literal["json", "console"]


def configure_logging(*, level: str = "INFO", look: Look = "json") -> None:
    """Send everything that is logged in this process to stderr, masked. `level` is a name of the standard library's."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_shared(), *_ending(look)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    _send_standard_library_through(structlog.stdlib.ProcessorFormatter(processors=_foreign(look)), number)


def bind_request(request_id: str) -> None:
    """Every line of this request carries its id from here on, and nothing of the request before it."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Hide what must not be read: Secret values, values under names like `password`, passwords in URIs, API tokens."""
    return {key: HIDDEN if _names_a_secret(key) else masked(value) for key, value in event.items()}


@lru_cache(maxsize=1024)  # names are few and lines are many: every request writes one
def _names_a_secret(key: str) -> bool:
    return _SECRET_KEY.search(key) is not None


def masked(value: object) -> object:
    """The same without passwords in URIs, API tokens, Secret values, and whatever is named like a secret."""
    if isinstance(value, str):
        # Two quick looks spare most texts the slow one.
        return _SECRET_IN_TEXT.sub(_hide, value) if "://" in value or "dbs_" in value else value
    if isinstance(value, Secret):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: HIDDEN if _names_a_secret(str(key)) else masked(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [masked(inner) for inner in value]
    return value


def _hide(found: re.Match[str]) -> str:
    return HIDDEN if found[1] is None else f"{found[1]}:{HIDDEN}"


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask,
    ]


def _ending(look: Look) -> list[Processor]:
    if look == "console":
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.JSONRenderer(serializer=_encode)]


_ENCODER = json.JSONEncoder(default=str)


def _encode(event: EventDict, **_: object) -> str:
    """One encoder for all lines; json.dumps makes a new one for each."""
    return _ENCODER.encode(event)


def _foreign(look: Look) -> list[Processor]:
    """For a line of the standard library, which comes as a LogRecord with its text already put together."""
    return [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        *_shared(),
        *_ending(look),
    ]


def _send_standard_library_through(formatter: logging.Formatter, level: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "celery"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
