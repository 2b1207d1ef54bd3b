"""Does the broker answer? For readiness only: nothing else waits for it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from celery import Celery

from database_service.broker.courier import BROKER_AWAY
from database_service.domain.errors import Unavailable


class Pulse:
    """Asks the broker over a connection of its own. `app` is one that gives up soon (`new_sender`)."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pulse")

    async def __call__(self) -> None:
        """Unavailable where it does not answer."""
        try:
            # A thread of its own: a broker that hangs must not take those that everybody else needs.
            await asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
        except BROKER_AWAY as e:
            raise Unavailable(f"The broker does not answer: {type(e).__name__}.") from None

    def _ask(self) -> None:
        with self._app.connection_for_write() as connection:
            connection.default_channel  # noqa: B018  opening it pings Redis, and opens a channel on RabbitMQ
