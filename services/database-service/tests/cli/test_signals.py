"""Ctrl-C at the worst moments. Each in a process of its own: what signals do there is not undone."""

import signal
import subprocess
import sys
import textwrap

import pytest

PATIENCE_S = 60
INTERRUPTIBLE = """\
import os, signal, sys
from database_service.cli import signals

def ctrl_c():
    signal.raise_signal(signal.SIGINT)

signals.AGAIN_S = 0.2
try:
    with signals.interruptible():
{body}
except KeyboardInterrupt:
    print("heard")
{after}
"""


def told(program: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def heard(body: str, after: str = "") -> bool:
    """Whether the Ctrl-C in this body comes out of it, and nothing else is said."""
    said = told(INTERRUPTIBLE.format(body=textwrap.indent(textwrap.dedent(body), " " * 8), after=after))
    assert said.stderr == ""
    return (said.stdout, said.returncode) == ("heard\n", 0)


def test_a_ctrl_c_is_heard() -> None:
    assert heard("ctrl_c()")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_so_is_an_end_that_the_system_asks_for(name: str) -> None:
    assert heard(f"signal.raise_signal(signal.{name})")


def test_one_that_python_drops_in_a_finaliser_is_heard_all_the_same() -> None:
    assert heard("""
        class Dying:
            def __del__(self):
                ctrl_c()
        Dying()
        while True:
            signal.pause()
    """)


def test_one_that_somebody_else_catches_is_heard_all_the_same() -> None:
    assert heard("""
        try:
            ctrl_c()
        except BaseException:
            pass
        while True:
            signal.pause()
    """)


def test_one_that_comes_while_a_coroutine_runs_does_not_wait_for_it() -> None:
    assert heard("""
        import asyncio
        signals.AGAIN_S = 1000
        async def forever():
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass
        signals.run_apart(forever())
    """)


def test_what_a_coroutine_raises_is_raised_where_it_is_waited_for() -> None:
    assert heard("""
        async def failing():
            raise LookupError
        try:
            signals.run_apart(failing())
        except LookupError:
            ctrl_c()
    """)


def test_those_after_the_first_do_not_disturb_what_cleans_up() -> None:
    body = """
        clean = False
        try:
            ctrl_c()
        finally:
            ctrl_c()
            signal.raise_signal(signal.SIGTERM)
            clean = True
    """
    assert heard(body, after="assert clean")


def test_those_after_the_end_are_not_heard() -> None:
    assert heard("ctrl_c()", after="ctrl_c()")


def test_what_is_started_afterwards_hears_its_own_ctrl_c() -> None:
    child = [sys.executable, "-c", "import signal; signal.raise_signal(signal.SIGINT); print('deaf')"]
    after = (
        f"import subprocess; assert subprocess.run({child!r}, stderr=subprocess.DEVNULL).returncode == -signal.SIGINT"
    )
    assert heard("ctrl_c()", after=after)


def test_while_code_is_imported_a_ctrl_c_ends_all_without_a_word() -> None:
    program = """\
    import signal
    from database_service.cli.signals import silent
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with silent():
        signal.raise_signal(signal.SIGINT)
    print("deaf")
    """
    said = told(textwrap.dedent(program))
    assert (said.returncode, said.stdout, said.stderr) == (-signal.SIGINT, "", "")


def test_what_follows_one_that_was_swallowed_does_not_begin() -> None:
    assert heard("""
        signals.AGAIN_S = 3600
        signals.go_on()
        try:
            ctrl_c()
        except KeyboardInterrupt:
            pass
        signals.go_on()
        print("went on")
    """)
