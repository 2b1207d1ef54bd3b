"""Python and the example application, where the account of a workload can reach them.

An environment below /root is closed to everybody else. Then both are copied, once, to where workloads are: the interpreter
with its library, and the example with what it needs. All calls block.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from instance_service.domain.errors import WorkloadFailed

EXAMPLE = "todo"
TRIAL_S = 60
NOT_NEEDED = shutil.ignore_patterns(
    "__pycache__",
    "site-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "config-3*",
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that has the example. `packages` is where that lies, if the interpreter does not know."""

    program: Path
    packages: Path | None = None

    @classmethod
    def for_account(cls, uid: int, home: Path) -> "Interpreter":
        """Ours, or a copy in `home`. WorkloadFailed where neither runs as this account."""
        ours = cls(Path(sys.executable))
        if uid == os.geteuid() or ours.runs_as(uid):
            return ours
        copy = _copied(home)
        if copy.runs_as(uid):
            return copy
        raise WorkloadFailed(
            f"The example cannot be run as the account {uid}, neither from {sys.executable} nor from a copy in {home}."
        )

    @property
    def command(self) -> tuple[str, ...]:
        """What runs the example."""
        return (*self.prefix, str(self.program), "-m", EXAMPLE)

    @property
    def prefix(self) -> tuple[str, ...]:
        """A copy has to be told where its libraries are."""
        if self.packages is None:
            return ()
        library = self.program.parents[1] / "lib"
        return ("/usr/bin/env", f"PYTHONPATH={self.packages}", f"LD_LIBRARY_PATH={library}")

    def runs_as(self, uid: int) -> bool:
        """Tried, not computed: modes of every parent, libraries and mount options all have a say."""
        try:
            tried = subprocess.run(  # noqa: S603  fixed words
                [*self.prefix, str(self.program), "-c", f"import {EXAMPLE}.__main__"],
                env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
                cwd="/",
                check=False,
                capture_output=True,
                timeout=TRIAL_S,
                user=uid,
                group=uid,
                extra_groups=[],
            )
        except OSError:
            return False  # not even begun
        return tried.returncode == 0


def _copied(home: Path) -> Interpreter:
    """Made whole or not at all, and again only for another Python."""
    copy = home / f".python-{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if not copy.exists():
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=home))
        try:
            _copy_python(making)
            _copy_packages(making / "packages")
            making.chmod(0o755)
            making.rename(copy)
        except OSError as e:
            if not copy.exists():  # else another worker was faster, and its copy is as good
                raise WorkloadFailed(f"The example cannot be copied to {home}: {e.strerror}.") from e
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return Interpreter(copy / "bin" / "python3", copy / "packages")


def _copy_python(to: Path) -> None:
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    shutil.copytree(library, to / "lib" / library.name, ignore=NOT_NEEDED)
    (to / "bin").mkdir()
    shutil.copy(Path(sys.executable).resolve(), to / "bin" / "python3")
    shared = Path(str(sysconfig.get_config_var("LIBDIR"))) / str(sysconfig.get_config_var("INSTSONAME"))
    if shared.suffix != ".a" and shared.is_file():
        shutil.copy(shared, to / "lib" / shared.name)


def _copy_packages(to: Path) -> None:
    """The example from wherever it is imported, as it may be installed in place; the rest as its wheels list it."""
    example = importlib.util.find_spec(EXAMPLE)
    if example is None or example.origin is None:
        raise WorkloadFailed(f"The example is not installed: the package {EXAMPLE} is missing.")
    shutil.copytree(Path(example.origin).parent, to / EXAMPLE, ignore=NOT_NEEDED)
    for distribution in _needed_by(EXAMPLE, set()):
        for file in distribution.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (to / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), to / file)


def _needed_by(name: str, known: set[str]) -> Iterator[importlib.metadata.Distribution]:
    """All that it requires, and what that requires; what is not installed is for other systems, or an extra."""
    for requirement in importlib.metadata.distribution(name).requires or ():
        needed = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if needed in known or "extra ==" in requirement:
            continue
        known.add(needed)
        try:
            yield importlib.metadata.distribution(needed)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield from _needed_by(needed, known)
