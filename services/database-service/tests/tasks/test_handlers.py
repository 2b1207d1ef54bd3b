"""The names other services call, each on its queue; many calls at once are one; a doubled message is one pool."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from celery import Celery

from database_service.actions.remove_drift import want_look
from database_service.broker.celery import ROUTES, new_app
from database_service.settings import Settings
from database_service.tasks import handlers
from database_service.tasks import loop as loop_module
from database_service.tasks.handlers import one_at_a_time
from database_service.tasks.loop import Loop
from database_service.tasks.schedule import schedule
from support.house import House

SOON_S = 20


@pytest.fixture(scope="module")
def app() -> Celery:
    app = new_app("redis://127.0.0.1:1/0")
    handlers.register(app)
    return app


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "queue"), ROUTES.items())
def test_every_public_name_is_a_task_on_its_queue(app: Celery, name: str, queue: str) -> None:
    assert name in app.tasks
    assert app.amqp.router.route({}, name)["queue"].name == queue


def test_no_task_is_without_a_queue(app: Celery) -> None:
    assert {name for name in app.tasks if not name.startswith("celery.")} == set(ROUTES)


def test_the_beat_calls_tasks_that_are_there_at_the_settings_intervals(app: Celery) -> None:
    beat = schedule(Settings(sweep_interval_s=3))
    assert {entry["task"] for entry in beat.values()} <= set(app.tasks)
    assert beat["sweep"]["schedule"] == 3
    assert all(entry["options"]["expires"] <= entry["schedule"] for entry in beat.values())


# -- one at a time ----------------------------------------------------------------------------------------------------


class Work:
    """Work that says when it began, and goes on when it may."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.runs = self.beside = 0

    def __call__(self) -> None:
        self.runs += 1
        self.beside += 1
        assert self.beside == 1, "beside itself"
        self.began.release()
        assert self.go_on.acquire(timeout=SOON_S)
        self.beside -= 1


@contextmanager
def in_thread(call: Callable[[], None]) -> Iterator[threading.Thread]:
    """It runs meanwhile, and must end by itself afterwards."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    yield thread
    thread.join(SOON_S)
    assert not thread.is_alive()


def test_calls_while_it_runs_return_at_once_and_are_one_more_run_afterwards() -> None:
    work = Work()
    call = one_at_a_time(work)
    with in_thread(call):
        assert work.began.acquire(timeout=SOON_S)
        for _ in range(5):
            call()
        assert work.runs == 1
        work.go_on.release()
        assert work.began.acquire(timeout=SOON_S)
        work.go_on.release()
    assert work.runs == 2


def test_calls_that_follow_each_other_each_run() -> None:
    work = Work()
    call = one_at_a_time(work)
    work.go_on.release(2)
    call()
    call()
    assert work.runs == 2


def test_work_that_failed_runs_again_when_it_is_called_again() -> None:
    runs = []

    def failing() -> None:
        runs.append(1)
        raise ZeroDivisionError

    call = one_at_a_time(failing)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            call()
    assert len(runs) == 2


# -- messages ---------------------------------------------------------------------------------------------------------


def message(app: Celery, name: str, *args: object, task_id: str = "t-1") -> None:
    """What a worker does with one."""
    app.tasks[name].apply(args=args, task_id=task_id, throw=True)


async def test_a_doubled_order_for_a_pool_is_one_pool_and_another_is_another(
    app: Celery, worker_loop: Loop, house: House
) -> None:
    for task_id in ("t-1", "t-1", "t-2"):
        message(app, "provision_database_pool", 7, task_id=task_id)
    assert await house.value("SELECT array_agg(max_instances) FROM servers") == [7, 7]
    assert await house.value("SELECT count(*) FROM events WHERE action = 'server.ordered'") == 2
    assert (await house.value("SELECT max(request_id) FROM events")) == "t-2"


async def test_a_doubled_wish_for_a_dedicated_server_is_one_server(
    app: Celery, worker_loop: Loop, house: House
) -> None:
    for task_id in ("t-1", "t-2"):
        message(app, "provision_dedicated_server", "i-1", "c-1", "enterprise", task_id=task_id)
    assert await house.value("SELECT array_agg(instance_id) FROM servers") == ["i-1"]


@pytest.mark.parametrize("name", sorted(set(ROUTES) - {"provision_database_pool", "provision_dedicated_server"}))
def test_every_other_message_may_come_while_there_is_nothing_to_do(app: Celery, worker_loop: Loop, name: str) -> None:
    of_one = {"reconcile_server", "reconcile_database", "run_operation"}
    nobody = ["00000000-0000-0000-0000-000000000000"] if name in of_one else []
    message(app, name, *nobody)


async def test_a_removal_that_was_confirmed_and_a_look_that_was_asked_for_are_done_by_one_message(
    app: Celery, worker_loop: Loop, house: House
) -> None:
    await want_look(house.deps)
    message(app, "reconcile_drift")
    assert await house.value("SELECT began_at > wanted_at FROM drift_look")


def test_servers_that_hang_hold_none_of_celerys_threads(
    app: Celery, worker_loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Semaphore(0)

    async def hang(*_: object, **__: object) -> None:
        begun.release()
        await asyncio.Event().wait()

    monkeypatch.setattr(handlers.servers, "settle", hang)
    monkeypatch.setattr(handlers.databases, "step", hang)
    monkeypatch.setattr(loop_module, "STEPS_PATIENCE_S", 0)
    for number in range(4):
        message(app, "reconcile_server", f"00000000-0000-0000-0000-00000000000{number}")
        message(app, "reconcile_database", f"00000000-0000-0000-0000-0000000000a{number}")
    for _ in range(8):
        assert begun.acquire(timeout=SOON_S)
    message(app, "sweep")


def test_several_tasks_at_once_share_one_loop(app: Celery, worker_loop: Loop) -> None:
    with in_thread(lambda: message(app, "sweep")), in_thread(lambda: message(app, "refill_spares")):
        message(app, "health_check_db_pools")
    assert [thread.name for thread in threading.enumerate()].count("event-loop") == 1
