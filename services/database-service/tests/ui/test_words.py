"""Numbers and moments as people read them."""

from datetime import datetime, timedelta, timezone

import pytest

from database_service.ui import words


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("in_recovery", False, "no"),
        ("size_bytes", 123_456_789, "123 MB"),
        ("size_bytes", 999, "999 B"),
        ("oldest_transaction_s", 0.25, "0.25 s"),
        ("uptime_s", 119, "119 s"),
        ("uptime_s", 7200, "2 h"),
        ("uptime_s", 400_000, "4.63 d"),
        ("size_bytes", 999_499, "999 kB"),
        ("size_bytes", 999_500, "1 MB"),
        ("size_bytes", -999_500, "-1 MB"),
        ("size_bytes", 999.7, "1 kB"),
        ("size_bytes", 0, "0 B"),
        ("size_bytes", 10**15, "1\u202f000 TB"),
        ("size_bytes", 12_345 * 10**12, "12\u202f345 TB"),
        ("uptime_s", 0.00001, "0.00001 s"),
        ("uptime_s", 119.96, "2 min"),
        ("uptime_s", 7199.9, "2 h"),
        ("uptime_s", 172_799, "2 d"),
        ("uptime_s", 86_400 * 999, "999 d"),
        ("uptime_s", 86_400 * 999.7, "1\u202f000 d"),
        ("uptime_s", 86_400 * 1500, "1\u202f500 d"),
        ("databases", 12_345, "12\u202f345"),
        ("version", "18.6", "18.6"),
        ("nothing", None, "None"),
    ],
)
def test_a_fact_is_read_by_the_unit_of_its_name(name: str, value: object, read: str) -> None:
    assert words.fact(value, name) == read


def test_a_moment_is_told_in_utc_and_in_a_way_that_a_script_can_rewrite() -> None:
    at = datetime(2026, 11, 22, 10, 0, tzinfo=timezone(timedelta(hours=2)))
    assert words.moment(at) == (
        '<time datetime="2026-11-22T08:00:00+00:00" title="2026-11-22 08:00:00 UTC">2026-11-22 08:00:00 UTC</time>'
    )
    assert words.fact(at.isoformat(), "started_at") == words.moment(at)
    assert words.moment(None) == "never"


def test_a_share_is_whole_only_where_all_of_it_is_taken() -> None:
    assert [words.share(*each) for each in ((0, 0), (0, 50), (49.9, 50), (50, 50))] == ["0 %", "0 %", "99 %", "100 %"]


def test_what_is_wrong_is_not_coloured_like_what_is_right() -> None:
    assert [words.tone(state) for state in ("healthy", "unhealthy", "error", "full", "provisioning")] == [
        "good", "bad", "bad", "warn", "calm"
    ]  # fmt: skip
