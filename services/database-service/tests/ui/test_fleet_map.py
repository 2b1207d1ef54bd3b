"""The map's text: short, and whole."""

from database_service.ui.fleet_map import written
from database_service.views.fleet import Cell


def cell(seq: int, free: int = 0, health: str = "healthy", status: str = "active", *, cordoned: bool = False) -> Cell:
    return Cell(seq, status, health, cordoned, 50, free)


def test_servers_that_look_the_same_and_follow_each_other_are_one_word() -> None:
    assert written([]) == ""
    assert written([cell(0), cell(1), cell(2, free=2)]) == "h50/50x2 h50/48"
    assert written([cell(7), cell(9), cell(10)]) == "@7 h50/50 @9 h50/50x2"


def test_the_worst_of_a_server_is_its_letter() -> None:
    shown = [
        cell(0, health="unhealthy", cordoned=True),
        cell(1, cordoned=True),
        cell(2, health="degraded"),
        cell(3, health="unknown"),
        cell(4, status="initializing", health="unknown"),
        cell(5, status="error", health="unhealthy"),
        cell(6, status="deprovisioning"),
    ]
    assert [word[0] for word in written(shown).split()] == list("ucdnsel")


def test_twenty_thousand_servers_of_which_no_two_neighbours_are_alike_fit_a_page() -> None:
    assert len(written(cell(seq, free=seq % 51) for seq in range(20_000))) < 150_000
