"""Environment → one frozen Settings. The only reader of the environment; secrets may come from files (`NAME_FILE`)."""

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from database_service.domain.plans import Tier
from database_service.domain.policy import Placement, Policy
from database_service.domain.secret import Secret
from database_service.domain.web import is_issuer, is_origin, is_private

SECRET_NAMES = (
    "database_url",
    "postgres_database_service_password",
    "celery_broker_url",
    "secret_keys",
    "admin_token",
    "consumer_token",
    "oidc_client_secret",
)
"""Every setting that may carry a secret. Each has a `NAME_FILE` beside it, which names a file to read it from."""

PLACEHOLDERS = ("change-me", "changeme", "secret", "password", "postgres", "admin", "example")
"""What examples and defaults carry; refused outside development wherever it is found in a secret."""

_LEAST_SECRET = 16

LOOKING_S = 20
"""What a step may spend before its effect: on finding its server and logging in to it."""
_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


class SettingsError(Exception):
    """The configuration cannot be used as it stands; the message is one sentence that names the variable."""


class Environment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


def parse_bytes(text: object) -> object:
    """`256M`, `4G`, `1.5g` or plain bytes → bytes. What is no text is left as it is."""
    if not isinstance(text, str):
        return text
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not match:
        raise ValueError("is not an amount of memory such as 512M or 4G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


Bytes = Annotated[int, BeforeValidator(parse_bytes)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Settings(BaseSettings):
    """Everything an operator may set. Times are seconds; memory takes K, M and G."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True)

    environment: Environment = Field(
        Environment.DEVELOPMENT,
        description="`development` or `production`. Outside development, example secrets are refused.",
    )

    database_url: SecretStr | None = Field(
        None,
        description="The control plane's own database as one URI, `postgresql://user:password@host:port/name`. "
        "It wins over the `POSTGRES_…` parts.",
    )
    database_url_file: Path | None = Field(None, description="A file with `DATABASE_URL`.")
    postgres_host: str = Field(
        "127.0.0.1", description="Where the control plane's own database is: a host, or the folder of its Unix socket."
    )
    postgres_port: int = Field(5432, ge=1, le=65535, description="Its port.")
    postgres_db: str = Field("database_service", description="Its name.")
    postgres_database_service_user: str = Field("database_service", description="The role this service logs in with.")
    postgres_database_service_password: SecretStr | None = Field(None, description="That role's password.")
    postgres_database_service_password_file: Path | None = Field(
        None, description="A file with `POSTGRES_DATABASE_SERVICE_PASSWORD`."
    )
    database_connections: int = Field(
        20, ge=1, le=500, description="The most connections one process opens to the control plane's own database."
    )

    celery_broker_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="The broker for nudges: Redis or Valkey (`redis://`, `redis+socket://`), or RabbitMQ (`amqp://`).",
    )
    celery_broker_url_file: Path | None = Field(None, description="A file with `CELERY_BROKER_URL`.")
    worker_threads: int = Field(4, ge=1, le=64, description="How many reconcile steps one worker process runs at once.")

    secret_keys: SecretStr | None = Field(
        None,
        description="The key ring that seals secrets at rest: `id:key[,id:key…]`, 32 bytes each in URL-safe base64, "
        "the newest first. `dbs new-key` makes one; `docs/howto/rotate-the-key-ring.md` tells how to change it.",
    )
    secret_keys_file: Path | None = Field(None, description="A file with `SECRET_KEYS`.")
    admin_token: SecretStr | None = Field(
        None,
        description="The first API token, with every scope. Only its hash is stored, when the API starts.",
    )
    admin_token_file: Path | None = Field(None, description="A file with `ADMIN_TOKEN`.")
    consumer_token: SecretStr | None = Field(
        None,
        description="The token of a service that is deployed together with this one and asks it for databases. It has the "
        "scopes `databases:…`. Only its hash is stored, when the API starts.",
    )
    consumer_token_file: Path | None = Field(None, description="A file with `CONSUMER_TOKEN`.")

    api_host: str = Field("127.0.0.1", description="The address the API listens on; `0.0.0.0` in a container.")
    api_port: int = Field(8005, ge=1, le=65535, description="The port the API listens on.")
    database_service_url: str = Field(
        "http://127.0.0.1:8005",
        description="Where consumers and the `dbs` commands find the API, without `/api/database`.",
    )
    database_service_token_file: Path | None = Field(
        None, description="A file with the API token the `dbs` commands use. Without it: `admin.token` in `DATA_DIR`."
    )

    api_requests_at_once: int = Field(
        16,
        ge=1,
        le=500,
        description="Requests one API process works on at once. More than `DATABASE_CONNECTIONS` gain nothing.",
    )
    api_queue: int = Field(
        200, ge=0, le=10000, description="Requests that may queue for that; others get 503 on arrival."
    )
    api_queue_wait_s: Seconds = Field(
        5, description="How long a request of a burst may queue; who would have to for longer gets 503 on arrival."
    )
    api_overload_wait_s: Seconds = Field(
        0.002,
        description="The same once a request had to be refused, until a second went by without a refusal: a short queue "
        "keeps those that are let in fast.",
    )
    api_overload_at_once: int = Field(
        2,
        ge=1,
        le=500,
        description="Requests one API process works on at once for as long: what one processor can use.",
    )
    api_waiting: Count = Field(
        5000, description="Requests with `wait` that one process holds; others are answered at once with what is there."
    )
    api_on_servers: int = Field(
        64,
        ge=1,
        description="Requests of one process that work on tenant servers at once; what others want is left to the worker.",
    )
    api_body_timeout_s: Seconds = Field(
        10, description="How long the body of a request may take to come, then it is 408."
    )
    token_rate_per_s: Seconds = Field(
        1000, description="Requests a second that one token has for ever, in each API process; more get 429."
    )
    token_burst: int = Field(4000, ge=1, description="Requests that one token has at once, after a rest.")
    unknown_tokens_per_s: Seconds = Field(
        5, description="Tokens nobody holds that one address may show a second, in each API process; then it gets 429."
    )
    unknown_tokens_burst: int = Field(100, ge=1, description="The same at once.")

    public_url: str | None = Field(
        None,
        description="Where people's browsers find the hub, without `/admin`: `https://databases.example.com`. An identity "
        "provider sends them back there.",
    )
    oidc_issuer: str | None = Field(
        None,
        description="An identity provider (OpenID Connect) that people sign in to the hub with, beside tokens: its issuer, exactly "
        "as it calls itself. All or nothing: `OIDC_CLIENT_ID`, `OIDC_CLIENT_SECRET`, `PUBLIC_URL` and one of `OIDC_VIEWERS` and "
        "`OIDC_OPERATORS` belong to it.",
    )
    oidc_client_id: str | None = Field(None, description="What that provider knows the hub as.")
    oidc_client_secret: SecretStr | None = Field(None, description="The secret it gave to the hub.")
    oidc_client_secret_file: Path | None = Field(None, description="A file with `OIDC_CLIENT_SECRET`.")
    oidc_label: str | None = Field(
        None, description='What people call the provider: "Sign in with …". Without it, its host.'
    )
    oidc_scopes: str = Field(
        "openid profile email",
        description="What it is asked to tell, separated by spaces. Some tell groups only with `groups` in here.",
    )
    oidc_role_claim: str = Field(
        "groups", description="The claim of its id token that says what somebody is: a text, or a list of them."
    )
    oidc_viewers: str = Field("", description="Values of that claim that let somebody look, separated by commas.")
    oidc_operators: str = Field(
        "", description="Values that let somebody look and act: `admin:write`, and `databases:…` but for credentials."
    )
    oidc_secret_readers: str = Field(
        "", description="Values that let operators show credentials of databases as well (`databases:secrets`)."
    )
    oidc_session_s: Seconds = Field(
        8 * 3600,
        le=8 * 3600,
        description="How long such a sign-in lasts, 8 h at most. Who is removed at the provider stays in until then.",
    )

    data_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        Path(".data"),
        validate_default=True,
        description="Where the embedded system and the `process` provisioner keep everything, relative to here.",
    )
    provisioner: Literal["process", "swarm"] = Field(
        "process",
        description="What makes new servers. `process`: PostgreSQL 18 as local processes, from a wheel; "
        "`swarm`: services of a Docker Swarm.",
    )
    postgres_bin_dir: Path | None = Field(
        None,
        description="PostgreSQL programs for the `process` provisioner; without it, those of the wheel.",
    )

    postgres_image: str | None = Field(
        None,
        description="What new servers run in a Swarm: an image made from `infrastructure/images/postgres`. "
        "It is pinned by its digest where it has one.",
    )
    docker_host: str = Field(
        "unix:///var/run/docker.sock",
        description="The Docker engine of a manager node, or a proxy to it. Only the worker talks to it.",
    )
    swarm_plane: str = Field(
        "dbs",
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$",
        description="Names this control plane in the Swarm: only what carries it as a label is ours. Never change it.",
    )
    swarm_network: str | None = Field(
        None,
        description="An overlay network that servers, the worker, the API and those who use databases share; there, a "
        "server's name is its address.",
    )
    swarm_publish: bool = Field(
        False, description="Reach servers at a port of the node they run on instead of by name on the network."
    )
    swarm_pools_dir: Path | None = Field(
        None,
        description="Shared storage, such as a CephFS directory, mounted at this path on every database node and in the "
        "worker. Without it, servers live in volumes of the manager's own node.",
    )
    swarm_dedicated_dir: Path | None = Field(
        None, description="The same for dedicated servers; without it, they are beside the pools."
    )
    swarm_constraints: str = Field(
        "node.labels.role==database",
        description="Where servers may run: placement constraints, separated by commas.",
    )

    swarm_tls: bool = Field(
        True,
        description="New servers in a Swarm speak TLS, with certificates of this control plane's own authority, and let nobody in "
        "without. Their image has to have a PostgreSQL with OpenSSL, as the official ones do.",
    )

    db_pool_max_instances: int = Field(50, ge=1, le=10000, description="Databases a new pool holds.")
    db_pool_cpu_limit: float = Field(2, gt=0, description="CPUs of a new pool.")
    db_pool_memory_limit: Bytes = Field(4 * 1024**3, ge=64 * 1024**2, description="Memory of a new pool, such as `4G`.")
    pools_least: Count = Field(0, description="Pools that are kept at all times.")
    pools_most: Count = Field(1000, description="Pools beyond this number are not ordered automatically.")
    auto_order: bool = Field(
        True, description="Order pools when waiting callers and spares need more room than there is."
    )
    placement: Placement = Field(
        Placement.SPREAD,
        description="Where new databases go: `spread` over all pools, or `binpack` one pool after the other.",
    )

    spares_least: Count = Field(
        2, description="Ready-made databases every open pool keeps; measured demand only raises it."
    )
    spares_most: Count = Field(10, description="Demand raises the spares of a pool to this many at most.")
    spare_horizon_s: Seconds = Field(300, description="Spares cover the demand of this long.")
    spare_plan: Tier = Field(Tier.FREE, description="The plan whose limits a spare is built with; a claim widens them.")
    build_width: int = Field(4, ge=1, le=64, description="Databases built at once on one server; 2 to 6 is right.")

    allocate_budget_s: Seconds = Field(
        3, description="How long a request may wait on a tenant server before it answers 202."
    )
    longest_wait_s: Seconds = Field(30, description="The most that `Prefer: wait` and `?wait` are honoured for.")
    retry_after_s: Seconds = Field(2, description="What a 202 or 503 asks the caller to wait.")
    lease_s: Seconds = Field(90, description="How long one step owns a row.")
    effect_timeout_s: Seconds = Field(45, description="The most one outside effect may take; less than the lease.")
    backoff_first_s: Seconds = Field(1, description="The pause after a first failure; it doubles.")
    backoff_most_s: Seconds = Field(300, description="The longest pause after failures.")
    server_attempts: int = Field(
        5, ge=1, description="Failed starts before a server is called `error`; it is still tried after that."
    )
    server_start_timeout_s: Seconds = Field(
        180, description="How long a starting server may take to answer its first login."
    )
    error_recheck_s: Seconds = Field(60, description="How often a server in `error` is looked at again.")
    reseat_attempts: int = Field(
        3, ge=1, description="Failed builds on an ill server before a database is seated elsewhere."
    )

    health_interval_s: Seconds = Field(300, description="How often a well server is logged in to.")
    health_failures: int = Field(3, ge=1, description="Failed logins in a row that make a running server unhealthy.")
    sweep_interval_s: Seconds = Field(
        2, description="How often everything that is due is looked at; the guarantee behind nudges."
    )
    enforce_interval_s: Seconds = Field(
        15, description="How often sessions that overrun their plan's statement or idle time are looked for and ended."
    )
    register_interval_s: Seconds = Field(
        15,
        description="How often what was changed is written down on the servers themselves, for `dbs rebuild`. What was "
        "claimed in this time before a loss without a backup is there without an owner.",
    )
    usage_interval_s: Seconds = Field(
        60,
        description="How often it is looked what databases use: sessions, time, blocks, temporary files, and the sizes of those "
        "that were written to.",
    )
    size_interval_s: Seconds = Field(
        900, description="How often the size of a database is taken of which nothing says that it was written to."
    )
    history_keep_s: Seconds = Field(
        90 * 86400,
        ge=14 * 86400,
        le=730 * 86400,
        description="How long it is known, by the day, what servers and databases had; by the hour it is two weeks.",
    )
    refill_interval_s: Seconds = Field(
        15, description="How often spares are counted and refilled, beside the refill after each sweep."
    )
    sweep_width: int = Field(16, ge=1, le=256, description="Rows one sweep works on at once.")

    rotation_overlap_s: Seconds = Field(
        3600, description="How long the old login works beside the new one after a rotation."
    )
    most_logins: int = Field(5, ge=2, le=50, description="Live logins one database may have at once.")
    failed_pool_grace_s: Seconds = Field(86400, description="How long a pool stays in `error` before it is cleaned up.")
    dedicated_data_grace_s: Seconds = Field(
        7 * 86400, description="How long a retired dedicated server's data is kept."
    )

    move_dir: Path | None = Field(
        None,
        description="Where a move puts a database's dump for as long as it takes, on the worker: as much room as the "
        "largest database has. Without it: `moves` in `DATA_DIR`.",
    )
    move_jobs: int = Field(2, ge=1, le=64, description="Tables that a move dumps, restores and compares at once.")
    move_drain_s: float = Field(
        5, ge=0, description="How long transactions may go on once a move has shut the database's door."
    )
    move_attempts: int = Field(
        3,
        ge=1,
        description="So often a worker may die in one phase of a move, with the door shut, before it is turned back.",
    )
    move_seat_timeout_s: Seconds = Field(1800, description="How long a move waits for room before it is given up.")

    drift_interval_s: Seconds = Field(
        3600, description="How often the world is compared with the rows: see `dbs drift`."
    )
    drift_grace_s: Seconds = Field(
        86400, description="How long a thing without a row is left alone, from when it was first found."
    )
    drift_confirmation_s: Seconds = Field(900, description="How long a confirmation to remove drift holds.")

    request_log_reads: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The share of successful reads that the request log keeps. What changes something, and what is refused or "
        "fails, is kept always.",
    )
    request_log_body_bytes: int = Field(
        8192,
        ge=0,
        le=1024**2,
        description="Bodies up to this length are kept in it, without secrets; 0 keeps none.",
    )
    request_log_queue: int = Field(
        10_000,
        ge=0,
        description="Rows of it that wait in one API process while the database is slow; those beyond are lost, and counted.",
    )
    request_log_keep_s: Seconds = Field(7 * 86400, ge=3600, description="How long it goes back; an hour at least.")

    backup_within_s: Seconds = Field(
        26 * 3600,
        ge=0,
        description="The hub tells when the control plane has not been backed up with `dbs backup-control-plane` for so long; "
        "0: never, as it is backed up in another way.",
    )

    await_schema_s: float = Field(
        0,
        ge=0,
        description="How long API and worker wait at their start for the schema they need; 0 does not look. In a stack "
        "nothing else keeps them from starting before `dbs migrate` is done.",
    )
    alive_dir: Path | None = Field(
        None,
        description="A folder for signs of life, which the image's health check reads. Without it none are left.",
    )
    log_format: Literal["json", "console"] = Field("json", description="`json` for machines, `console` for people.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least severe line that is written."
    )

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """`NAME_FILE` gives `NAME`. Both at once is refused: nobody could say which one counts."""
        read = dict(given)
        for name in SECRET_NAMES:
            if path := read.get(f"{name}_file"):
                if read.get(name):
                    raise ValueError(f"set {name.upper()} or {name.upper()}_FILE, not both")
                read[name] = _read_secret(name, Path(path))
        return read

    @model_validator(mode="after")
    def _times_fit(self) -> "Settings":
        if self.effect_timeout_s + LOOKING_S >= self.lease_s:
            raise ValueError(
                f"EFFECT_TIMEOUT_S must be {LOOKING_S} s less than LEASE_S, or a second worker would meet the first at its work"
            )
        if self.pools_least > self.pools_most:
            raise ValueError("POOLS_LEAST must not exceed POOLS_MOST")
        return self

    def refuse_impossible(self) -> None:
        """Raise SettingsError where settings that go together do not."""
        if self.provisioner != "swarm":
            return
        if self.postgres_image is None:
            raise SettingsError("POSTGRES_IMAGE is not set; servers in a Swarm need one.")
        if not self.swarm_network and not self.swarm_publish:
            raise SettingsError("Neither SWARM_NETWORK nor SWARM_PUBLISH is set; nobody could reach a server.")
        if self.swarm_dedicated_dir and not self.swarm_pools_dir:
            raise SettingsError(
                "SWARM_DEDICATED_DIR is set without SWARM_POOLS_DIR; volumes and directories do not mix."
            )

    @property
    def wants_oidc(self) -> bool:
        """Whether anything of a sign-in by OpenID Connect is set."""
        given = (self.oidc_issuer, self.oidc_client_id, self.oidc_client_secret)
        return any(given) or any((self.oidc_viewers, self.oidc_operators, self.oidc_secret_readers))

    def refuse_half_oidc(self) -> None:
        """Raise SettingsError where a part of a sign-in by OpenID Connect is set and another one is not, or others could read
        along. Asked by the API alone: the other processes have no use for it, and no secret of it."""
        if not self.wants_oidc:
            return
        needed = {
            "OIDC_ISSUER": self.oidc_issuer,
            "OIDC_CLIENT_ID": self.oidc_client_id,
            "OIDC_CLIENT_SECRET (or …_FILE)": self.oidc_client_secret and self.oidc_client_secret.get_secret_value(),
            "PUBLIC_URL": self.public_url,
            "OIDC_ROLE_CLAIM": self.oidc_role_claim,
            "OIDC_VIEWERS or OIDC_OPERATORS": f"{self.oidc_viewers},{self.oidc_operators}".replace(",", " "),
        }
        if lacking := [name for name, value in needed.items() if not (value and value.strip())]:
            raise SettingsError(f"Sign-in by OpenID Connect is set in part: {', '.join(lacking)} is not set.")
        for name, url in (("OIDC_ISSUER", self.oidc_issuer), ("PUBLIC_URL", self.public_url)):
            if not is_private(url or ""):
                raise SettingsError(
                    f"{name} must begin with https:// and have no blanks; http:// is for this machine's own address alone."
                )
        if not is_issuer(self.oidc_issuer or ""):
            raise SettingsError("OIDC_ISSUER must be as the provider calls itself, which is without `?` and `#`.")
        if not is_origin(self.public_url or ""):
            raise SettingsError(
                "PUBLIC_URL must be a site alone, such as https://databases.example.com, without a path."
            )
        if "openid" not in self.oidc_scopes.split():
            raise SettingsError("OIDC_SCOPES must contain openid, or the provider gives no id token.")

    def refuse_unsafe(self) -> None:
        """Raise SettingsError where a secret is missing, or, outside development, is one that anybody could guess."""
        if self.secret_keys is None:
            raise SettingsError("SECRET_KEYS (or SECRET_KEYS_FILE) is not set; `dbs new-key` makes one.")
        if self.database_url is None and self.postgres_database_service_password is None:
            raise SettingsError(
                "POSTGRES_DATABASE_SERVICE_PASSWORD (or …_FILE, or DATABASE_URL) is not set; it is needed to log in."
            )
        self.refuse_guessable()

    def refuse_guessable(self) -> None:
        """Raise SettingsError where, outside development, a secret that is set is one that anybody could guess."""
        if self.environment is Environment.DEVELOPMENT:
            return
        for name in SECRET_NAMES:
            value = getattr(self, name)
            if isinstance(value, SecretStr) and guessable(name, value.get_secret_value()):
                raise SettingsError(
                    f"{name.upper()} still carries an example or default secret; outside development that is refused."
                )

    def database_dsn(self) -> str:
        """The control plane's own database as a URI for asyncpg; it holds the password, so show it to nobody."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        user = quote(self.postgres_database_service_user, safe="")
        secret = self.postgres_database_service_password
        password = f":{quote(secret.get_secret_value(), safe='')}" if secret else ""
        name = quote(self.postgres_db, safe="")
        if self.postgres_host.startswith("/"):
            return f"postgresql://{user}{password}@/{name}?host={quote(self.postgres_host)}&port={self.postgres_port}"
        return f"postgresql://{user}{password}@{self.postgres_host}:{self.postgres_port}/{name}"

    def broker_url(self) -> str:
        """The broker's URL with its password, if it has one."""
        return self.celery_broker_url.get_secret_value()

    def key_ring(self) -> str:
        """The text of the key ring for `SecretBox.from_ring`; SettingsError where it is not set."""
        if self.secret_keys is None:
            raise SettingsError("SECRET_KEYS (or SECRET_KEYS_FILE) is not set; `dbs new-key` makes one.")
        return self.secret_keys.get_secret_value()

    def dumps(self) -> Path:
        """Where moves put their dumps."""
        return self.move_dir or self.data_dir / "moves"

    def bootstrap_token(self) -> Secret | None:
        """The first API token, where one is set."""
        return Secret(self.admin_token.get_secret_value()) if self.admin_token else None

    def consumers_token(self) -> Secret | None:
        """That of a service which is deployed together with this one, where one is set."""
        return Secret(self.consumer_token.get_secret_value()) if self.consumer_token else None

    def as_environment(self) -> dict[str, str]:
        """What a child process needs to read the same settings. Secrets only as the names of their files."""
        told = self.model_dump(mode="json", exclude=set(SECRET_NAMES), exclude_none=True)
        return {name.upper(): str(value) for name, value in told.items()}

    def policy(self) -> Policy:
        """The numbers that reconcilers and verbs obey."""
        return Policy(
            allocate_budget=timedelta(seconds=self.allocate_budget_s),
            longest_wait=timedelta(seconds=self.longest_wait_s),
            retry_after=timedelta(seconds=self.retry_after_s),
            lease=timedelta(seconds=self.lease_s),
            effect_timeout=timedelta(seconds=self.effect_timeout_s),
            backoff_first=timedelta(seconds=self.backoff_first_s),
            backoff_most=timedelta(seconds=self.backoff_most_s),
            server_attempts=self.server_attempts,
            server_start_timeout=timedelta(seconds=self.server_start_timeout_s),
            error_recheck=timedelta(seconds=self.error_recheck_s),
            health_interval=timedelta(seconds=self.health_interval_s),
            health_failures=self.health_failures,
            size_interval=timedelta(seconds=self.size_interval_s),
            failed_pool_grace=timedelta(seconds=self.failed_pool_grace_s),
            dedicated_data_grace=timedelta(seconds=self.dedicated_data_grace_s),
            reseat_attempts=self.reseat_attempts,
            rotation_overlap=timedelta(seconds=self.rotation_overlap_s),
            most_logins=self.most_logins,
            placement=self.placement,
            pool_slots=self.db_pool_max_instances,
            pool_cpu=self.db_pool_cpu_limit,
            pool_memory_bytes=self.db_pool_memory_limit,
            pools_least=self.pools_least,
            pools_most=self.pools_most,
            auto_order=self.auto_order,
            spares_least=self.spares_least,
            spares_most=self.spares_most,
            spare_horizon=timedelta(seconds=self.spare_horizon_s),
            spare_plan=self.spare_plan,
            build_width=self.build_width,
            sweep_width=self.sweep_width,
            drift_grace=timedelta(seconds=self.drift_grace_s),
            drift_confirmation=timedelta(seconds=self.drift_confirmation_s),
            request_log_keep=timedelta(seconds=self.request_log_keep_s),
            backup_within=timedelta(seconds=self.backup_within_s),
            history_keep=timedelta(seconds=self.history_keep_s),
            move_drain=timedelta(seconds=self.move_drain_s),
            move_attempts=self.move_attempts,
            move_seat_timeout=timedelta(seconds=self.move_seat_timeout_s),
            default_provisioner=self.provisioner,
            default_image=self.postgres_image if self.provisioner == "swarm" else None,
            tls=self.swarm_tls and self.provisioner == "swarm",
        )


def load_settings() -> Settings:
    """Read the environment. SettingsError says in a sentence which variable is wrong, without showing its value."""
    try:
        return Settings()
    except ValidationError as e:
        raise SettingsError("; ".join(_complaint(error["loc"], error["msg"]) for error in e.errors()) + ".") from None


def guessable(name: str, value: str) -> bool:
    """Whether this is an example, or a secret too short to be random. A URL without a password holds no secret."""
    lowered = value.lower()
    if "change-me" in lowered or "changeme" in lowered:
        return True
    password = _password_in(value) if name.endswith("_url") else lowered
    return password is not None and (password in PLACEHOLDERS or len(password) < _LEAST_SECRET)


def _password_in(url: str) -> str | None:
    match = re.match(r"[a-z+]+://[^/@:]*:([^@/]*)@", url, re.IGNORECASE)
    return match[1].lower() if match else None


def _read_secret(name: str, path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as e:
        raise ValueError(f"{name.upper()}_FILE names {path}, which cannot be read: {e.strerror}") from None


def _complaint(where: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in where).upper()
    told = message.removeprefix("Value error, ")
    return f"{name}: {told}" if name else told
