"""supervisord: writes its configuration, starts it, and talks to it over its own Unix socket."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from configparser import RawConfigParser
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from database_service.cli.exits import CommandFailed

MARK = "DBS_IDENTITY"
"""In the environment of everything supervised: how we know our own after supervisord itself was killed."""
PAUSE_S = 0.02
_AWAY = (OSError, HTTPException, xmlrpc.client.ProtocolError)
_OVER = ("FATAL", "EXITED", "STOPPED", "UNKNOWN")


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. `account` where it is not ours; `patience_s` from `stop_signal` to SIGKILL; `environment` is
    what it is told beside what all are told."""

    name: str
    command: Sequence[str]
    stop_signal: str = "TERM"
    patience_s: int = 4
    account: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Supervisor:
    """The supervisord of one DATA_DIR. `identity` is what it answers when asked who it is."""

    identity: str
    folder: Path
    socket: Path
    logs: Path

    # -- start --------------------------------------------------------------------------------------------------------

    def start(self, programs: Iterable[Program], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start supervisord with these programs, none of them running yet. CommandFailed where it does not answer."""
        self._write_config(programs)
        process = subprocess.Popen(  # noqa: S603  our own interpreter and file
            [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self._config)],
            env={**environment, MARK: self.identity},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            start_new_session=True,  # Ctrl-C is for us: we stop the programs in order
        )
        if not within(15, lambda: self.answers() or process.poll() is not None) or process.poll() is not None:
            raise CommandFailed(f"supervisord does not start; {self.logs / 'supervisord.log'} tells more.")
        return process

    def begin(self, name: str) -> None:
        """Start a program without waiting for it."""
        self._call("startProcess", name, False)

    def wait_for(self, name: str, ready: Callable[[], bool], within_s: float) -> None:
        """Until the program does its work. CommandFailed with its last words if it gave up or is too slow."""
        if within(within_s, lambda: self._settled(name, ready)) and not self._is_over(name):
            return
        raise CommandFailed(f"{name} does not start: {self._last_words(name)} ({self._log(name)})")

    # -- stop ---------------------------------------------------------------------------------------------------------

    def end(self, names: Sequence[str]) -> None:
        """Stop these programs, all at once, and wait until they are gone. Not running is success."""
        for name in names:
            self._call("stopProcess", name, False, tolerate=(Faults.NOT_RUNNING, Faults.BAD_NAME))
        within(10, lambda: all(self.state(name) in _OVER for name in names))

    def shut_down(self) -> None:
        """Stop everything supervised and supervisord itself; what it left behind when it was killed as well."""
        pid = self._pid()
        if pid is not None:
            self._call("shutdown")
            if not within(12, lambda: not self.answers() and not _lives(pid)):
                _send(pid, signal.SIGKILL)
        self._end_orphans()
        self.socket.unlink(missing_ok=True)

    def _end_orphans(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._marked():
                _send(pid, number)
            if within(5, lambda: not any(self._marked())):
                return

    def _marked(self) -> Iterator[int]:
        """Processes that carry our mark: it is in nobody's environment but those we started."""
        mark = f"{MARK}={self.identity}".encode()
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                told = environ.read_bytes()
            except OSError:
                continue  # not ours to look at, or gone
            if mark in told.split(b"\0"):
                yield int(environ.parent.name)

    # -- ask ----------------------------------------------------------------------------------------------------------

    def answers(self) -> bool:
        """Whether our own supervisord is there."""
        return self._pid() is not None

    def state(self, name: str) -> str:
        """RUNNING, STARTING, BACKOFF, FATAL, …; STOPPED also where nobody supervises it."""
        try:
            info: dict[str, Any] = self._proxy().getProcessInfo(name)
        except (*_AWAY, xmlrpc.client.Fault):
            return "STOPPED"
        return str(info["statename"])

    def _pid(self) -> int | None:
        try:
            return int(self._proxy().getPID()) if self._proxy().getIdentification() == self.identity else None
        except (*_AWAY, xmlrpc.client.Fault):  # a fault: it is about to end
            return None

    def _settled(self, name: str, ready: Callable[[], bool]) -> bool:
        return ready() or self._is_over(name)

    def _is_over(self, name: str) -> bool:
        return self.state(name) in _OVER

    def _last_words(self, name: str) -> str:
        try:
            lines = [line.strip() for line in self._log(name).read_text(errors="replace").splitlines() if line.strip()]
        except FileNotFoundError:
            lines = []
        return lines[-1][:300] if lines else "it said nothing"

    def _call(self, method: str, *arguments: object, tolerate: Sequence[int] = ()) -> None:
        try:
            getattr(self._proxy(), method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (*tolerate, Faults.SHUTDOWN_STATE):
                raise CommandFailed(f"supervisord refused {method}: {fault.faultString}") from fault
        except _AWAY:
            if not tolerate and method != "shutdown":
                raise CommandFailed("supervisord has gone away.") from None

    def _proxy(self) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    # -- its file -----------------------------------------------------------------------------------------------------

    @property
    def _config(self) -> Path:
        return self.folder / "supervisord.conf"

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _write_config(self, programs: Iterable[Program]) -> None:
        config = RawConfigParser()
        config["unix_http_server"] = {"file": _plain(self.socket), "chmod": "0700"}
        config["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        config["supervisord"] = self._own_section()
        for program in programs:
            config[f"program:{program.name}"] = self._section(program)
        with self._config.open("w") as file:
            config.write(file)

    def _own_section(self) -> dict[str, str]:
        section = {
            "nodaemon": "true",
            "identifier": self.identity,
            "logfile": _plain(self.logs / "supervisord.log"),
            "pidfile": _plain(self.socket.with_suffix(".pid")),
            "childlogdir": _plain(self.logs),
            "umask": "077",
        }
        return section | ({"user": "root"} if os.geteuid() == 0 else {})

    def _section(self, program: Program) -> dict[str, str]:
        section = {
            "command": " ".join(_quoted(part) for part in _in_environment(program)),
            "autostart": "false",
            "autorestart": "true",
            "startretries": "3",
            "stopsignal": program.stop_signal,
            "stopwaitsecs": str(program.patience_s),
            "killasgroup": "true",  # a worker that is killed while it makes a server leaves no initdb behind
            "redirect_stderr": "true",
            "stdout_logfile": _plain(self._log(program.name)),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "2",
            "directory": "/",
        }
        return section | ({"user": program.account} if program.account else {})


def _in_environment(program: Program) -> Sequence[str]:
    """Not by supervisord's own way, which takes no value with a quotation mark in it."""
    told = [f"{name}={value}" for name, value in program.environment.items()]
    return ["/usr/bin/env", *told, *program.command] if told else program.command


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Whether it came to hold in that time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_S)
    return True


def _plain(path: Path) -> str:
    """A path in supervisord's file, where a percent sign begins an expansion."""
    return str(path).replace("%", "%%")


def _quoted(part: str) -> str:
    return "'" + part.replace("%", "%%").replace("'", "'\"'\"'") + "'"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # Our own child stays a zombie until it is waited for; supervisord's socket being gone has told enough then.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc/self").exists() else True
    except (ProcessLookupError, FileNotFoundError):  # the file: it ended between the two
        return False


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile: that was the wish
        os.kill(pid, number)
