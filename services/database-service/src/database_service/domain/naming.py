"""Names on tenant servers: short, from random bytes, never from anybody's ids, so none can collide or inject."""

import base64
import re

RESERVED_DATABASES = frozenset({"postgres", "template0", "template1"})
OUR_PREFIX = "dbs_"
TEMPLATE_PREFIX = "dbs_template_"
_WANTED = re.compile(r"[a-z_][a-z0-9_-]{0,62}")


def short(random: bytes) -> str:
    """Twelve letters and digits from eight random bytes."""
    return base64.b32encode(random).decode().lower()[:12]


def database_name(random: bytes) -> str:
    return f"db_{short(random)}"


def owner_role(random: bytes) -> str:
    return f"own_{short(random)}"


def login_role(random: bytes) -> str:
    return f"u_{short(random)}"


def mover_role(random: bytes) -> str:
    return f"m_{short(random)}"


def shape_database(mover: str) -> str:
    """Where definitions are made again to be compared. Nobody may ask for a name that begins like this."""
    return f"{OUR_PREFIX}shape_{mover}"


def server_name(kind: str, random: bytes) -> str:
    return f"{kind}-{short(random)[:8]}"


def template_database(template: str) -> str:
    return f"{TEMPLATE_PREFIX}{template}"


def problem_with_database_name(wanted: str) -> str | None:
    """Why a caller may not have this name; None if they may."""
    if not _WANTED.fullmatch(wanted):
        return "must be 1-63 of a-z, 0-9, _ and -, starting with a letter or _"
    if wanted in RESERVED_DATABASES or wanted.startswith((OUR_PREFIX, "pg_")):
        return "is reserved"
    return None
