"""Ctrl-C: silent while code is still being imported, and where something was started heard once, but then for certain."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SOON_S = 0.01
AGAIN_S = 5.0
"""How long what a KeyboardInterrupt passes on its way may take to clean up before it is raised once more."""


@contextmanager
def silent() -> Iterator[None]:
    """Ctrl-C ends the process at once, as it does a program in C: nothing has begun, and there is nothing to tell."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where whoever started us has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_heard: list[int] = []


@contextmanager
def interruptible() -> Iterator[None]:
    """In here the first SIGINT, SIGTERM or SIGHUP is a KeyboardInterrupt; those after it, and after here, are not heard.

    Python drops what a signal's handler raises inside a finaliser or a weak reference's callback, and every import
    has one; so it is raised again until it has come out of here.
    """
    hook = sys.unraisablehook
    sys.unraisablehook = _raise_again_what_was_dropped
    for number in ENDING:
        signal.signal(number, _interrupt)
    signal.signal(signal.SIGALRM, _insist)
    try:
        yield
    finally:
        be_deaf()
        sys.unraisablehook = hook


def go_on() -> None:
    """KeyboardInterrupt where a signal was heard and something swallowed what it raised: what follows must not begin."""
    if _heard:
        raise KeyboardInterrupt


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """What the coroutine gives, from a loop in a thread of its own: a KeyboardInterrupt is raised where we wait for it.

    Raised inside the loop it would take an answer away from a driver, which waits for it ever after, also when asyncio
    cancels it. What is still going on then is left alone; it ends with the servers it talks to, or with us.
    """
    given: Future[T] = Future()

    def run() -> None:
        try:
            given.set_result(asyncio.run(work))
        except BaseException as e:  # noqa: BLE001  raised again where it is waited for
            given.set_exception(e)

    Thread(target=run, daemon=True).start()
    return given.result()


def be_deaf() -> None:
    """From here on no signal is heard. A handler, not SIG_IGN, which processes that we start would inherit."""
    _hear_no_more()
    signal.setitimer(signal.ITIMER_REAL, 0)


def _hear_no_more() -> None:
    for number in ENDING:
        signal.signal(number, lambda _number, _frame: None)


def _interrupt(number: int, _frame: object) -> None:
    _heard.append(number)
    _hear_no_more()
    signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
    raise KeyboardInterrupt


def _insist(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _raise_again_what_was_dropped(dropped: "sys.UnraisableHookArgs") -> None:
    if dropped.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, SOON_S, AGAIN_S)
    else:
        sys.__unraisablehook__(dropped)
