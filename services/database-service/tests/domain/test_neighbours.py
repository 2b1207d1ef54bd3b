"""Who is called noisy, and what is advised."""

from dataclasses import replace
from uuid import UUID

import pytest

from database_service.domain.ids import CustomerId, InstanceId, ServerId
from database_service.domain.neighbours import Measure, Neighbour, Whole, rank
from database_service.domain.plans import GIB, MIB, Tier
from database_service.domain.usage import Level, Rates, Stop

WHOLE = Whole(connections=100, cpus=2, blocks=10_000, temp_bytes=0, size_bytes=GIB)
QUIET = Neighbour(
    InstanceId("quiet"), CustomerId("c"), Tier.FREE, ServerId(UUID(int=1)), "pool-1", Level.OK, Stop.NONE, connections=1,
    oldest_transaction_s=None, rates=Rates(1, 10, 0, 0.01), size_bytes=8 * MIB, whole=WHOLE,
)  # fmt: skip


def advice(**changes: object) -> str:
    [ranked] = rank([replace(QUIET, **changes)])  # type: ignore[arg-type]
    return " ".join(ranked.advice)


def test_the_noisiest_is_first_by_whatever_it_takes_most_of() -> None:
    by_time = replace(QUIET, instance_id=InstanceId("time"), rates=Rates(1, 0, 0, 1.8))
    by_size = replace(QUIET, instance_id=InstanceId("size"), size_bytes=GIB // 2)
    ranked = rank([QUIET, by_size, by_time])
    assert [each.neighbour.instance_id for each in ranked] == ["time", "size", "quiet"]
    assert [each.shares.greatest for each in ranked] == [Measure.TIME, Measure.SIZE, Measure.CONNECTIONS]
    assert ranked[0].shares.time == pytest.approx(0.9)


def test_nothing_is_advised_of_who_disturbs_nobody() -> None:
    assert advice() == ""


def test_a_little_use_of_an_idle_server_is_no_share_of_it() -> None:
    alone = Whole(connections=100, cpus=2, blocks=10, temp_bytes=100, size_bytes=8 * MIB)
    assert advice(whole=alone, rates=Rates(1, 10, 100, 0.01)) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"level": Level.STOPPED, "stop": Stop.WRITES, "size_bytes": GIB},
            "1 GiB of the 1 GiB of its plan, so its writes are",
        ),
        (
            {"level": Level.STOPPED, "stop": Stop.DOOR, "size_bytes": 3 * GIB},
            "its door is shut: change its plan to starter",
        ),
        ({"level": Level.CRITICAL, "size_bytes": GIB - MIB}, "before its writes are stopped"),
        ({"connections": 5}, "5 sessions where its plan gives 5"),
        ({"oldest_transaction_s": 540.0}, "open for 9 min"),
        (
            {"rates": Rates(1, 0, 0, 1.5)},
            "75% of the time of its server's CPUs: move it to an emptier pool, or change its plan",
        ),
        ({"tier": Tier.PROFESSIONAL, "rates": Rates(1, 0, 0, 1.5)}, "give it a server of its own"),
        ({"rates": Rates(1, 0, 80 * MIB, 0.1)}, "80 MiB of temporary files in a second"),
        ({"rates": Rates(1, 9_000, 0, 0.1)}, "90% of all blocks"),
        ({"size_bytes": GIB * 3 // 4}, "75% of what all databases"),
    ],
)
def test_advice_says_what_is_amiss_and_what_to_do(changes: dict[str, object], said: str) -> None:
    assert said in advice(**changes)
