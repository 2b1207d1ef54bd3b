"""The loop of a worker: what is away is put off and told once, and nothing is left behind when it closes."""

import asyncio
import threading

import pytest
from structlog.testing import CapturingLogger

from database_service.deps import Deps
from database_service.tasks import loop as loop_module
from database_service.tasks.loop import Loop
from support.cluster import free_port


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    logger = CapturingLogger()
    monkeypatch.setattr(loop_module, "log", logger)
    return logger


async def count_servers(deps: Deps) -> int:
    async with deps.db.connection() as conn:
        return await conn.fetchval("SELECT count(*) FROM servers")


def test_what_is_run_gives_its_result(worker_loop: Loop, told: CapturingLogger) -> None:
    assert worker_loop.run(count_servers) == 0
    assert not told.calls


def test_a_task_whose_database_is_away_is_put_off_and_told_once(
    worker_loop: Loop, told: CapturingLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL_FILE")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    assert worker_loop.run(count_servers) is None
    assert [(call.method_name, call.args) for call in told.calls] == [("warning", ("task.put_off",))]


def test_a_defect_is_not_put_off(worker_loop: Loop, told: CapturingLogger) -> None:
    async def broken(deps: Deps) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        worker_loop.run(broken)
    assert not told.calls


def test_a_loop_that_was_closed_has_left_no_thread(worker_loop: Loop) -> None:
    worker_loop.run(count_servers)
    worker_loop.close()
    assert not {"event-loop", "courier"} & {thread.name for thread in threading.enumerate()}


def test_a_loop_that_was_never_used_closes() -> None:
    Loop().close()


def test_long_work_holds_no_thread_and_is_begun_once(worker_loop: Loop) -> None:
    begun: list[str] = []
    going, over = threading.Event(), threading.Event()

    async def long(_: Deps) -> None:
        begun.append("once")
        going.set()
        try:
            await asyncio.Event().wait()
        finally:
            over.set()

    worker_loop.begin("a", long)
    assert going.wait(10)
    worker_loop.begin("a", long)
    assert worker_loop.run(count_servers) == 0, "somebody waits for it"
    assert begun == ["once"]
    worker_loop.close()
    assert over.is_set(), "it was left running"


def test_long_work_that_crashes_is_told_and_may_be_begun_again(worker_loop: Loop, told: CapturingLogger) -> None:
    crashed = threading.Semaphore(0)

    async def broken(_: Deps) -> None:
        crashed.release()
        raise ZeroDivisionError

    for _ in range(2):
        worker_loop.begin("a", broken)
        assert crashed.acquire(timeout=10)
        while not worker_loop._begun["a"].done():
            worker_loop.run(count_servers)
    assert [call.args for call in told.calls] == [("task.crashed",)] * 2
