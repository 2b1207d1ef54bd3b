"""pg_dump and pg_restore, run as children that die with whoever wanted them, and what may be repeated of their complaints."""

import asyncio
import contextlib
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from database_service.dataplane.connect import UNBENT, Moment, OnStatement
from database_service.dataplane.transfer.relays import reached
from database_service.domain.errors import TransferFailed
from database_service.domain.tenancy import Admin, LoginSpec

# Nothing of our own environment reaches a program: it may hold the key ring.
ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
TAIL_BYTES = 256 * 1024
_CHUNK = 64 * 1024


def _unsplit(value: str) -> str:
    """One option, whatever spaces are in it."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


_OPTIONS = " ".join(
    f"-c {name}={_unsplit(value)}"
    for name, value in {
        # What a tenant has set for its database must not bend these sessions either.
        **UNBENT,
        # One flush at the end, by a session of ours, is as durable as one for every statement.
        "synchronous_commit": "off",
        "client_min_messages": "error",
        "client_encoding": "UTF8",
    }.items()
)


@dataclass(frozen=True, slots=True)
class Reach:
    """A database, who logs in to it, and the file that knows the password: an argument is seen by the whole machine."""

    admin: Admin
    database: str
    mover: LoginSpec
    passfile: Path

    def conninfo(self) -> str:
        parts = {
            "host": self.admin.host,
            "port": str(self.admin.port),
            "user": self.mover.role,
            "dbname": self.database,
            "passfile": str(self.passfile),
            "options": _OPTIONS,
            "application_name": "database-service",
            "connect_timeout": "10",
            "keepalives_idle": "30",
            "keepalives_interval": "10",
            "keepalives_count": "3",
        }
        return " ".join(f"{name}={_quoted(value)}" for name, value in parts.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def write_passfile(folder: Path, mover: LoginSpec) -> Path:
    """Readable by us alone from its first byte on."""
    path = folder / "passfile"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"*:*:*:{_escaped(mover.role)}:{_escaped(mover.password.reveal())}\n")
    return path


def _escaped(field: str) -> str:
    return field.replace("\\", "\\\\").replace(":", "\\:")


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's own clients in `bin_dir`. They run as we do; each may use `jobs` connections and one more."""

    bin_dir: Path
    jobs: int
    on_statement: OnStatement

    async def major(self) -> int:
        """Of which version they are."""
        said = (await self._run("pg_dump", ["--version"])).decode()
        number = re.search(r"\d+", said)
        if number is None:
            raise TransferFailed(f"pg_dump in {self.bin_dir} does not tell its version.")
        return int(number[0])

    async def dump(self, reach: Reach, into: Path, compression: str) -> None:
        """All of the database, as a directory. It is read once and thrown away, so it is not synced to a disk."""
        how = [
            "--format=directory",
            f"--jobs={self.jobs}",
            f"--compress={compression}",
            "--no-sync",
            "--no-tablespaces",
        ]
        await self._effect("pg_dump", reach, [*how, f"--file={into}"])

    async def dump_definitions(self, reach: Reach, into: Path) -> None:
        """All but the data, as a directory."""
        how = ["--schema-only", "--format=directory", "--no-sync", "--no-tablespaces"]
        await self._effect("pg_dump", reach, [*how, f"--file={into}"])

    async def restore(self, reach: Reach, dump: Path, contents: Path) -> None:
        """What the list of contents names, or nothing more after the first error."""
        how = [f"--jobs={self.jobs}", "--exit-on-error", "--no-tablespaces", f"--use-list={contents}"]
        await self._effect("pg_restore", reach, [*how, str(dump)])

    async def contents(self, dump: Path) -> Sequence[str]:
        """Its table of contents: a line for each entry."""
        return (await self._run("pg_restore", ["--list", str(dump)])).decode(errors="replace").splitlines()

    async def schema(self, reach: Reach) -> str:
        """The statements that would make the database without its data."""
        said = await self._run_at("pg_dump", reach, ["--schema-only", "--no-tablespaces"])
        return said.decode(errors="surrogateescape")

    async def _effect(self, program: str, reach: Reach, arguments: Sequence[str]) -> None:
        self.on_statement(Moment.BEFORE, program)
        await self._run_at(program, reach, arguments)
        self.on_statement(Moment.AFTER, program)

    async def _run_at(self, program: str, reach: Reach, arguments: Sequence[str]) -> bytes:
        async with reached(reach.admin) as admin:
            return await self._run(program, [f"--dbname={replace(reach, admin=admin).conninfo()}", *arguments])

    async def _run(self, program: str, arguments: Sequence[str]) -> bytes:
        """What it printed. TransferFailed with what may be told of its complaints. Cancelled, it and its workers are dead."""
        try:
            process = await asyncio.create_subprocess_exec(
                self.bin_dir / program, *arguments,
                env=ENVIRONMENT, cwd="/", stdin=DEVNULL, stdout=PIPE, stderr=PIPE, start_new_session=True,
            )  # fmt: skip
        except OSError as e:
            raise TransferFailed(f"{program} cannot be run in {self.bin_dir}: {e.strerror}.") from e
        try:
            printed, complaints = await _heard(process)
        finally:
            await _reap(process)
        if process.returncode != 0:
            raise TransferFailed(f"{program} failed: {in_words(complaints)}.")
        return printed


