"""Heads of requests that do not come to their end: uvicorn has no limit for them, neither of time nor of size.

A connection that sends a byte now and then, or none at all, would be kept for ever; some thousands of them are all the open files
that a process may have.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0
"""A request's line and headers are there within this time, counted from the connection or from their first byte."""
HEAD_BYTES = 65_536


class ImpatientProtocol(HttpToolsProtocol):
    """uvicorn's own, for `uvicorn.run(http=…)`. Whoever is too slow or says too much is hung up on."""

    _taken: int | None = None
    """So much of a head is there; None while none is expected."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._taken = 0
        self._hurry()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._taken is None:
            return
        self._hurry()
        self._taken += len(data)
        if self._taken > HEAD_BYTES:
            self._hang_up()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._taken is None:
            self._taken = 0

    def on_headers_complete(self) -> None:
        self._taken = None
        self._calm_down()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm_down()
        super().connection_lost(exc)

    def _hurry(self) -> None:
        """Not from the first byte of a head on: nearly all are whole when it is looked at, and need no timer."""
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._hang_up)

    def _calm_down(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hang_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
