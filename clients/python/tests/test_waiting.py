"""Waiting: for a database, for an operation, for a move. No test sleeps: the stand-in's clock does."""

import asyncio
import threading
from dataclasses import replace

import httpx
import pytest

from database_service_client import (
    Address,
    AsyncDatabaseService,
    AsyncOperation,
    Credentials,
    DatabaseService,
    Retries,
    errors,
)
from database_service_client.models import OperationRecord
from database_service_client.steps import Pause
from database_service_client.testing import FakeDatabaseService

ASK = ("i-1", "c-1", "free")


def paths(fake: FakeDatabaseService) -> list[str]:
    return [f"{request.method} {request.url.path.removeprefix('/api/database')}" for request in fake.requests]


def test_an_allocation_is_answered_when_there_is_room(fake: FakeDatabaseService, client: DatabaseService) -> None:
    fake.no_room(seconds=70)
    assert client.allocate(*ASK, wait=100).instance_id == "i-1"
    assert 70 <= fake.clock.seconds < 71
    assert [request.headers["prefer"] for request in fake.requests] == ["wait=30"] * 3


def test_an_allocation_that_takes_longer_is_told_with_what_is_known(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    fake.no_room()
    with pytest.raises(errors.NotReadyYet) as waiting:
        client.allocate(*ASK, wait=45)
    assert (waiting.value.instance_id, waiting.value.database_status) == ("i-1", "waiting")
    assert fake.clock.seconds == 45


def test_a_service_that_does_not_hold_requests_is_not_asked_without_end(fake: FakeDatabaseService) -> None:
    """As one behind a proxy that drops what it does not know."""
    fake.no_room()

    def forgetful(request: httpx.Request) -> httpx.Response:
        request.headers.pop("prefer", None)
        request.url = request.url.copy_remove_param("wait")
        return fake.answer(request)

    with fake.client(transport=httpx.MockTransport(forgetful)) as client:
        with pytest.raises(errors.NotReadyYet):
            client.allocate(*ASK, wait=60)
        with pytest.raises(errors.NotReadyYet):
            client.wait_until_ready("i-1", 60)
    assert len(fake.requests) < 100


def test_readiness_is_waited_for_through_an_absence(fake: FakeDatabaseService, client: DatabaseService) -> None:
    fake.no_room(seconds=50)
    with pytest.raises(errors.NotReadyYet):
        client.allocate(*ASK, wait=0)
    fake.be_away(times=6)
    assert client.wait_until_ready("i-1", 120).ready


def away_for(fake: FakeDatabaseService, seconds: float) -> httpx.MockTransport:
    """Nobody listens for so long, however often it is tried."""

    def answer(request: httpx.Request) -> httpx.Response:
        if fake.clock.seconds < seconds:
            fake.be_away()
        return fake.answer(request)

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("retries", [Retries(), Retries(most=0)])
def test_whoever_waits_waits_through_an_absence_longer_than_any_budget(
    fake: FakeDatabaseService, retries: Retries
) -> None:
    with fake.client(transport=away_for(fake, 200), retries=retries) as client:
        assert client.allocate(*ASK, wait=250).instance_id == "i-1"
    with fake.client(transport=away_for(fake, 400), retries=retries) as client:
        assert client.wait_until_ready("i-1", timeout=250).ready
    with fake.client(transport=away_for(fake, 600), retries=retries) as client:
        assert client.rotate("i-1", wait=250).db_user
    begun = fake.move("i-1")
    with fake.client(transport=away_for(fake, 800), retries=retries) as client:
        assert client.operations.wait(begun, timeout=250).over
    assert len(fake.requests) < 800


def test_whoever_waits_for_a_service_that_stays_away_gives_up_when_the_time_is_up(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    fake.be_away(times=10_000)
    with pytest.raises(errors.Unreachable):
        client.wait_until_ready("i-1", timeout=300)
    assert 290 <= fake.clock.seconds <= 300
    assert len(fake.requests) < 300


def test_waiting_for_a_service_that_never_answers_takes_little_longer_than_asked(fake: FakeDatabaseService) -> None:
    """It accepts connections and keeps silent."""
    fake.be_slow(1e6)
    with fake.client() as client:
        with pytest.raises(errors.Unreachable, match="ReadTimeout"):
            client.allocate(*ASK, wait=5)
        assert fake.clock.seconds == 7
        with pytest.raises(errors.Unreachable, match="ReadTimeout"):
            client.wait_until_ready("i-1", 5)
        assert fake.clock.seconds == 14
    assert {request.extensions["timeout"]["connect"] for request in fake.requests} == {7}


def test_whoever_waits_asks_no_sooner_than_the_service_wants(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    fake.fail("unavailable", retry_after=40)
    assert client.allocate(*ASK, wait=60).instance_id == "i-1"
    assert fake.clock.seconds >= 40
    fake.fail("unavailable", retry_after=400)
    began = fake.clock.seconds
    with pytest.raises(errors.Unavailable):
        client.wait_until_ready("i-1", 60)
    assert fake.clock.seconds == began


def test_what_does_not_pass_is_not_waited_out(fake: FakeDatabaseService, client: DatabaseService) -> None:
    with pytest.raises(errors.DatabaseNotFound):
        client.wait_until_ready("nobody", 60)
    assert (len(fake.requests), fake.clock.seconds) == (1, 0)


async def test_two_wait_beside_each_other_in_one_loop(
    fake: FakeDatabaseService, async_client: AsyncDatabaseService
) -> None:
    fake.no_room(seconds=20)
    both = await asyncio.gather(*(async_client.allocate(name, "c-1", "free") for name in ("a", "b")))
    assert [each.instance_id for each in both] == ["a", "b"]


# -- operations -------------------------------------------------------------------------------------------------------


def test_a_change_within_a_kind_is_over_at_once(client: DatabaseService) -> None:
    before = client.allocate(*ASK)
    op = client.change_plan("i-1", "standard")
    assert (op.state, op.over, op.wait().state) == ("succeeded", True, "succeeded")
    assert client.credentials("i-1").dsn() == before.dsn()
    assert client.status("i-1").limits.connections == 20


def test_a_move_is_followed_phase_by_phase_to_its_end(client: DatabaseService) -> None:
    before = client.allocate(*ASK)
    seen: list[OperationRecord] = []
    done = client.change_plan("i-1", "premium").wait(60, on_progress=seen.append)
    assert (done.kind, done.state) == ("change_plan", "succeeded")
    assert [op.phase for op in seen] == ["seating", "fencing", "copying", "verifying", "done"], (
        "one a second, and the end"
    )
    after = client.credentials("i-1")
    assert after.db_server_id != before.db_server_id
    assert (after.db_name, after.db_user, after.db_password) == (before.db_name, before.db_user, before.db_password)


async def test_progress_may_be_awaited(async_client: AsyncDatabaseService) -> None:
    await async_client.allocate(*ASK)
    seen: list[str] = []

    async def note(op: AsyncOperation) -> None:
        await asyncio.sleep(0)
        seen.append(op.state)

    await (await async_client.change_plan("i-1", "premium")).wait(on_progress=note)
    assert set(seen) == {"running", "succeeded"}


def test_a_move_that_fails_says_why_and_leaves_everything_as_it_was(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    before = client.allocate(*ASK)
    fake.fail_moves("the counts of table t differ")
    with pytest.raises(errors.OperationFailed, match="the counts of table t differ") as failed:
        client.change_plan("i-1", "premium").wait()
    assert failed.value.operation.state == "failed"
    assert client.credentials("i-1").dsn() == before.dsn()
    assert client.status("i-1").plan_tier == "free"


def test_an_operation_that_takes_longer_is_told_as_it_is(client: DatabaseService) -> None:
    client.allocate(*ASK)
    op = client.change_plan("i-1", "premium")
    with pytest.raises(errors.OperationNotOver) as still:
        op.wait(1)
    assert still.value.operation.state == "running"
    assert op.refresh().wait().state == "succeeded"


def test_an_operation_is_steered(fake: FakeDatabaseService, client: DatabaseService) -> None:
    client.allocate(*ASK)
    op = client.change_plan("i-1", "premium")
    assert (op.pause().wish, op.resume().wish, op.cancel().wish) == ("pause", None, "cancel")
    with pytest.raises(errors.OperationCancelled):
        op.wait()
    with pytest.raises(errors.OperationOver):
        op.pause()
    assert client.operations.get(op.id).state == "cancelled"
    assert [each.id for each in client.operations.each(state="cancelled")] == [op.id]
    assert client.operations.page(state="running").operations == ()


def test_a_move_is_rolled_back_unless_something_was_written(fake: FakeDatabaseService, client: DatabaseService) -> None:
    before = client.allocate(*ASK)
    done = client.change_plan("i-1", "premium").wait()
    back = done.rollback().wait()
    assert (back.kind, back.state) == ("rollback", "succeeded")
    assert (client.credentials("i-1").dsn(), client.status("i-1").plan_tier) == (before.dsn(), "free")
    again = client.change_plan("i-1", "premium").wait()
    fake.write("i-1")
    with pytest.raises(errors.OperationFailed, match="written"):
        again.rollback().wait()
    assert client.status("i-1").plan_tier == "premium"
    stayed = client.change_plan("i-1", "enterprise")
    with pytest.raises(errors.MoveNotReversible):
        stayed.rollback()


def test_a_preview_changes_nothing_and_says_what_is_in_the_way(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    client.allocate(*ASK)
    fake.block_moves("x is in the way")
    report = client.preview_change_plan("i-1", "premium")
    assert (report.moves, report.server_type, report.blockers) == (
        True,
        "dedicated",
        ("x is in the way",),
    )
    assert not client.preview_change_plan("i-1", "standard").moves
    assert client.operations.page().operations == ()
    with pytest.raises(errors.OperationFailed, match="x is in the way"):
        client.change_plan("i-1", "premium").wait()
    with pytest.raises(errors.SamePlan):
        client.change_plan("i-1", "free")


def test_while_it_is_moved_credentials_are_refused_for_those_seconds(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    client.allocate(*ASK)
    fake.move("i-1")
    fake.clock.forward(3)
    assert client.status("i-1").status == "moving"
    with pytest.raises(errors.DatabaseMoving):
        client.credentials("i-1")


# -- moves ------------------------------------------------------------------------------------------------------------


def test_moves_are_told_of_as_they_happen(fake: FakeDatabaseService, client: DatabaseService) -> None:
    known = client.allocate(*ASK)
    moves = client.moves("i-1", since=known)
    for _ in range(2):
        fake.move("i-1")
        moved = next(moves)
        assert (moved.old, moved.new.address) == (known.address, client.status("i-1").address)
        assert (moved.new.db_user, moved.new.db_password) == (known.db_user, known.db_password)
        known = client.allocate(*ASK)


def test_a_move_before_anybody_listened_is_told_of_to_who_says_what_it_knows(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    known = client.allocate(*ASK)
    client.operations.wait(fake.move("i-1"))
    assert next(client.moves("i-1", since=known.address)).old == known.address


def test_listening_outlives_a_service_that_is_away(fake: FakeDatabaseService) -> None:
    with fake.client(retries=Retries(most=1)) as client:
        known = client.allocate(*ASK)
        fake.be_away(times=30)
        fake.move("i-1")
        assert next(client.moves("i-1", since=known)).new.db_host != known.db_host


def test_listening_outlives_a_second_move_right_after_the_first(fake: FakeDatabaseService) -> None:
    """It is seen elsewhere, and has left again when its credentials are asked for."""
    again = iter([True])

    def hasty(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/credentials") and next(again, False):
            fake.move("i-1")
            fake.clock.forward(2)
        return fake.answer(request)

    with fake.client(transport=httpx.MockTransport(hasty)) as client:
        known = client.allocate(*ASK)
        fake.move("i-1")
        assert next(client.moves("i-1", since=known)).new.db_host == "shared-3.fake"


def test_who_just_learned_where_it_is_listens_at_once(fake: FakeDatabaseService) -> None:
    pauses: list[float] = []
    time = replace(fake.clock.time, sleep=lambda pause, closed: pauses.append(pause.seconds))
    with fake.client(time=time) as client:
        known = client.allocate(*ASK)
        fake.move("i-1")
        assert next(client.moves("i-1")).old == known.address
    assert pauses == []


def test_listening_ends_with_what_asking_again_does_not_cure(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    client.allocate(*ASK)
    client.release("i-1")
    with pytest.raises(errors.DatabaseReleased):
        next(client.moves("i-1"))


def test_a_service_that_knows_no_listening_is_asked_now_and_then(fake: FakeDatabaseService) -> None:
    """One that is older than `while_on` answers at once, however long it is asked to wait."""

    def older(request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_remove_param("while_on")
        return fake.answer(request)

    pauses: list[float] = []

    def sleep(pause: Pause, closed: threading.Event) -> None:
        pauses.append(pause.seconds)
        fake.clock.forward(pause.seconds)

    time = replace(fake.clock.time, sleep=sleep)
    with fake.client(transport=httpx.MockTransport(older), time=time) as client:
        known = client.allocate(*ASK)
        fake.move("i-1")
        assert next(client.moves("i-1", since=known)).old == known.address
    assert pauses == [5]


def test_a_watch_calls_back_on_its_own_thread_until_it_is_closed(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    known = client.allocate(*ASK)
    fake.move("i-1")
    told: list[tuple[Address, Credentials]] = []
    heard = threading.Event()

    def on_moved(old: Address, new: Credentials) -> None:
        told.append((old, new))
        heard.set()

    with client.watch("i-1", on_moved, since=known):
        assert heard.wait(20)
    [(old, new)] = told
    assert (old, new.db_host) == (known.address, client.status("i-1").db_host)


def test_a_watch_ends_with_its_client_and_says_nothing(fake: FakeDatabaseService) -> None:
    client = fake.client()
    client.allocate(*ASK)
    watch = client.watch("i-1", lambda old, new: None)
    with watch:
        client.close()
        watch.join(20)
    assert watch.error is None


def test_a_watch_that_is_closed_ends_its_thread_and_took_no_time(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    client.allocate(*ASK)
    before = threading.active_count()
    with client.watch("i-1", lambda old, new: None) as watch:
        assert threading.active_count() == before + 1
        while len(fake.requests) < 10:
            threading.Event().wait(0.001)
    watch.join(20)
    assert fake.clock.seconds == 0
    assert threading.active_count() == before
    assert client.status("i-1").ready


def test_a_watch_that_ended_early_says_why(fake: FakeDatabaseService, client: DatabaseService) -> None:
    with client.watch("nobody", lambda old, new: None) as watch:
        watch.join(20)
    assert isinstance(watch.error, errors.DatabaseNotFound)


async def test_a_watch_calls_back_in_the_loop_and_may_be_awaited(
    fake: FakeDatabaseService, async_client: AsyncDatabaseService
) -> None:
    known = await async_client.allocate(*ASK)
    fake.move("i-1")
    heard: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def on_moved(old: Address, new: Credentials) -> None:
        await asyncio.sleep(0)
        heard.set_result(new.db_host)

    async with async_client.watch("i-1", on_moved, since=known):
        assert await heard == (await async_client.status("i-1")).db_host


async def test_moves_are_iterated_in_the_loop(fake: FakeDatabaseService, async_client: AsyncDatabaseService) -> None:
    known = await async_client.allocate(*ASK)
    fake.move("i-1")
    async for moved in async_client.moves("i-1", since=known):
        assert moved.old == known.address
        break


async def test_time_does_not_fly_because_somebody_listens(
    fake: FakeDatabaseService, async_client: AsyncDatabaseService
) -> None:
    await async_client.allocate(*ASK)
    seen = len(fake.requests)
    async with async_client.watch("i-1", lambda old, new: None):
        while len(fake.requests) < seen + 10:  # noqa: ASYNC110  the stand-in sets no Event
            await asyncio.sleep(0.001)
    assert fake.clock.seconds == 0


async def test_a_watch_that_is_closed_leaves_no_task(
    fake: FakeDatabaseService, async_client: AsyncDatabaseService
) -> None:
    await async_client.allocate(*ASK)
    before = asyncio.all_tasks()
    async with async_client.watch("i-1", lambda old, new: None):
        assert len(asyncio.all_tasks()) == len(before) + 1
    assert asyncio.all_tasks() == before


# -- call backs that raise ------------------------------------------------------------------------------------------------


async def test_a_watch_may_be_closed_from_its_own_call_back(
    fake: FakeDatabaseService, async_client: AsyncDatabaseService
) -> None:
    known = await async_client.allocate(*ASK)
    fake.move("i-1")
    before, closed, told = asyncio.all_tasks(), asyncio.Event(), list[str]()

    async def on_moved(old: Address, new: Credentials) -> None:
        told.append(new.db_host)
        await watch.aclose()
        closed.set()

    async with asyncio.timeout(20), async_client.watch("i-1", on_moved, since=known) as watch:
        await closed.wait()
        while asyncio.all_tasks() != before:  # noqa: ASYNC110  nothing of a task that ends by itself can be awaited
            await asyncio.sleep(0)
        fake.move("i-1")
    assert (len(told), watch.error) == (1, None)


async def test_who_is_cancelled_while_it_closes_a_watch_is_cancelled(
    fake: FakeDatabaseService, async_client: AsyncDatabaseService
) -> None:
    known = await async_client.allocate(*ASK)
    fake.move("i-1")
    called, let_go = asyncio.Event(), asyncio.Event()

    async def stubborn(old: Address, new: Credentials) -> None:
        called.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await let_go.wait()

    async with async_client.watch("i-1", stubborn, since=known) as watch:
        await called.wait()
        closing = asyncio.create_task(watch.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        let_go.set()


def not_taken(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "on_moved raised" in record.getMessage()]


def test_a_move_that_a_call_back_did_not_take_is_told_again_and_so_is_the_next(
    fake: FakeDatabaseService, client: DatabaseService, caplog: pytest.LogCaptureFixture
) -> None:
    known = client.allocate(*ASK)
    told: list[tuple[Address, Credentials]] = []
    taken = threading.Event()

    def on_moved(old: Address, new: Credentials) -> None:
        told.append((old, new))
        if len(told) < 4:
            raise OSError(f"cannot connect to {new.dsn()}")
        if len(told) == 4:
            fake.move("i-1")
        else:
            taken.set()

    fake.move("i-1")
    with client.watch("i-1", on_moved, since=known) as watch:
        assert taken.wait(20)
    watch.join(20)
    assert [old for old, _ in told] == [known.address] * 4 + [told[0][1].address]
    assert len({new.db_host for _, new in told[:4]}) == 1
    assert watch.error is None
    assert [line.rpartition(" in ")[2] for line in not_taken(caplog)] == ["1 s", "2 s", "4 s"]
    assert known.db_password not in caplog.text
    assert "OSError" in caplog.text


def test_what_is_told_again_leads_to_where_the_database_is_by_then(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    known = client.allocate(*ASK)
    told: list[tuple[Address, Credentials]] = []
    taken = threading.Event()

    def on_moved(old: Address, new: Credentials) -> None:
        told.append((old, new))
        if len(told) == 1:
            fake.move("i-1")
            fake.clock.forward(60)
            raise OSError
        taken.set()

    fake.move("i-1")
    with client.watch("i-1", on_moved, since=known) as watch:
        assert taken.wait(20)
    watch.join(20)
    assert told[1][0] == known.address
    assert told[1][1].address == client.status("i-1").address != told[0][1].address


def test_no_call_back_begins_once_a_watch_was_closed_by_one_that_raised(
    fake: FakeDatabaseService, client: DatabaseService
) -> None:
    known = client.allocate(*ASK)
    fake.move("i-1")
    told: list[str] = []

    def on_moved(old: Address, new: Credentials) -> None:
        told.append(new.db_host)
        watch.close()
        raise OSError

    watch = client.watch("i-1", on_moved, since=known)  # known by its name before it calls back
    with watch:
        watch.join(20)
    assert len(told) == 1


@pytest.mark.parametrize("raised", [OSError, errors.Closed, asyncio.CancelledError])
async def test_a_move_is_told_again_in_the_loop_whatever_a_call_back_raised(
    fake: FakeDatabaseService, async_client: AsyncDatabaseService, raised: type[BaseException]
) -> None:
    known = await async_client.allocate(*ASK)
    fake.move("i-1")
    told: list[Address] = []
    taken = asyncio.Event()

    async def on_moved(old: Address, new: Credentials) -> None:
        await asyncio.sleep(0)
        told.append(old)
        if len(told) < 3:
            raise raised
        taken.set()

    async with asyncio.timeout(20), async_client.watch("i-1", on_moved, since=known) as watch:
        await taken.wait()
    assert (told, watch.error) == ([known.address] * 3, None)
