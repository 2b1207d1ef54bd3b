"""The images of the lab, made from Debian packages and the installed wheel, once: a file in the checkout's `.cache` keeps them.

`BASE` is a small Debian. `POSTGRES_BASE` is PostgreSQL 18 on it as the official image has it: programs on the PATH, an account
`postgres` of number 999 at home in /var/lib/postgresql, PG_MAJOR, and PGDATA below the volume; it has no entrypoint.
"""

import hashlib
import importlib.metadata
import importlib.util
import io
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from database_service.provisioners.runtime import WHEEL
from support.machines import Machine, run

BASE = "dbs-test/base:bookworm"
POSTGRES_BASE = "dbs-test/postgres-base:18"
POSTGRES = "dbs-test/postgres:18"
ROOT = Path(__file__).parents[4]
CACHE = ROOT / ".cache" / "swarm-lab"
SUITE = "bookworm"
USELESS = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
TREE = f"usr/local/lib/{WHEEL}"
DOCKERFILE = f"""\
FROM {BASE}
COPY usr /usr
RUN groupadd --system --gid 999 postgres \\
 && useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres \\
 && install --directory --owner postgres --group postgres --mode 1777 /var/lib/postgresql /var/run/postgresql \\
 && ln -s /{TREE}/pginstall/bin/* /usr/local/bin/ \\
 && mkdir /docker-entrypoint-initdb.d
ENV PG_MAJOR=18 PGDATA=/var/lib/postgresql/18/docker LANG=C.UTF-8
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
"""


def bases(machine: Machine) -> Path:
    """The file with both base images. Where there is none yet, this machine makes it, in about a minute."""
    CACHE.mkdir(parents=True, exist_ok=True)
    kept = CACHE / f"images-{_recipe()}.tar"
    if not kept.exists():
        with scratch() as folder:
            machine.docker("import", str(_debian(folder)), BASE)
            machine.docker("build", "--quiet", "--tag", POSTGRES_BASE, "-", stdin=_context(folder))
            machine.docker("save", "--output", str(folder / "images.tar"), BASE, POSTGRES_BASE)
            (folder / "images.tar").rename(kept)
    return kept


def _recipe() -> str:
    """Another one makes other images."""
    told = (SUITE, USELESS, DOCKERFILE, importlib.metadata.version(WHEEL))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def _debian(folder: Path) -> Path:
    tree, packed = folder / "tree", folder / "base.tar"
    run("debootstrap", "--variant=minbase", SUITE, str(tree))
    run(
        "tar",
        f"--directory={tree}",
        *(f"--exclude=./{path}/*" for path in USELESS),
        f"--file={packed}",
        "--create",
        ".",
    )
    return packed


def _context(folder: Path) -> Path:
    """What the Dockerfile needs: itself, and the wheel's programs with their libraries beside them, where they look."""
    packed = folder / "context.tar"
    found = importlib.util.find_spec(WHEEL)
    assert found, f"{WHEEL} is not installed"
    wheel = Path(str(found.origin)).parent
    with tarfile.open(packed, "w") as tar:
        recipe = tarfile.TarInfo("Dockerfile")
        recipe.size = len(DOCKERFILE)
        tar.addfile(recipe, io.BytesIO(DOCKERFILE.encode()))
        tar.add(wheel / "pginstall", f"{TREE}/pginstall", filter=_for_everybody)
        tar.add(wheel.with_name(f"{WHEEL}.libs"), f"{TREE}.libs", filter=_for_everybody)
    return packed


def _for_everybody(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode |= 0o555 if entry.isdir() else 0o444
    return entry


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=".making-", dir=CACHE) as folder:
        yield Path(folder)


# -- PostgreSQL with OpenSSL, which the wheel's has not ------------------------------------------------------------------

TLS_POSTGRES = "dbs-test/postgres:tls"
TLS_DOCKERFILE = """\
FROM {base}
COPY usr /usr
RUN groupadd --system --gid 999 postgres \\
 && useradd --system --gid postgres --uid 999 --home-dir /var/lib/postgresql --shell /bin/bash postgres \\
 && install --directory --owner postgres --group postgres --mode 1777 /var/lib/postgresql /var/run/postgresql \\
 && ln -s {programs}/* /usr/local/bin/
ENV PG_MAJOR={major} LANG=C.UTF-8
VOLUME /var/lib/postgresql
"""
ITS_OWN = ("libc.so", "libm.so", "libresolv.so", "ld-linux")
"""Of the C library, which an image has and which must be all of one build."""


def have_tls_base(machine: Machine, programs: Path) -> str:
    """The name of an image like POSTGRES_BASE, with this machine's own PostgreSQL; both are of the same Debian."""
    major = programs.parent.name
    tag = f"dbs-test/postgres-base:tls-{major}"
    recipe = TLS_DOCKERFILE.format(base=BASE, programs=programs, major=major)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "context.tar"
        with tarfile.open(packed, "w") as tar:
            told = tarfile.TarInfo("Dockerfile")
            told.size = len(recipe)
            tar.addfile(told, io.BytesIO(recipe.encode()))
            for path in (programs.parent, Path("/usr/share/postgresql") / major, *_libraries(programs)):
                tar.add(path, str(path).lstrip("/"), filter=_for_everybody)
        machine.docker("build", "--quiet", "--tag", tag, "-", stdin=packed)
    return tag


def _libraries(programs: Path) -> Iterator[Path]:
    """What they are linked with, as files below /usr."""
    found = set[Path]()
    for program in ("postgres", "pg_isready", "initdb"):
        for line in run("ldd", str(programs / program)).splitlines():
            words = line.split()
            if "=>" in words and not words[0].startswith(ITS_OWN):
                found.add(Path("/usr") / words[2].removeprefix("/usr/").lstrip("/"))
    for path in sorted(found):
        yield path
        if path.is_symlink():
            yield path.resolve()
