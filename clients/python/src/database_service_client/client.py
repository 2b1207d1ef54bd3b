"""The clients: one that blocks and one that is awaited, with the same verbs."""

from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from database_service_client.asking import Asker, Retries, Time
from database_service_client.drivers import AsyncDriver, Awaiting, Blocking, Driver
from database_service_client.models import Address, Credentials, OperationRecord
from database_service_client.settings import Access
from database_service_client.verbs.admin import AdminVerbs
from database_service_client.verbs.databases import DatabaseVerbs
from database_service_client.verbs.operations import OperationsVerbs, OperationVerbs, values
from database_service_client.watching import AsyncWatch, OnMoved, Watch


class Operation(OperationRecord, Blocking, OperationVerbs["Operation"]):
    """A piece of long work as it was when it was read, with what can be done about it."""

    def __init__(self, driver: Driver, record: OperationRecord) -> None:
        OperationRecord.__init__(self, **values(record))
        Blocking.__init__(self, driver)

    def _bind(self, record: OperationRecord) -> "Operation":
        return Operation(self.driver, record)


class AsyncOperation(OperationRecord, Awaiting, OperationVerbs["AsyncOperation"]):
    """The same, awaited."""

    def __init__(self, driver: AsyncDriver, record: OperationRecord) -> None:
        OperationRecord.__init__(self, **values(record))
        Awaiting.__init__(self, driver)

    def _bind(self, record: OperationRecord) -> "AsyncOperation":
        return AsyncOperation(self.driver, record)


class _Blocking(Blocking):
    def _bind(self, record: OperationRecord) -> Operation:
        return Operation(self.driver, record)


class _Awaiting(Awaiting):
    def _bind(self, record: OperationRecord) -> AsyncOperation:
        return AsyncOperation(self.driver, record)


class Operations(_Blocking, OperationsVerbs[Operation]):
    """`client.operations`."""


class AsyncOperations(_Awaiting, OperationsVerbs[AsyncOperation]):
    """The same, awaited."""


class Admin(_Blocking, AdminVerbs[Operation]):
    """`client.admin`."""


class AsyncAdmin(_Awaiting, AdminVerbs[AsyncOperation]):
    """The same, awaited."""


class DatabaseService(_Blocking, DatabaseVerbs[Operation]):
    """The client that blocks; several threads may use one. Close it, or use it as a context manager.

    `url` and the token are found in DATABASE_SERVICE_URL and DATABASE_SERVICE_TOKEN_FILE where they are not given.
    `timeout` is seconds, of one request, beyond what the service was asked to wait. `transport` is httpx's, for a
    certificate authority of your own, or for tests; `time` is for tests alone.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        token_file: str | Path | None = None,
        timeout: float = 10,
        retries: Retries = Retries(),  # noqa: B008  it is frozen
        transport: httpx.BaseTransport | None = None,
        time: Time = Time(),  # noqa: B008  it is frozen
    ) -> None:
        http = httpx.Client(**_http(Access.found(url, token, token_file)), transport=transport)
        super().__init__(Driver(http, Asker(timeout_s=timeout, retries=retries, time=time)))
        self.operations = Operations(self.driver)
        self.admin = Admin(self.driver)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Whatever waits on another thread ends with Closed."""
        self.driver.close()

    def watch(self, instance_id: str, on_moved: OnMoved, *, since: Credentials | Address | None = None) -> Watch:
        """While it is open, as a context manager, `on_moved(old, new)` is called after each move, on a thread of its own.

        `since` as in `moves`: give the credentials that you use, so that no move in between is missed. Where `on_moved`
        raises, that is logged without what it says, and it is called again, with longer and longer pauses, until it returns.
        """
        moves = DatabaseVerbs.moves.steps(self, instance_id, since=since)
        return Watch(self.driver.branch(), moves, partial(self._retold, instance_id), on_moved, f"watch {instance_id}")


class AsyncDatabaseService(_Awaiting, DatabaseVerbs[AsyncOperation]):
    """The client that is awaited, in one event loop. Its arguments are those of DatabaseService."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        token_file: str | Path | None = None,
        timeout: float = 10,
        retries: Retries = Retries(),  # noqa: B008  it is frozen
        transport: httpx.AsyncBaseTransport | None = None,
        time: Time = Time(),  # noqa: B008  it is frozen
    ) -> None:
        http = httpx.AsyncClient(**_http(Access.found(url, token, token_file)), transport=transport)
        super().__init__(AsyncDriver(http, Asker(timeout_s=timeout, retries=retries, time=time)))
        self.operations = AsyncOperations(self.driver)
        self.admin = AsyncAdmin(self.driver)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self.driver.aclose()

    def watch(self, instance_id: str, on_moved: OnMoved, *, since: Credentials | Address | None = None) -> AsyncWatch:
        """While it is open, with `async with`, `on_moved(old, new)` is called, and awaited, after each move.

        `since` as in `moves`: give the credentials that you use, so that no move in between is missed. Where `on_moved`
        raises, that is logged without what it says, and it is called again, with longer and longer pauses, until it returns.
        """
        moves = DatabaseVerbs.moves.steps(self, instance_id, since=since)
        return AsyncWatch(self.driver, moves, partial(self._retold, instance_id), on_moved, f"watch {instance_id}")


def _http(access: Access) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
    return {"base_url": access.url, "headers": headers}
