"""pg_dump, pg_restore and psql on our own database. The password is in a file, never in an argument. All calls block."""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from database_service.domain.backups import BackupUnusable
from database_service.store.archive import Sink

# Nothing of our own environment reaches a program: it may hold the key ring.
ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
# The request log is no state: it would make the backup large, and tell again what was forgotten.
NOT_KEPT = "--exclude-table-data=public.requests"
DUMP = ("--format=custom", "--no-password", "--no-owner", "--no-privileges", "--no-sync", NOT_KEPT)
REPLAY = ("--file=-", "--no-owner", "--no-privileges", "--exit-on-error")
PSQL = (
    "--no-psqlrc",
    "--quiet",
    "--no-password",
    "--set=ON_ERROR_STOP=1",
    "--set=VERBOSITY=terse",
    "--output=/dev/null",
)
_CHUNK = 1024 * 1024
_COMPLAINT = re.compile(
    r"^(?:pg_dump: error: |pg_restore: error: |psql: error: |psql:.*?(?:ERROR|FATAL):  )(.+)$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Reach:
    """Our own database for PostgreSQL's programs: a URI without a password, and the programs' directory."""

    uri: str
    bin_dir: Path

    def dump(self, snapshot: str, into: Sink) -> None:
        """All of it as it was at that moment, in pg_dump's custom format. BackupUnusable says why not."""
        with self._started("pg_dump", [*DUMP, f"--snapshot={snapshot}", f"--dbname={self.uri}"]) as process:
            for chunk in iter(lambda: _output(process).read(_CHUNK), b""):
                into.write(chunk)

    def replay(self, dump: Path, before: str, after: str) -> None:
        """`before`, the dump and `after` in one transaction: whatever ends it early, nothing has happened.

        Its end is a statement of ours, so that a stream that breaks off commits nothing.
        """
        with self._started("psql", [*PSQL, f"--dbname={self.uri}"], stdin=subprocess.PIPE) as session:
            told = _input(session)
            with contextlib.suppress(BrokenPipeError):  # it has ended, and says why
                told.write(f"BEGIN;\n{before}\n".encode())
                self._pour(dump, told)
                told.write(f"\n{after}\nCOMMIT;\n".encode())
                told.close()

    def _pour(self, dump: Path, told: IO[bytes]) -> None:
        with self._started("pg_restore", [*REPLAY, str(dump)]) as process:
            for chunk in iter(lambda: _output(process).read(_CHUNK), b""):
                told.write(chunk)

    @contextlib.contextmanager
    def _started(
        self, program: str, arguments: Sequence[str], stdin: int = subprocess.DEVNULL
    ) -> "Iterator[subprocess.Popen[bytes]]":
        """It has ended well when the context has; else BackupUnusable. Whatever goes wrong in here ends it."""
        with tempfile.TemporaryFile() as complaints:
            try:
                process = subprocess.Popen(  # noqa: S603  PostgreSQL's own program, arguments as a list
                    [self.bin_dir / program, *arguments],
                    env=ENVIRONMENT, cwd="/", stdin=stdin, stdout=subprocess.PIPE, stderr=complaints,
                )  # fmt: skip
            except OSError as e:
                raise BackupUnusable(f"{program} cannot be run in {self.bin_dir}: {e.strerror}.") from e
            try:
                yield process
                process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                _forget(process)
            if process.returncode != 0:
                complaints.seek(0)
                raise BackupUnusable(f"{program} failed: {_said(complaints.read().decode(errors='replace'))}.")


@contextlib.contextmanager
def reach(dsn: str, bin_dir: Path) -> Iterator[Reach]:
    """How programs log in to where this URI leads, for as long as the context lasts."""
    uri, password = _parted(dsn)
    with tempfile.TemporaryDirectory(prefix="dbs-pass-") as folder:
        passfile = Path(folder) / "passfile"
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        descriptor = os.open(passfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"*:*:*:*:{escaped}\n")
        yield Reach(f"{uri}{'&' if '?' in uri else '?'}passfile={passfile}", bin_dir)


def _parted(dsn: str) -> tuple[str, str]:
    """The URI without its password, and the password."""
    parts = urlsplit(dsn)
    who, _, where = parts.netloc.rpartition("@")
    user, _, password = who.partition(":")
    asked = dict(parse_qsl(parts.query))
    password = asked.pop("password", "") or unquote(password)
    bare = parts._replace(netloc=f"{user}@{where}" if user else where, query=urlencode(asked))
    return urlunsplit(bare), password


def _output(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert process.stdout is not None  # noqa: S101  a pipe
    return process.stdout


def _input(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    assert process.stdin is not None  # noqa: S101  a pipe
    return process.stdin


def _forget(process: "subprocess.Popen[bytes]") -> None:
    """Close our ends, whatever is left in them, and reap it."""
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(BrokenPipeError):
            if pipe is not None:
                pipe.close()
    process.wait()


def _said(complaints: str) -> str:
    found = _COMPLAINT.findall(complaints) or complaints.strip().splitlines()[-1:]
    return "; ".join(dict.fromkeys(line.strip().rstrip(".") for line in found)) or "it said nothing"
