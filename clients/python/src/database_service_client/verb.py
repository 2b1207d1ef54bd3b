"""One method, written once, for both clients: it blocks on one that blocks and is awaited on one that awaits."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from database_service_client.drivers import Awaiting, Blocking
from database_service_client.steps import Steps, Stream

P = ParamSpec("P")
T = TypeVar("T")


class verb(Generic[P, T]):  # noqa: N801  written as a decorator
    """A method that gives one answer."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Steps[T]]) -> None:
        self.steps = steps
        update_wrapper(cast("Any", self), steps)

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.driver.run(self.steps(client, *args, **kwargs))

        return update_wrapper(call, MethodType(self.steps, client))


class stream(Generic[P, T]):  # noqa: N801  written as a decorator
    """A method that gives one thing after the other, for `for` or `async for`."""

    def __init__(self, steps: Callable[Concatenate[Any, P], Stream[T]]) -> None:
        self.steps = steps
        update_wrapper(cast("Any", self), steps)

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return client.driver.stream(self.steps(client, *args, **kwargs))

        return update_wrapper(call, MethodType(self.steps, client))
