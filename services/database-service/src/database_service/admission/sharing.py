"""Shared: many who want to know the same thing at the same time cost one look at it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Who asks while a look goes on has its result; the next one after that looks anew."""

    def __init__(self) -> None:
        self._look: asyncio.Task[T] | None = None

    async def shared(self, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `look` gives or raises, be it that of somebody who came just before."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(look())
        return await asyncio.shield(self._look)  # a caller who leaves does not take the others along
