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
        pinned = f"{reference}@{digest}" if (digest := self._digest(reference)) else reference
        self._known[reference] = time.monotonic(), pinned
        return pinned

    def _digest(self, reference: str) -> str | None:
        try:
            return self._engine.digest(reference)
        except EngineAway:
            raise
        except ProvisioningFailed:
            return None  # nodes run what they have, and their tasks tell what they lack


def pinned(engine: Engine, reference: str) -> Image:
    """The image of this reference, by digest where a registry has it. ProvisioningFailed where it is not to be had.

    What the engine has counts only where no registry can have it: an old copy must not pass for what a tag means now.
    """
    if "@" not in reference and (digest := _digest(engine, reference)):
        reference = f"{reference}@{digest}"
    told = engine.local_image(reference)
    if told is None and "@" in reference:
        engine.pull(reference)
        told = engine.local_image(reference)
    if told is None:
        raise ProvisioningFailed(
            f"The image {reference} is not found, neither in its registry nor on the manager's node."
        )
    return Image(reference, _major(reference, told))


def _digest(engine: Engine, reference: str) -> str | None:
    """What the registry has of it now; None for an image that was never in one."""
    try:
        return engine.digest(reference)
    except EngineAway:
        raise
    except ProvisioningFailed as e:
        local = engine.local_image(reference)
        if local is None:
            raise ProvisioningFailed(
                f"The image {reference} is not found on the manager's node, and its registry does not tell: {e}"
            ) from e
        if _was_in(reference, local):
            raise ProvisioningFailed(f"The registry does not tell what {reference} is now: {e}") from e
        return None


def _was_in(reference: str, local: Api) -> bool:
    """Whether it came from, or went to, the repository of this reference: then only that knows what its tag is now."""
    name, _, tag = reference.rpartition(":")
    repository = reference if not name or "/" in tag else name
    short = repository.removeprefix("docker.io/").removeprefix("library/")
    known = {digest.partition("@")[0] for digest in local.get("RepoDigests") or []}
    return bool(known & {repository, short})


def _major(reference: str, told: Api) -> int:
    config: dict[str, Any] = told.get("Config") or {}
    environment = dict(line.partition("=")[::2] for line in config.get("Env") or [])
    major = environment.get("PG_MAJOR", "")
    if not re.fullmatch(r"\d+", major):
        raise ProvisioningFailed(
            f"The image {reference} does not tell its PostgreSQL's version (PG_MAJOR in its environment)."
        )
    return int(major)
