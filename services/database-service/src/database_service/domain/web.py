"""Addresses on the web."""

from urllib.parse import SplitResult, urlsplit

_HERE = ("localhost", "127.0.0.1", "::1")
_PORTS = {"http": 80, "https": 443}


def is_private(url: str) -> bool:
    """Whether nobody on the way reads along: HTTPS, or plain HTTP that does not leave this machine."""
    parts = _split(url)
    if parts is None or parts.username is not None or parts.fragment or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)


def is_origin(url: str) -> bool:
    """Whether it names a site and no place on it."""
    parts = _split(url)
    return parts is not None and bool(parts.netloc) and not (parts.path or "?" in url or "#" in url)


def is_issuer(url: str) -> bool:
    """Whether it may be an identity provider's name for itself: OpenID Connect has no query and no fragment in one."""
    return _split(url) is not None and "?" not in url and "#" not in url


def is_same_origin(one: str, other: str) -> bool:
    """Whether browsers take them for places on one site."""
    return (origin := _origin(one)) is not None and origin == _origin(other)


def _origin(url: str) -> tuple[str, str, int | None] | None:
    parts = _split(url)
    if parts is None or not parts.hostname:
        return None
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme)


def _split(url: str) -> SplitResult | None:
    if any(each.isspace() or not each.isprintable() for each in url):
        return None  # urlsplit takes some of these out, and keeps others
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  raises where it is no number
    except ValueError:
        return None
    return parts
