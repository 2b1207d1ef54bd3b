"""Images: looked up before anything runs them, as Swarm stops the old server first and only then misses the new image."""

import re
import time
from typing import Any

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.servers import Image
from database_service.provisioners.swarm.description import Api
from database_service.provisioners.swarm.engine import Engine, EngineAway

ASKED_AGAIN_S = 60.0


class Pins:
    """Digests for new servers, so that a tag that moves does not change them. Registries are asked once in a minute: one that
    is away must not hold up every server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, tuple[float, str]] = {}

    def pin(self, reference: str) -> str:
        """`repository:tag@sha256:…`, or the reference itself where no registry has it: then nodes run what they have."""
        if "@" in reference:
            return reference
        asked_at, known = self._known.get(reference, (-ASKED_AGAIN_S, reference))
        if time.monotonic() - asked_at < ASKED_AGAIN_S:
            return known
        digest = self._engine.digest(reference)
        pinned = f"{reference}@{digest}" if digest else reference
        self._known[reference] = time.monotonic(), pinned
        return pinned


def pinned(engine: Engine, reference: str) -> Image:
    """The image of this reference, by digest where it came from a registry. ProvisioningFailed where it is not to be had."""
    told = _fetched(engine, reference)
    return Image(_with_digest(reference, told), _major(reference, told))


def _fetched(engine: Engine, reference: str) -> Api:
    """What the registry has now; without a registry, what this engine has."""
    try:
        told = engine.pull(reference)
    except EngineAway:
        raise
    except ProvisioningFailed:
        told = None  # no registry, or one that does not let us in
    told = told or engine.local_image(reference)
    if told is None:
        raise ProvisioningFailed(
            f"The image {reference} is not found, neither in its registry nor on the manager's node."
        )
    return told


def _with_digest(reference: str, told: Api) -> str:
    """`repository:tag@sha256:…`: the tag says to people what the digest says to engines."""
    if "@" in reference:
        return reference
    repository = _repository(reference)
    digests = [digest for digest in told.get("RepoDigests") or [] if digest.partition("@")[0] == repository]
    return f"{reference}@{digests[0].partition('@')[2]}" if digests else reference


def _repository(reference: str) -> str:
    name, _, tag = reference.rpartition(":")
    return reference if not name or "/" in tag else name


def _major(reference: str, told: Api) -> int:
    config: dict[str, Any] = told.get("Config") or {}
    environment = dict(line.partition("=")[::2] for line in config.get("Env") or [])
    major = environment.get("PG_MAJOR", "")
    if not re.fullmatch(r"\d+", major):
        raise ProvisioningFailed(
            f"The image {reference} does not tell its PostgreSQL's version (PG_MAJOR in its environment)."
        )
    return int(major)