async def _heard(process: Process) -> tuple[bytes, str]:
    assert process.stdout  # noqa: S101  both are pipes
    assert process.stderr  # noqa: S101
    printed, complaints = await asyncio.gather(process.stdout.read(), _tail(process.stderr))
    await process.wait()
    return printed, complaints.decode(errors="replace")


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """Its end: a tenant's function may warn once for every row."""
    kept = b""
    while chunk := await stream.read(_CHUNK):
        kept = (kept + chunk)[-TAIL_BYTES:]
    return kept


async def _reap(process: Process) -> None:
    """It is a group of its own, so its workers go with it. One that ended well has none."""
    if process.returncode == 0:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


# -- what may be repeated ---------------------------------------------------------------------------------------------

_COMPLAINT = re.compile(r"^pg_(?:dump|restore): error: (.+)$", re.MULTILINE)
_PLACE = re.compile(
    r"^pg_restore: (?:from TOC entry \d+; \d+ \d+ (.+)|error: COPY failed for (table \"[^\"]*\"): .*)$", re.MULTILINE
)
_NAME = r'"[^"]*"'
_SAFE = tuple(
    re.compile(pattern)
    for pattern in (
        r"No space left on device",
        r"Disk quota exceeded",
        r"permission denied for [a-z -]+(?: \S+)?",
        r"permission denied to [a-z ]+",
        r"must be (?:owner|superuser|able|a member)[a-z ]*",
        rf"(?:relation|schema|type|role|column|collation|language|extension|operator|text search [a-z]+) {_NAME} does not exist",
        r"(?:function|operator|aggregate) .{1,200} does not exist",
        rf"(?:relation|schema|type|function|extension) {_NAME} already exists",
        rf"new row for relation {_NAME} violates check constraint {_NAME}",
        rf"violates (?:unique|foreign key|check|not-null|exclusion) constraint {_NAME}",
        rf"could not create unique index {_NAME}",
        rf"null value in column {_NAME} of relation {_NAME}",
        rf"could not extend file {_NAME}",
        r"aborting because of server version mismatch",
        r"connection to server at [^,]+, port \d+ failed",
        r"connection to server on socket \"[^\"]+\" failed",
        r"server closed the connection unexpectedly",
        r"terminating connection due to [a-z -]+",
        r"canceling statement due to [a-z -]+",
        r"the database system is [a-z ]+",
        r"out of (?:memory|shared memory)",
        r"deadlock detected",
        r"too many connections",
        r"stack depth limit exceeded",
    )
)
"""Servers and functions of tenants put values of rows into their messages; what looks like none of these is kept back."""

KEPT_BACK = "it gave a reason that may quote rows, so it is not told here"


def in_words(complaints: str) -> str:
    """Why a program failed, and at what, without a word that may come out of a row."""
    found = [said[0] for line in _COMPLAINT.findall(complaints) for safe in _SAFE if (said := safe.search(line))]
    places = [entry or table for entry, table in _PLACE.findall(complaints)]
    why = "; ".join(dict.fromkeys(found)) or KEPT_BACK
    return f"{why} (at {places[-1].strip()})" if places else why
