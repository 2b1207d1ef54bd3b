"""Survey: whether servers could be made in this Swarm at all, before anybody orders one. Looks only."""

import os
import re
from collections.abc import Callable, Mapping

from database_service.domain.errors import ProvisioningFailed
from database_service.provisioners.swarm.description import Api
from database_service.provisioners.swarm.engine import Engine
from database_service.provisioners.swarm.images import pinned
from database_service.provisioners.swarm.options import Options

LABEL = re.compile(r"\s*node\.labels\.(?P<name>[^=!\s]+)\s*==\s*(?P<value>\S+)\s*")


def looks(engine: Engine, options: Options, image: str) -> Mapping[str, Callable[[], str]]:
    """By its subject, each look: what was found, in words. It raises ProvisioningFailed with what to do about it."""
    return {
        "Docker engine": lambda: _engine(engine),
        "database nodes": lambda: _nodes(engine, options),
        "network": lambda: _network(engine, options),
        "storage": lambda: _storage(engine, options),
        "PostgreSQL image": lambda: _image(engine, image),
    }


def _engine(engine: Engine) -> str:
    return f"{engine.url} is a manager of a Swarm of {len(engine.nodes())} node(s)"


def _nodes(engine: Engine, options: Options) -> str:
    wanted = [match.group("name", "value") for text in options.constraints if (match := LABEL.fullmatch(text))]
    fit = [node for node in engine.nodes() if _takes_tasks(node) and _has(node, wanted)]
    if not fit:
        labels = " ".join(f"--label-add {name}={value}" for name, value in wanted)
        raise ProvisioningFailed(
            f"no node that is ready satisfies {', '.join(options.constraints)}: docker node update {labels} NODE"
        )
    return ", ".join(str(node["Description"]["Hostname"]) for node in fit)


def _takes_tasks(node: Api) -> bool:
    return (node["Status"]["State"], node["Spec"]["Availability"]) == ("ready", "active")


def _has(node: Api, wanted: list[tuple[str, ...]]) -> bool:
    labels = node["Spec"].get("Labels") or {}
    return all(labels.get(name) == value for name, value in wanted)


def _network(engine: Engine, options: Options) -> str:
    if options.network is None:
        return "servers are reached at ports of their nodes"
    engine.network_id(options.network)
    return f"{options.network} is there"


def _storage(engine: Engine, options: Options) -> str:
    for root in options.roots:
        if not root.is_dir() or not os.access(root, os.W_OK | os.X_OK):
            raise ProvisioningFailed(
                f"{root} is not a directory that can be written to: is the shared storage mounted?"
            )
    if options.roots:
        return ", ".join(map(str, options.roots))
    node = engine.node(engine.own_node_id())
    return f"volumes of node {node['Description']['Hostname'] if node else '?'}, which every server stays on"


def _image(engine: Engine, image: str) -> str:
    if not image:
        raise ProvisioningFailed("POSTGRES_IMAGE is not set")
    found = pinned(engine, image)
    return f"{found.reference}, PostgreSQL {found.major}"
