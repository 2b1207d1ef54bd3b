"""Local servers for tests: specs, a home for them, crashes at any effect, and what the machine itself knows of them."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

from database_service.domain.ids import ServerId
from database_service.domain.plans import ServerType
from database_service.domain.secret import Secret
from database_service.domain.servers import Address, Presence, ServerSpec
from database_service.provisioners.base import Provisioner
from database_service.provisioners.place import Hands
from database_service.provisioners.runtime import PostgresRuntime

PASSWORD = Secret("correct horse 'battery\\staple'")
EFFECTS = ("make_room", "write_identity", "make_data", "write_settings", "start", "stop", "bury", "delete")


def a_spec(**settings: str) -> ServerSpec:
    """A small server with an awkward password, and these parameters on top."""
    server_id = ServerId(uuid4())
    return ServerSpec(
        id=server_id,
        name=f"pool-{server_id.hex[:8]}",
        server_type=ServerType.SHARED,
        admin_user="admin",
        admin_password=PASSWORD,
        settings={"shared_buffers": "16MB", "max_connections": "20", "log_min_error_statement": "panic"} | settings,
        cpu_limit=1,
        memory_limit=128 * 1024 * 1024,
    )


def dsn_of(spec: ServerSpec, address: Address) -> str:
    password = quote(spec.admin_password.reveal(), safe="")
    return f"postgresql://{spec.admin_user}:{password}@{address.host}:{address.port}/postgres"


async def address_of(provisioner: Provisioner, spec: ServerSpec) -> Address:
    """Where it runs; the test fails if it does not."""
    seen = await provisioner.observe(spec.id)
    assert seen.presence is Presence.RUNNING, seen
    assert seen.address is not None
    return seen.address


def postmasters_in(data_dir: Path) -> list[int]:
    """Every process of this machine whose working directory it is and whose parent is no such process itself."""
    inside = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if _works_in(entry, data_dir)}
    return [pid for pid, parent in inside.items() if parent not in inside]


def told_by_proc(pid: int, file: str) -> str:
    """What the kernel tells of a process: `environ`, `cmdline`, `status` …"""
    return (Path("/proc") / str(pid) / file).read_text()


def _works_in(process: Path, directory: Path) -> bool:
    try:
        return process.name.isdecimal() and (process / "cwd").readlink() == directory
    except OSError:
        return False  # it ended, or is a stranger's


def _parent(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


class FragileHands:
    """Hands whose owner can be killed right before (even numbers) or right after (odd ones) each effect."""

    def __init__(self, runtime: PostgresRuntime, crash_at: int | None = None) -> None:
        self._hands = Hands(runtime)
        self._crash_at = crash_at
        self.moments = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._hands, name)
        return self._fragile(method) if name in EFFECTS else method

    def _fragile(self, effect: Callable[..., None]) -> Callable[..., None]:
        def act(*arguments: object) -> None:
            self._moment()
            effect(*arguments)
            self._moment()

        return act

    def _moment(self) -> None:
        if self.moments == self._crash_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.moments += 1

    def as_hands(self) -> Hands:
        return cast("Hands", self)


def in_child(work: Callable[[], Coroutine[object, object, None]]) -> int:
    """Run it in a process of its own that ends without any clean-up. Its exit code, or minus the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio.run(work())
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
