"""Images: looked up before anything runs them, as Swarm stops the old server first and only then misses the new image."""

import re
from typing import Any

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.servers import Image
from database_service.provisioners.swarm.description import Api
from database_service.provisioners.swarm.engine import Engine, EngineAway


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
