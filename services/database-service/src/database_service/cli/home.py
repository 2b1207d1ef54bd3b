"""Where the embedded system keeps what: its data, its secrets, its sockets, and the lock of the one `dbs up`."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from database_service.auth.tokens import new_token
from database_service.cli.exits import CommandFailed
from database_service.domain.secret import Secret
from database_service.files import write_whole
from database_service.provisioners.runtime import Account, PostgresRuntime
from database_service.secretbox import new_key, new_password
from database_service.settings import Settings

LEAST_FREE_BYTES = 300 * 1024**2
"""The control plane's database and a first pool, with room to start."""
LONGEST_RUN_PATH = 70
"""A Unix socket's path has 107 bytes; the longest name below `run` needs about 30."""
POOL_MEMORY = 256 * 1024**2
"""A pool's memory where nothing else is set: a laptop carries several."""


@dataclass(frozen=True, slots=True)
class Home:
    """DATA_DIR and what lies in it. `run` and `control` may lie elsewhere, where an account or a path length asks for it."""

    data: Path
    run: Path
    control: Path
    account: Account

    @classmethod
    def make(cls, data: Path, runtime: PostgresRuntime) -> "Home":
        """Make what is missing. ProvisioningFailed where the account that runs servers can get nowhere."""
        control = runtime.reachable_home(data / "control")
        home = cls(data, _short(runtime.reachable_home(data / "run"), data), control, runtime.account)
        for private in (home.secrets, home.logs):
            private.mkdir(mode=0o700, exist_ok=True)
        home.postgres_socket.mkdir(mode=0o700, exist_ok=True)
        runtime.account.owns(home.postgres_socket)
        return home

    @property
    def secrets(self) -> Path:
        return self.data / "secrets"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def admin_token(self) -> Path:
        return self.data / "admin.token"

    @property
    def consumer_token(self) -> Path:
        """What instance-service shows, where it runs too."""
        return self.secrets / "consumer.token"

    @property
    def postgres_socket(self) -> Path:
        return self.run / "pg"

    @property
    def broker_socket(self) -> Path:
        return self.run / "valkey.sock"

    @property
    def identity(self) -> str:
        """Tells our own processes from anybody else's."""
        return f"dbs-{hashlib.sha256(str(self.data).encode()).hexdigest()[:16]}"

    def settings(self, asked: Settings) -> Settings:
        """What was asked for, with the embedded system's own database, broker and secrets, made once and kept."""
        password = self._kept(self.secrets / "control-database.password", new_password)
        ring = self._kept(self.secrets / "key-ring", lambda: Secret(new_key("k1")))
        broker = f"redis+socket://{self.broker_socket}"
        token = self._kept(self.admin_token, new_token)
        return asked.model_copy(
            update={
                "database_url": None,
                "database_url_file": None,
                "postgres_host": str(self.postgres_socket),
                "postgres_port": 5432,
                "postgres_database_service_password": SecretStr(password.reveal()),
                "postgres_database_service_password_file": self.secrets / "control-database.password",
                "secret_keys": SecretStr(ring.reveal()),
                "secret_keys_file": self.secrets / "key-ring",
                "admin_token": SecretStr(token.reveal()),
                "admin_token_file": self.admin_token,
                **self._consumers(),
                **self._sign_in(asked),
                "celery_broker_url": SecretStr(broker),
                "celery_broker_url_file": self._written(self.secrets / "broker-url", broker),
                "db_pool_memory_limit": _unless_set(asked, "db_pool_memory_limit", POOL_MEMORY),
                "database_service_url": f"http://{_reachable(asked.api_host)}:{asked.api_port}",
            }
        )

    def expect_consumer(self) -> None:
        """Have a token for instance-service, from now on part of the settings."""
        self._kept(self.consumer_token, new_token)

    def _consumers(self) -> dict[str, object]:
        if not self.consumer_token.exists():
            return {}
        token = SecretStr(self.consumer_token.read_text().strip())
        return {"consumer_token": token, "consumer_token_file": self.consumer_token}

    def _sign_in(self, asked: Settings) -> dict[str, object]:
        """What the processes get as a file, like every other secret."""
        secret = asked.oidc_client_secret
        if secret is None or asked.oidc_client_secret_file:
            return {}
        path = self.secrets / "oidc-client.secret"
        return {"oidc_client_secret_file": self._written(path, secret.get_secret_value())}

    def _kept(self, path: Path, make: Callable[[], Secret]) -> Secret:
        if not path.exists():
            write_whole(path, make().reveal() + "\n")
        return Secret(path.read_text().strip())

    def _written(self, path: Path, text: str) -> Path:
        write_whole(path, text + "\n")
        return path


def prepare_data_dir(data: Path) -> None:
    """Make DATA_DIR and see that it can be written and has room. CommandFailed in a sentence."""
    with storage_named(data):
        data.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data):
            pass
    refuse_little_room(data)


def refuse_little_room(data: Path) -> None:
    """CommandFailed where the disk of DATA_DIR has no room for a start."""
    free = shutil.disk_usage(data).free
    if free < LEAST_FREE_BYTES:
        raise CommandFailed(
            f"The disk of DATA_DIR {data} has only {free // 1024**2} MB left; at least {LEAST_FREE_BYTES // 1024**2} MB are needed."
        )


def embedded_settings(asked: Settings) -> Settings:
    """Those of the embedded system in DATA_DIR, where there is one and nothing else was asked for."""
    elsewhere = asked.secret_keys or asked.database_url or asked.postgres_database_service_password
    if elsewhere or not (asked.data_dir / "secrets" / "key-ring").exists():
        return asked
    return Home.make(asked.data_dir, PostgresRuntime.find(asked.postgres_bin_dir)).settings(asked)


@contextlib.contextmanager
def storage_named(data: Path) -> Iterator[None]:
    """What the operating system says about files below DATA_DIR, as a sentence."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CommandFailed(f"The disk of DATA_DIR {data} is full.") from e
        if e.filename is None:
            raise  # not about a file
        raise CommandFailed(f"DATA_DIR {data} cannot be used: {e.filename}: {e.strerror}.") from e


@contextlib.contextmanager
def only_one(data: Path) -> Iterator[None]:
    """The lock of the one `dbs up` on this DATA_DIR; the operating system frees it however we end."""
    descriptor = os.open(data / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise CommandFailed(
            f"Another `dbs up` already runs on {data}; stop it first, or give another DATA_DIR."
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _short(run: Path, data: Path) -> Path:
    """`run`, or, where sockets in it would have too long a path, a folder of ours in the system's temporary one."""
    if len(os.fsencode(run)) <= LONGEST_RUN_PATH:
        return run
    short = Path("/tmp") / f"dbs-{os.geteuid()}-{hashlib.sha256(str(data).encode()).hexdigest()[:12]}"  # noqa: S108  checked below
    short.mkdir(mode=0o755, exist_ok=True)
    status = short.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022 or short.is_symlink():
        raise CommandFailed(f"{short} belongs to somebody else; remove it, or give a shorter DATA_DIR.")
    return short


def _unless_set(asked: Settings, name: str, embedded: int) -> int:
    return getattr(asked, name) if name in asked.model_fields_set else embedded


def _reachable(host: str) -> str:
    """Where a client on this machine finds what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  compared
