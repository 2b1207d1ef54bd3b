"""Worker and beat show that they live: each from within what would hang if they hung."""

from typing import Any

from celery import bootsteps
from celery.beat import Scheduler

from instance_service.observability import alive
from instance_service.settings import load_settings
from instance_service.tasks.loop import loop


class SignOfLife(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Set off by the consumer's timer and given on the event loop, so that both must run. A new consumer, after the
    broker was away, starts it again."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._folder = load_settings().alive_dir

    def include_if(self, consumer: Any) -> bool:
        return load_settings().alive_dir is not None

    def start(self, consumer: Any) -> None:
        self._give()
        consumer.timer.call_repeatedly(alive.EVERY_S, self._give)

    def _give(self) -> None:
        loop.soon(lambda: alive.sign(self._folder, alive.WORKER))


class Clock(Scheduler):  # type: ignore[misc]  # as above
    """Celery's scheduler, which gives a sign of life at each turn."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._folder = load_settings().alive_dir

    def tick(self, *arguments: Any, **options: Any) -> float:
        alive.sign(self._folder, alive.BEAT)
        return float(super().tick(*arguments, **options))
