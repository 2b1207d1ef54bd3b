"""What every way to run workloads promises, on real ones."""

import asyncio
import time
from collections.abc import Callable
from uuid import uuid4

import pytest

from instance_service.domain.ids import InstanceId
from instance_service.domain.workloads import Presence, Seen, WorkloadSpec
from instance_support.telling import Bench, login_of

PATIENCE_S = 90


async def until(bench: Bench, spec: WorkloadSpec, holds: Callable[[Seen], bool]) -> Seen:
    """What is seen once it holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds(seen := await bench.workloads.observe(spec.id)):
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.05)
    return seen


async def well(bench: Bench, spec: WorkloadSpec) -> Seen:
    """Ensured, and seen well as the spec says."""
    await bench.workloads.ensure(spec)
    return await until(bench, spec, lambda seen: seen.healthy and seen.version == spec.version)


async def test_it_runs_as_its_spec_says_and_only_once(bench: Bench) -> None:
    spec = bench.spec()
    seen = await well(bench, spec)
    assert seen.presence is Presence.RUNNING
    first = bench.told(seen)
    await asyncio.gather(*(bench.workloads.ensure(spec) for _ in range(3)))
    assert bench.told(await until(bench, spec, lambda seen: seen.healthy))["born"] == first["born"]
    assert [found.id for found in await bench.workloads.list_ours()] == [spec.id]


async def test_the_password_comes_in_files_that_only_it_may_read_and_in_no_other_way(bench: Bench) -> None:
    spec = bench.spec()
    told = bench.told(await well(bench, spec))
    password = spec.login.password.reveal()
    assert told["files"] == {
        "DATABASE_URL_FILE": f"postgresql://u_1:{password}@db.example:5432/db_shop\n",
        "PGPASSFILE": f"db.example:5432:db_shop:u_1:{password}\n",
    }
    assert set(told["modes"].values()) <= {0o400, 0o600}
    assert {name: told["env"][name] for name in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER")} == {
        "PGHOST": "db.example",
        "PGPORT": "5432",
        "PGDATABASE": "db_shop",
        "PGUSER": "u_1",
    }
    assert password not in str(told["env"]) + told["arguments"]


async def test_it_never_runs_as_root(bench: Bench) -> None:
    assert bench.told(await well(bench, bench.spec()))["uid"] != 0


async def test_what_the_caller_asked_for_reaches_it_as_it_stands_and_cannot_name_another_database(bench: Bench) -> None:
    odd = "a 'b' \"c\" $HOME {{.Node.ID}} %s €\\"
    spec = bench.spec(env={"GREETING": odd, "PGHOST": "evil", "PORT": "1"})
    told = bench.told(await well(bench, spec))
    assert told["env"]["GREETING"] == odd
    assert told["env"]["PGHOST"] == "db.example"


async def test_another_login_takes_over_and_the_earlier_one_is_gone(bench: Bench) -> None:
    spec = bench.spec()
    await well(bench, spec)
    rotated = bench.spec(spec.id, login=login_of("u_2"))
    assert rotated.version != spec.version
    told = bench.told(await well(bench, rotated))
    assert told["env"]["PGUSER"] == "u_2"
    assert rotated.login.password.reveal() in told["files"]["DATABASE_URL_FILE"]
    assert [found.id for found in await bench.workloads.list_ours()] == [spec.id]


async def test_while_a_successor_is_not_yet_well_nobody_is_told_that_the_earlier_one_is_what_runs(
    bench: Bench,
) -> None:
    """Who is told so starts it again, and again."""
    spec = bench.spec()
    await well(bench, spec)
    rotated = bench.spec(spec.id, login=login_of("u_2"), env={"SLOW": "4"})
    told = set[str | None]()

    def taken_over(seen: Seen) -> bool:
        told.add(seen.version)
        assert seen.presence in (Presence.STARTING, Presence.RUNNING), seen
        return seen.healthy and seen.version == rotated.version

    await bench.workloads.ensure(rotated)
    await until(bench, rotated, taken_over)
    assert told <= {None, rotated.version}


async def test_what_was_never_there_is_absent_and_need_not_be_ended(bench: Bench) -> None:
    nobody = InstanceId(uuid4())
    assert await bench.workloads.observe(nobody) == Seen(Presence.ABSENT)
    await bench.workloads.stop(nobody)
    await bench.workloads.remove(nobody)
    assert await bench.workloads.list_ours() == []


async def test_what_was_stopped_can_be_started_again(bench: Bench) -> None:
    spec = bench.spec()
    await well(bench, spec)
    for _ in range(2):
        await bench.workloads.stop(spec.id)
        seen = await bench.workloads.observe(spec.id)
        assert seen.presence is Presence.STOPPED
        assert not seen.healthy
    await well(bench, spec)


async def test_what_was_removed_leaves_nothing(bench: Bench) -> None:
    spec = bench.spec()
    await well(bench, spec)
    for _ in range(2):
        await bench.workloads.remove(spec.id)
        assert await bench.workloads.observe(spec.id) == Seen(Presence.ABSENT)
    assert await bench.workloads.list_ours() == []


async def test_one_that_ends_at_once_says_why_and_not_its_password(bench: Bench) -> None:
    spec = bench.spec(env={"ENDS": "3"})
    await bench.workloads.ensure(spec)
    seen = await until(bench, spec, lambda seen: bool(seen.detail) and seen.presence is not Presence.RUNNING)
    assert seen.presence in (Presence.STOPPED, Presence.STARTING)
    assert spec.login.password.reveal() not in seen.detail
    mended = bench.spec(spec.id)
    await well(bench, mended)


async def test_one_that_does_not_answer_as_it_should_is_not_well(bench: Bench) -> None:
    spec = bench.spec(env={"ILL": "1"})
    await bench.workloads.ensure(spec)
    seen = await until(bench, spec, lambda seen: bool(seen.detail) and seen.presence is not Presence.UNKNOWN)
    assert not seen.healthy


@pytest.mark.parametrize("number", [4])
async def test_several_run_side_by_side_and_each_is_found_by_itself(bench: Bench, number: int) -> None:
    specs = [bench.spec(login=login_of(f"u_{n}")) for n in range(number)]
    await asyncio.gather(*(bench.workloads.ensure(spec) for spec in specs))
    for spec in specs:
        told = bench.told(await until(bench, spec, lambda seen: seen.healthy))
        assert told["env"]["PGUSER"] == spec.login.user
    assert {found.id for found in await bench.workloads.list_ours()} == {spec.id for spec in specs}
