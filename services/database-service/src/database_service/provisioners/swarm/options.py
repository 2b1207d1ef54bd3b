"""How servers stand in this Swarm: everything of them that no row says."""

from dataclasses import dataclass
from pathlib import Path

from database_service.domain.plans import ServerType


@dataclass(frozen=True, slots=True)
class Options:
    """Set once from Settings."""

    plane: str = "dbs"
    """Names this control plane: only what carries it as a label is ours."""
    network: str | None = None
    """An overlay network that servers and those who use them share; there, a server's name is its address."""
    publish: bool = False
    """Servers are reached at a port of the node they run on, also from outside of the network."""
    pools_dir: Path | None = None
    """Storage that every suitable node and the worker have mounted at this path; None: volumes of the engine's own node."""
    dedicated_dir: Path | None = None
    image: str | None = None
    """What runs where a server's own image is not known any more: to erase data that is left."""
    constraints: tuple[str, ...] = ("node.labels.role==database",)

    @property
    def shared_storage(self) -> bool:
        return self.pools_dir is not None

    @property
    def roots(self) -> tuple[Path, ...]:
        """Every directory that holds servers' places."""
        return tuple(dict.fromkeys(path for path in (self.pools_dir, self.dedicated_dir) if path))

    def root_of(self, server_type: ServerType) -> Path | None:
        if server_type is ServerType.DEDICATED and self.dedicated_dir:
            return self.dedicated_dir
        return self.pools_dir
