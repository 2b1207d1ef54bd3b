"""The repository as somebody has it who deploys it, on a lab's manager."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import stack_images
from support.folders import open_folder
from support.lab_images import POSTGRES_BASE
from support.machines import Machine
from support.pages import REPOSITORY

NEEDED = (
    *("Makefile", ".dockerignore", "requirements", "infrastructure", "shared"),
    *(
        f"{package}/{name}"
        for package in ("services/database-service", "services/instance-service", "clients/python", "examples/todo")
        for name in ("pyproject.toml", "README.md", "src")
    ),
)


@contextmanager
def checked_out() -> Iterator[Path]:
    """What is deployed, with the wheels its images are made of."""
    with open_folder() as folder:
        for name in NEEDED:
            source = REPOSITORY / name
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        shutil.copytree(stack_images.have_wheels(), folder / ".cache" / "wheels")
        yield folder


def terminal_at(manager: Machine, home: Path) -> dict[str, str]:
    """The environment of a terminal there: its engine, and images that stand for those that cannot be pulled."""
    stack_images.load_base(manager)
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "DOCKER_HOST": manager.url,
        "DOCKER_SOCKET": str(manager.socket),
        "DOCKER_BUILDKIT": "0",
        "BASE_PYTHON": stack_images.BASE,
        "BASE_POSTGRES": POSTGRES_BASE,
        "SWARM_TLS": "false",  # the wheel's PostgreSQL was built without OpenSSL
        "VALKEY_IMAGE": stack_images.BASE,
        "NODE": manager.address,
    }
