"""The loop of a worker: it keeps at many instances without a thread for each, and leaves nothing behind."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from structlog.testing import CapturingLogger

from instance_service.deps import Deps
from instance_service.domain.errors import OwnDatabaseUnavailable
from instance_service.tasks import loop as loop_module
from instance_service.tasks.handlers import one_at_a_time
from instance_service.tasks.loop import Loop

SOON_S = 20


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    logger = CapturingLogger()
    monkeypatch.setattr(loop_module, "log", logger)
    return logger


@pytest.fixture
def worker_loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    """One that needs nothing open: what it runs here uses no Deps."""

    async def nothing(self: Loop) -> None:
        return None

    monkeypatch.setattr(Loop, "_open", nothing)
    made = Loop()
    yield made
    made.close()


def test_what_takes_long_keeps_no_thread_waiting_and_is_begun_once(worker_loop: Loop) -> None:
    begun, may_end, ended = [], threading.Event(), threading.Event()

    async def long(_: Deps) -> None:
        begun.append(threading.current_thread().name)
        await asyncio.to_thread(may_end.wait, SOON_S)
        ended.set()

    for _ in range(3):
        worker_loop.keep_at("one", 10, long)
    worker_loop.run(_nothing)
    assert begun == ["event-loop"]
    may_end.set()
    assert ended.wait(SOON_S)


async def _nothing(_: Deps) -> None:
    await asyncio.sleep(0)


def test_no_more_than_so_many_are_kept_at(worker_loop: Loop) -> None:
    begun = []

    async def long(_: Deps) -> None:
        begun.append(1)
        await asyncio.Event().wait()

    for number in range(5):
        worker_loop.keep_at(str(number), 3, long)
    worker_loop.run(_nothing)
    assert len(begun) == 3


def test_one_whose_database_is_away_is_put_off_and_a_defect_is_told(worker_loop: Loop, told: CapturingLogger) -> None:
    over = threading.Semaphore(0)

    async def away(_: Deps) -> None:
        over.release()
        raise OwnDatabaseUnavailable

    async def broken(_: Deps) -> None:
        over.release()
        raise ZeroDivisionError

    for key, work in (("away", away), ("broken", broken)):
        worker_loop.keep_at(key, 10, work)
        assert over.acquire(timeout=SOON_S)
        worker_loop.run(_nothing)
    assert {(call.method_name, call.args) for call in told.calls} == {
        ("warning", ("task.put_off",)),
        ("exception", ("task.crashed",)),
    }


def test_what_is_kept_at_is_cut_off_when_it_closes_and_no_thread_is_left(worker_loop: Loop) -> None:
    cut_off = threading.Event()

    async def long(_: Deps) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cut_off.set()

    worker_loop.keep_at("one", 10, long)
    worker_loop.run(_nothing)
    worker_loop.close()
    assert cut_off.is_set()
    assert "event-loop" not in {thread.name for thread in threading.enumerate()}


def test_a_sweep_that_is_asked_for_while_one_runs_is_done_once_more_and_not_beside_it() -> None:
    running, most, runs = 0, 0, 0
    inside, may_end = threading.Event(), threading.Event()

    def work() -> None:
        nonlocal running, most, runs
        running += 1
        runs, most = runs + 1, max(most, running)
        inside.set()
        may_end.wait(SOON_S)
        running -= 1

    guarded = one_at_a_time(work)
    first = threading.Thread(target=guarded)
    first.start()
    assert inside.wait(SOON_S)
    for _ in range(3):
        guarded()
    may_end.set()
    first.join(SOON_S)
    assert (runs, most) == (2, 1)
