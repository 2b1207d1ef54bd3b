"""The map's text: short, and whole."""

from database_service.ui.fleet_map import LONGEST, written

ALL = 20_000


def test_servers_that_look_the_same_and_follow_each_other_are_one_word() -> None:
    assert written("", ALL) == ("", 0)
    assert written("h50/50 h50/50 h50/48", ALL) == ("h50/50x2 h50/48", 3)
    assert written("@7 h50/50 @9 h50/50 h50/50", ALL) == ("@7 h50/50 @9 h50/50x2", 3)


def test_no_more_servers_are_told_of_than_are_wanted_also_where_they_are_alike() -> None:
    assert written("h50/50 h50/50 h50/50", 2) == ("h50/50x2", 2)
    assert written("@7 h50/50 @9 h50/50", 1)[1] == 1


def test_twenty_thousand_servers_of_which_no_two_neighbours_are_alike_fit_a_page() -> None:
    text, servers = written(" ".join(f"h50/{seq % 51}" for seq in range(ALL)), ALL)
    assert servers == ALL
    assert len(text) < LONGEST


def test_what_does_not_fit_a_page_is_left_out_and_not_counted() -> None:
    looks = " ".join(f"@{2 * seq} h10000/{seq % 9999}" for seq in range(ALL))
    text, servers = written(looks, ALL)
    assert LONGEST - 20 < len(text) <= LONGEST
    assert servers == text.count("h") < ALL
    assert looks.startswith(text)
