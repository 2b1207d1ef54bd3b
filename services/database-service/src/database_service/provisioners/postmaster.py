"""Postmaster: one data directory on this machine, and the one PostgreSQL that may serve it.

The server inherits an exclusive lock on a file beside its data and holds it for its life, in all of its processes.
So "the lock is free" means "nothing of it lives any more", also when a recycled process id says otherwise. All calls
block.
"""

import fcntl
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from database_service.domain.errors import ProvisioningFailed
from database_service.provisioners.runtime import PostgresRuntime, one_sentence

PAUSE_S = 0.005
START_FATE_S = 15.0
"""How long a start is watched for an immediate failure; a server that is slower than this is simply slow."""
LEFTOVERS_S = 10.0
"""How long the last processes of a postmaster that was killed may take to notice."""
SHUTDOWNS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
"""Fast, immediate, by force; each with the seconds it is given."""
LOG_KEPT_BYTES = 10 * 1024 * 1024
LOG_PREFIX = re.compile(r"^.*?\[\d+\] +[A-Z]+:\s+")
PID_LINE, PORT_LINE, STATE_LINE = 0, 3, 7
"""Lines of postmaster.pid (PostgreSQL's src/include/utils/pidfile.h)."""


@dataclass(frozen=True, slots=True)
class Running:
    """A postmaster that lives. `settled` once it listens; `port` is None in its first instants."""

    pid: int
    port: int | None
    settled: bool


