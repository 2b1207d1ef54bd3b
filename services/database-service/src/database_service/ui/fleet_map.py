"""The map of all servers as one short text, which the page's script draws: a tag for each of 20,000 would be a megabyte."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from database_service.views.fleet import Cell

STATES = {
    "h": "healthy",
    "d": "degraded",
    "u": "unhealthy",
    "n": "not looked at yet",
    "c": "cordoned",
    "s": "starting",
    "l": "leaving",
    "e": "error",
}
"""Letters of the text, and what they mean to people."""

_OF_HEALTH = {"healthy": "h", "degraded": "d", "unhealthy": "u"}
_OF_STATUS = {"provisioning": "s", "initializing": "s", "deprovisioning": "l", "error": "e"}


def written(cells: Iterable[Cell]) -> str:
    """`@7 h50/48x3 u50/50`: from the server with seq 7 on, three healthy ones with 48 of 50 slots in use, then an ill one."""
    return " ".join(_words(cells))


def _words(cells: Iterable[Cell]) -> Iterator[str]:
    expected = 0
    runs = groupby(enumerate(cells), lambda each: (each[1].seq - each[0], _look(each[1])))
    for (_, look), run in runs:
        seqs = [cell.seq for _, cell in run]
        if seqs[0] != expected:
            yield f"@{seqs[0]}"
        expected = seqs[-1] + 1
        yield look if len(seqs) == 1 else f"{look}x{len(seqs)}"


def _look(cell: Cell) -> str:
    return f"{_letter(cell)}{cell.slots}/{cell.slots - cell.free}"


def _letter(cell: Cell) -> str:
    """What is worst is what is shown: who is ill and cordoned is ill."""
    if cell.status != "active":
        return _OF_STATUS.get(cell.status, "n")
    health = _OF_HEALTH.get(cell.health_status, "n")
    return "c" if cell.cordoned and health == "h" else health
