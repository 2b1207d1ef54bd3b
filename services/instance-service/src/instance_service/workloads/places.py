"""Place: what one workload of this machine has on its disk.

<home>/<instance id>/identity.json   who it is and its port; written before anything it names
                     life            what runs and how, and on a second line as whom; gone once it was stopped on purpose
                     login/          the files with its login, readable by its account alone
                     own/            its working directory and HOME
                     log             what it said since it was started last
                     log.old         what it said before that
<home>/.<instance id>.lock           held by whoever starts, stops or removes it
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from instance_service.domain.errors import WorkloadFailed
from instance_service.domain.ids import InstanceId
from instance_service.domain.wording import plain
from instance_service.domain.workloads import WorkloadSpec
from instance_service.workloads.launch import started

FORMAT = 1
LOCK_PATIENCE_S = 40.0
PAUSE_S = 0.01
LAST_WORDS_BYTES = 4096
PASSWORD_IN_ADDRESS = re.compile(r"(://[^\s:@/]*:)\S*@")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who lives there. The port stays, as long as nobody else takes it: people have it in their browsers."""

    id: InstanceId
    name: str
    port: int

    def text(self) -> str:
        return json.dumps(asdict(self) | {"id": str(self.id), "format": FORMAT}) + "\n"

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """ValueError where it is damaged, or of a format we do not know."""
        try:
            read = json.loads(text)
            if read["format"] != FORMAT:
                raise ValueError("unknown format")
            return cls(InstanceId(UUID(read["id"])), str(read["name"]), int(read["port"]))
        except (KeyError, TypeError) as e:
            raise ValueError("not an identity") from e


@dataclass(frozen=True, slots=True)
class Life:
    """What was started last. `pid` leads a session of its own; `begun` tells it from whoever gets that number later."""

    version: str
    health_path: str
    pid: int | None = None
    begun: str | None = None

    @classmethod
    def of(cls, spec: WorkloadSpec) -> "Life":
        return cls(spec.version, spec.health_path)

    def text(self) -> str:
        """The first line; the second is written by what is started, of itself."""
        return json.dumps({"version": self.version, "health_path": self.health_path}) + "\n"

    @classmethod
    def parse(cls, text: str) -> "Life":
        """ValueError where not even the first line is whole. Without the second, nothing was started."""
        told, _, who = text.partition("\n")
        try:
            read = json.loads(told)
            life = cls(str(read["version"]), str(read["health_path"]))
        except (KeyError, TypeError) as e:
            raise ValueError("not a life") from e
        pid, _, begun = who.rstrip("\n").partition(" ")
        return cls(life.version, life.health_path, int(pid), begun) if who.endswith("\n") else life

    @property
    def lasts(self) -> bool:
        return self.pid is not None and started(self.pid) == self.begun


@dataclass(frozen=True, slots=True)
class Place:
    """The paths of one workload, and what stands in its files. Looking changes nothing."""

    home: Path
    id: InstanceId

    @property
    def directory(self) -> Path:
        return self.home / str(self.id)

    @property
    def identity_file(self) -> Path:
        return self.directory / "identity.json"

    @property
    def life_file(self) -> Path:
        return self.directory / "life"

    @property
    def login(self) -> Path:
        return self.directory / "login"

    @property
    def own(self) -> Path:
        return self.directory / "own"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def lock_file(self) -> Path:
        return self.home / f".{self.id}.lock"

    def identity(self) -> Identity | None:
        """None where nobody moved in yet. WorkloadFailed where its file says nothing we understand."""
        try:
            return Identity.parse(self.identity_file.read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as e:
            raise WorkloadFailed(f"{self.identity_file} is damaged; remove the instance, or restore the file.") from e

    def life(self) -> Life | None:
        """None where nothing was started since it was last stopped, or the start was cut off before it did anything."""
        try:
            return Life.parse(self.life_file.read_text())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None

    def age_s(self) -> float:
        """Seconds since it was started, by the file that a start writes."""
        return time.time() - self.life_file.stat().st_mtime

    def last_words(self) -> str:
        """What it said last since it was started, one line, without the password of any address in it."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - LAST_WORDS_BYTES))
                said = log.read().decode(errors="replace")
        except FileNotFoundError:
            said = ""
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        return self._without_password(plain(lines[-1]).strip())[:300] if lines else "it said nothing"

    def _without_password(self, line: str) -> str:
        """Of an address anybody's, as it may have an earlier login from elsewhere; the one it was given, wherever it stands."""
        line = PASSWORD_IN_ADDRESS.sub(r"\1***@", line)
        try:
            password = (self.login / "pgpass").read_text().rstrip("\n").rpartition(":")[2]
        except FileNotFoundError:
            return line
        return line.replace(password, "***") if password else line

    def make(self) -> None:
        """The folders that are ours. That of the workload itself is made for its account."""
        for folder in (self.home, self.directory, self.login):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)  # passed through by the workload's account; what is in them is closed to everybody else

    def write_identity(self, identity: Identity) -> None:
        write_whole(self.identity_file, identity.text())

    def opened_log(self) -> int:
        """A new one for each start: the one before may tell an earlier password. It is kept until the next."""
        with contextlib.suppress(FileNotFoundError):
            self.log.replace(self.log.with_suffix(".old"))
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def clear_away(self) -> None:
        """Who it is last: a removal that was cut off is seen, and goes on."""
        for path in self.directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != self.identity_file:
                path.unlink()
        self.identity_file.unlink(missing_ok=True)
        self.directory.rmdir()


def places_in(home: Path) -> list[Place]:
    """All that have something here, whether a row knows them or not."""
    return [Place(home, InstanceId(UUID(path.name))) for path in sorted(home.iterdir()) if _is_uuid(path.name)]


def write_whole(path: Path, text: str, uid: int | None = None, gid: int | None = None) -> None:
    """Write a file so that the old or the new one is there; 0600, for another account if one is given."""
    descriptor, making = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        if uid is not None and gid is not None:
            os.chown(making, uid, gid)
        Path(making).replace(path)
    except BaseException:
        Path(making).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def alone(lock_file: Path) -> Iterator[int]:
    """Nobody else, in any process, is in here for this file. WorkloadFailed after LOCK_PATIENCE_S of waiting."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while (lock := _take(lock_file)) is None:
        if time.monotonic() > deadline:
            raise WorkloadFailed("Another worker has been busy with it for long; it is tried again later.")
        time.sleep(PAUSE_S)
    try:
        yield lock
    finally:
        os.close(lock)


def _take(lock_file: Path) -> int | None:
    """The lock; None while it is another's, or was on a file that the last holder deleted."""
    lock = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock_file.stat().st_ino == os.fstat(lock).st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
