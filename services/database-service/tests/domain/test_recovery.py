"""What becomes of rows after a loss: of two accounts the newer one counts, and where nobody can tell, nothing is done."""

from typing import Any
from uuid import UUID, uuid4

from database_service.domain.databases import Status
from database_service.domain.ids import ServerId
from database_service.domain.recovery import Adopt, Known, Leave, Looked, Relogin, Turn, Wake, compare
from database_service.domain.register import Entry, Kind, Registered, Standing

S1, S2 = ServerId(UUID(int=1)), ServerId(UUID(int=2))
X = UUID(int=10)


def standing(owner: str = "own_x", *, is_open: bool = True, logins: tuple[str, ...] = ("u_x",)) -> Standing:
    return Standing("db_x", owner, is_open, frozenset(logins))


def entry(server: ServerId = S1, version: int = 5, status: str = "ready", **more: Any) -> Entry:
    told = {"status": status, "instance_id": "x", "customer_id": "c", "plan_tier": "free", "twin_of": None}
    return Entry(more.pop("id", X), Kind.DATABASE, server, "own_x", version, told | more)


def server(at: ServerId = S1, *told: Entry | Standing) -> Looked:
    entries = [one for one in told if isinstance(one, Entry)]
    return Looked(at, f"pool-{at.int}", Registered(entries, [one for one in told if isinstance(one, Standing)]))


def row(status: Status = Status.READY, version: int = 5, **more: Any) -> Known:
    known: dict[str, Any] = {
        "id": X, "status": status, "instance_id": "x", "server_id": S1, "name": "db_x", "owner_role": "own_x",
        "version": version, "held": False, "twin": False, "logins": frozenset({"u_x"}),
    }  # fmt: skip
    return Known(**known | more)


def test_what_its_server_tells_of_makes_a_row_where_there_is_none() -> None:
    [deed] = compare([server(S1, entry(), standing())], [])
    assert isinstance(deed, Adopt)
    assert deed.status is Status.CREATING


def test_one_whose_door_is_shut_comes_back_released_and_not_in_use() -> None:
    [deed] = compare([server(S1, entry(), standing(is_open=False))], [])
    assert isinstance(deed, Adopt)
    assert deed.status is Status.RELEASED


def test_a_row_that_is_as_new_as_its_entry_is_left_as_it_is() -> None:
    assert compare([server(S1, entry(), standing())], [row()]) == []


def test_a_newer_entry_counts_and_an_older_one_does_not() -> None:
    [deed] = compare([server(S1, entry(version=6, status="released"), standing(is_open=False))], [row()])
    assert isinstance(deed, Adopt)
    assert compare([server(S1, entry(version=4, status="released"), standing())], [row()]) == []


def test_what_nothing_tells_of_is_left_alone() -> None:
    [deed] = compare([server(S1, standing())], [])
    assert isinstance(deed, Leave)


def test_of_two_copies_the_one_with_the_newer_entry_counts_and_the_other_is_told_of() -> None:
    found = compare([server(S1, entry(S1, 5), standing()), server(S2, entry(S2, 9), standing())], [row()])
    adopted = [deed for deed in found if isinstance(deed, Adopt)]
    assert [deed.place.at.server_id for deed in adopted] == [S2]
    assert [type(deed) for deed in found if deed not in adopted] == [Leave]


def test_of_two_copies_of_which_one_tells_nothing_neither_is_touched() -> None:
    for rows in ([], [row()], [row(Status.MOVING, held=True)]):
        found = compare([server(S1, entry(), standing()), server(S2, standing())], rows)
        assert {type(deed) for deed in found} == {Leave}


def test_what_a_moved_database_left_behind_stays_shut_and_is_kept() -> None:
    left = entry(S1, 7, "released", id=uuid4(), twin_of=str(X))
    found = compare([server(S1, left, standing(is_open=False)), server(S2, entry(S2, 9), standing())], [])
    assert {(deed.place.at.server_id, deed.status) for deed in found if isinstance(deed, Adopt)} == {
        (S1, Status.RELEASED), (S2, Status.CREATING),
    }  # fmt: skip
    assert len(found) == 2


def test_what_was_released_and_taken_back_since_is_in_use() -> None:
    [deed] = compare([server(S1, standing())], [row(Status.RELEASED, held=True)])
    assert isinstance(deed, Turn)
    assert deed.status is Status.CREATING


def test_what_is_released_there_too_goes_on_from_there() -> None:
    [deed] = compare([server(S1, standing(is_open=False))], [row(Status.RELEASED, held=True)])
    assert isinstance(deed, Wake)


def test_what_was_moving_and_is_in_one_place_is_opened_there() -> None:
    [deed] = compare([server(S1, standing(is_open=False))], [row(Status.MOVING, held=True)])
    assert isinstance(deed, Turn)
    assert deed.status is Status.CREATING


def test_what_was_released_since_is_not_opened_again() -> None:
    [deed] = compare([server(S1, standing(is_open=False))], [row()])
    assert isinstance(deed, Turn)
    assert deed.status is Status.RELEASED


def test_logins_that_were_changed_since_are_found() -> None:
    [deed] = compare([server(S1, standing(logins=("u_x", "u_new")))], [row()])
    assert isinstance(deed, Relogin)


def test_an_instance_that_has_another_database_by_now_keeps_that_one() -> None:
    found = compare([server(S1, entry(), standing())], [row(id=uuid4(), owner_role="own_y", server_id=S2)])
    assert [type(deed) for deed in found] == [Leave]


def test_one_that_only_waits_gets_what_was_found() -> None:
    waiting = row(Status.WAITING, id=uuid4(), owner_role="own_y", server_id=None)
    [deed] = compare([server(S1, entry(), standing())], [waiting])
    assert isinstance(deed, Adopt)
    assert deed.before == waiting


def test_what_is_not_on_its_server_is_told_of_and_never_made() -> None:
    [deed] = compare([server(S1)], [row()])
    assert isinstance(deed, Leave)
    assert compare([], [row()]) == []


def test_what_was_left_behind_is_not_dropped_where_the_database_went_back_to() -> None:
    twin = row(Status.RELEASED, id=uuid4(), twin=True, held=True, instance_id=None, logins=frozenset())
    back = [server(S1, entry(S1, 9), standing()), server(S2, standing(is_open=False))]
    found = compare(back, [row(server_id=S2), twin])
    assert [deed.place.at.server_id for deed in found if isinstance(deed, Adopt)] == [S1]
    assert not [deed for deed in found if isinstance(deed, Wake)]


def test_what_was_left_behind_and_is_so_still_goes_on_from_there() -> None:
    twin = row(Status.RELEASED, id=uuid4(), twin=True, held=True, instance_id=None, logins=frozenset())
    there = [server(S1, standing(is_open=False)), server(S2, entry(S2), standing())]
    [deed] = compare(there, [row(server_id=S2), twin])
    assert deed == Wake(twin)
