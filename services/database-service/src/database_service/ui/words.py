"""Words and numbers as people read them."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from markupsafe import Markup, escape

_TONES = {
    "bad": ("unhealthy", "error", "failed", "stopped", "critical"),
    "warn": ("degraded", "full", "maintenance", "deprovisioning", "rolling_back", "cancelled", "stale", "warning"),
    "calm": ("unknown", "gone", "provisioning", "initializing", "waiting", "running", "released", "releasing"),
}
LONGEST_BODY = 1_200
"""Bytes, as they are sent."""

_TONE = {word: tone for tone, words in _TONES.items() for word in words}


def tone(word: str) -> str:
    """`good`, `warn`, `bad` or `calm`: how a state is coloured. Its word stands beside the colour always."""
    return _TONE.get(word, "good")


def moment(at: datetime | None) -> Markup | str:
    """UTC, which the page's script rewrites in the reader's zone, with this on hover."""
    if at is None:
        return "never"
    utc = at.astimezone(UTC)
    text = utc.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(utc.isoformat(), text, text)


def amount(number: float) -> str:
    return f"{number:,.0f}".replace(",", "\u202f")


def size(number: float | None) -> str:
    """Bytes, with three digits and a unit."""
    if number is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if abs(_rounded(number)) < 1000:
            return f"{_digits(number)} {unit}"
        number /= 1000
    return f"{_digits(number)} TB"


def _rounded(number: float) -> float:
    """To three digits, as it is shown: what is rounded up to the next unit is told in that."""
    return float(f"{number:.3g}")


def _digits(number: float) -> str:
    """Three of them, or all before the point; never an exponent."""
    return amount(number) if abs(_rounded(number)) >= 1000 else f"{Decimal(f'{number:.3g}'):f}"


def told(number: float, how: str) -> str:
    """Where the filter itself is an argument."""
    return size(number) if how == "size" else amount(number)


def share(part: float, whole: float) -> str:
    """Per cent, rounded down, so that 100 means all of it."""
    return f"{int(100 * part / whole) if whole else 0} %"


def span(seconds: float) -> str:
    """`90 s`, `25 min`, `3.5 h`, `12 d`."""
    for unit, length, least_of_next in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if _rounded(seconds / length) < least_of_next:
            return f"{_digits(seconds / length)} {unit}"
    return f"{_digits(seconds / 86_400)} d"


def called(name: str) -> str:
    """The name of a fact without its unit."""
    for unit in ("_bytes", "_s"):
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def fact(value: object, name: str) -> Markup | str:
    """What a server's facts say, by the unit that a name ends with."""
    match value:
        case bool():
            return "yes" if value else "no"
        case str() if name.endswith("_at"):
            return moment(datetime.fromisoformat(value))
        case int() | float() if name.endswith("_bytes"):
            return size(value)
        case int() | float() if name.endswith("_s"):
            return span(value)
        case int():
            return amount(value)
        case _:
            return str(value)


def brief(text: str | None, most: int = 300) -> str:
    """Its beginning, where one of fifty on a page is as long as a page."""
    text = text or ""
    return text if len(text) <= most else f"{text[:most]} …"


def pretty(body: object) -> str:
    """A body as people read it, as far as a page with a hundred of them has room; what is cut off is said."""
    text = json.dumps(body, indent=2, ensure_ascii=False)
    shown = text[:LONGEST_BODY]
    while (sent := len(escape(shown).encode())) > LONGEST_BODY:
        shown = shown[: len(shown) * LONGEST_BODY // sent]
    if len(shown) == len(text):
        return text
    return f"{shown}\n… {amount(len(text) - len(shown))} more characters, which `dbs requests list --json` shows"
