"""Signs of life: each role leaves one where the container's health check finds it (`cli.health`)."""

from pathlib import Path

API = "api"
WORKER = "worker"
BEAT = "beat"
EVERY_S = 5.0
"""How often worker and beat renew theirs."""


def sign(folder: Path | None, role: str) -> None:
    """Alive at this moment. Without a folder nobody asks."""
    if folder:
        (folder / role).touch()


def listening(folder: Path | None, port: int) -> None:
    """The API needs no signs: it is told where it can be asked."""
    if folder:
        (folder / API).write_text(str(port))