@dataclass(frozen=True, slots=True)
class Postmaster:
    """The PostgreSQL of one data directory. `log_file` and `lock_file` lie outside of it; their directories exist."""

    runtime: PostgresRuntime
    data_dir: Path
    log_file: Path
    lock_file: Path

    @classmethod
    def at(cls, runtime: PostgresRuntime, directory: Path) -> "Postmaster":
        """The usual layout: `data`, `log/postgres.log` and `postgres.lock` in one directory."""
        return cls(runtime, directory / "data", directory / "log" / "postgres.log", directory / "postgres.lock")

    def prepare(self) -> None:
        """Make the directories it needs around its data. The data itself is made by `runtime.initdb`."""
        self.runtime.make_enterable(self.data_dir.parent)
        self.runtime.make_enterable(self.log_file.parent)
        self.runtime.account.owns(self.log_file.parent)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Write the parameters it starts with; read by the server at its next start."""
        text = "".join(f"{name} = {_quoted(value)}\n" for name, value in sorted(settings.items()))
        self.runtime.account.write(self.runtime.settings_file(self.data_dir), text)

    def configured(self) -> Mapping[str, str]:
        """What `configure` wrote last; empty before."""
        try:
            lines = self.runtime.settings_file(self.data_dir).read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return dict(_read_quoted(line) for line in lines if line)

    def start(self) -> None:
        """Have it run, without waiting until it answers. ProvisioningFailed says why it gave up at once."""
        if self.look() is not None:
            return
        with self._sole_right() as lock:
            self._forget_recycled_pid()
            told = self._log_size()
            arguments = ["start", "-W", "-s", "-D", str(self.data_dir), "-l", str(self.log_file)]
            said = self.runtime.run("pg_ctl", arguments, pass_fds=[lock])
        if _within(START_FATE_S, self._fate_is_known) and self.look() is None:
            raise ProvisioningFailed(
                f"PostgreSQL in {self.data_dir} gave up: {one_sentence(said + self._logged(told))}."
            )

    def stop(self) -> None:
        """Shut it down and wait until nothing of it lives. Not running is success."""
        for number, patience_s in SHUTDOWNS:
            if _within(patience_s, partial(self._ended_by, number, set())):
                return
        raise ProvisioningFailed(f"PostgreSQL in {self.data_dir} does not stop, not even by force.")

    def look(self) -> Running | None:
        """The postmaster that serves this directory now. PermissionError where that cannot be seen."""
        lines = self._pid_file()
        pid = _number(lines, PID_LINE)
        if pid is None or not self._serves(pid):
            return None
        return Running(pid, _number(lines, PORT_LINE), settled=len(lines) > STATE_LINE)

    def last_words(self) -> str:
        """What it logged last, without the time; no statement and no secret is ever logged (see `sizing.ALWAYS`)."""
        last = (self._logged(since=0).rstrip().splitlines() or ["it said nothing"])[-1]
        return LOG_PREFIX.sub("", last)

    def _logged(self, since: int) -> str:
        """The newest of its log, 4 KiB at most."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(max(since, log.seek(0, os.SEEK_END) - 4096))
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    # -- whether it lives ---------------------------------------------------------------------------------------------

    def _pid_file(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _serves(self, pid: int) -> bool:
        """A postmaster's working directory is its data directory; whoever got its number later has another."""
        if not Path("/proc/self").exists():
            return not self._lock_is_free()
        try:
            return Path(f"/proc/{pid}/cwd").samefile(self.data_dir)
        except (FileNotFoundError, ProcessLookupError):
            return False

    def _is_dead(self) -> bool:
        return self._lock_is_free() and self.look() is None

    def _fate_is_known(self) -> bool:
        running = self.look()
        return running.settled if running else self._lock_is_free()

    def _ended_by(self, number: signal.Signals, told: set[int]) -> bool:
        """Signal whoever serves it, each once: one that was being started when we came is seen only later."""
        running = self.look()
        if running and running.pid not in told:
            told.add(running.pid)
            self._signal(running.pid, number)
        return self._is_dead()

    def _signal(self, pid: int, number: signal.Signals) -> None:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass  # it died meanwhile: that was the wish
        except PermissionError as e:
            raise ProvisioningFailed(
                f"PostgreSQL in {self.data_dir} runs as somebody else and cannot be stopped."
            ) from e

    # -- the right to serve -------------------------------------------------------------------------------------------

    @contextmanager
    def _sole_right(self) -> Iterator[int]:
        """The lock, for as long as it takes to hand it to a postmaster."""
        lock = _open_lock(self.lock_file)
        try:
            if not _within(LEFTOVERS_S, lambda: _try_lock(lock, fcntl.LOCK_EX)):
                raise ProvisioningFailed(f"Processes of an earlier PostgreSQL in {self.data_dir} have not ended yet.")
            yield lock
        finally:
            os.close(lock)

    def _lock_is_free(self) -> bool:
        lock = _open_lock(self.lock_file)
        try:
            return _try_lock(lock, fcntl.LOCK_SH)  # shared: two who look do not take each other for a server
        finally:
            os.close(lock)

    def _forget_recycled_pid(self) -> None:
        """PostgreSQL refuses to start while the process id in its file lives, whoever that is by now.

        Only for a living stranger, and only under the lock: for a dead one PostgreSQL clears up itself, more carefully.
        """
        pid = _number(self._pid_file(), PID_LINE)
        if pid is not None and _lives(pid):
            (self.data_dir / "postmaster.pid").unlink()

    def _log_size(self) -> int:
        """Bytes in the log; a long one is first put aside."""
        try:
            size = self.log_file.stat().st_size
        except FileNotFoundError:
            return 0
        if size <= LOG_KEPT_BYTES:
            return size
        self.log_file.replace(self.log_file.with_suffix(".old"))
        return 0


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it came to hold in that time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_S)
    return True


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _try_lock(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _number(lines: list[str], line: int) -> int | None:
    text = lines[line].strip() if line < len(lines) else ""
    return int(text) if text.isdecimal() else None


def _quoted(value: str) -> str:
    """A value in postgresql.conf: one line, quotes doubled, backslashes kept."""
    if "\n" in value or "\r" in value:
        raise ProvisioningFailed("A PostgreSQL parameter must not contain a line break.")
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _read_quoted(line: str) -> tuple[str, str]:
    """Name and value of a line that `configure` wrote."""
    name, _, value = line.partition(" = ")
    return name, value[1:-1].replace("''", "'").replace("\\\\", "\\")
