"""Environment → one frozen Settings. The only reader of the environment; secrets come from files."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from instance_service.domain.plans import Tier
from instance_service.domain.policy import Policy
from instance_service.domain.secret import Secret

PREFIX = "INSTANCES_"
LEAST_TOKEN = 20
"""Characters: whoever has it may run programs here."""


LOOKING_S = 20
"""What a step may spend before its effect: on looking at its workload and its database."""


class SettingsError(Exception):
    """The configuration cannot be used as it stands; the message is one sentence that names the variable."""


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """Everything an operator may set. Times are seconds. Each is read as `INSTANCES_…`, unless it names database-service."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True,
        populate_by_name=True,
    )  # fmt: skip

    database_service_url: str = Field(
        "http://127.0.0.1:8005",
        validation_alias="DATABASE_SERVICE_URL",
        description="Where database-service is, without `/api/database`.",
    )
    database_service_token_file: Path | None = Field(
        None,
        validation_alias="DATABASE_SERVICE_TOKEN_FILE",
        description="A file with a token of database-service's, with the scopes `databases:read`, `databases:write` and "
        "`databases:secrets`.",
    )
    database_service_timeout_s: Seconds = Field(
        10, description="How long one question to database-service may take, beside what it is asked to wait."
    )

    own_instance_id: str = Field(
        "instance-service", description="The instance that the service's own database belongs to at database-service."
    )
    own_customer_id: str = Field("platform", description="Its customer there.")
    own_plan: Tier = Field(Tier.STANDARD, description="Its plan there.")
    own_connections: int = Field(
        4,
        ge=1,
        le=100,
        description="The most connections one process opens to it, beside one that listens; its plan must allow them.",
    )

    broker_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/1"),
        description="The broker for nudges: Redis or Valkey (`redis://`, `redis+socket://`), or RabbitMQ (`amqp://`).",
    )
    broker_url_file: Path | None = Field(None, description="A file with `INSTANCES_BROKER_URL`.")
    worker_threads: int = Field(4, ge=1, le=64, description="How many tasks one worker process runs at once.")

    api_host: str = Field("127.0.0.1", description="The address the API listens on; `0.0.0.0` in a container.")
    api_port: int = Field(8006, ge=1, le=65535, description="The port the API listens on.")
    url: str = Field("http://127.0.0.1:8006", description="Where the `instances` commands find the API.")
    token_file: Path | None = Field(
        None, description="A file with the API's token: the API demands it, the `instances` commands send it."
    )

    data_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        Path(".data/instances"),
        validate_default=True,
        description="Where workloads that are processes of this machine keep what they need, relative to here.",
    )
    workloads: Literal["process", "swarm"] = Field(
        "process",
        description="What runs instances: `process`, on this machine, or `swarm`, as services of a Docker Swarm.",
    )

    docker_host: str = Field(
        "unix:///var/run/docker.sock",
        description="`swarm`: the Docker engine of a manager node, or a proxy to it. Only the worker talks to it.",
    )
    swarm_plane: str = Field(
        "instances",
        pattern=r"^[a-z0-9][a-z0-9-]{0,30}$",
        description="`swarm`: names this service in the Swarm: only what carries it as a label is ours. Never change it.",
    )
    swarm_network: str = Field(
        "dbs-tenants", description="`swarm`: the overlay network that workloads share with the servers of databases."
    )
    swarm_image: str = Field(
        "todo:latest",
        description="`swarm`: what is run where an instance asks for no image, made from `infrastructure/images/todo`.",
    )
    swarm_constraints: str = Field(
        "", description="`swarm`: where workloads may run: placement constraints, separated by commas."
    )

    database_budget_s: Seconds = Field(
        1800, description="How long an instance waits for its database before it is called `error`."
    )
    database_poll_s: Seconds = Field(
        2, description="How soon the sweep asks again for a database that is coming; then ever more seldom."
    )
    long_poll_s: Seconds = Field(20, description="How long one question to database-service is held there.")
    follow_s: Seconds = Field(
        120, description="How long a worker keeps at one instance before it leaves it to the sweep."
    )
    follow_most: int = Field(200, ge=1, le=2000, description="How many instances one worker keeps at, at once.")
    start_timeout_s: Seconds = Field(180, description="How long a workload may take to its first good health check.")
    start_attempts: int = Field(
        5,
        ge=1,
        description="Starts that came to nothing before an instance is called `error`; it is still tried after that.",
    )
    health_interval_s: Seconds = Field(
        10, description="How often a running workload is looked at, and whether its database is still where it was."
    )
    health_failures: int = Field(3, ge=1, description="Bad looks in a row that make a running workload `unhealthy`.")
    error_recheck_s: Seconds = Field(60, description="How often an instance in `error` is looked at again.")
    rotation_overlap_s: Seconds = Field(3600, description="How long the login before works beside a new one.")
    lease_s: Seconds = Field(90, description="How long one step owns a row.")
    effect_timeout_s: Seconds = Field(45, description="The most one outside effect may take; less than the lease.")
    backoff_first_s: Seconds = Field(1, description="The pause after a first failure; it doubles.")
    backoff_most_s: Seconds = Field(60, description="The longest pause after failures.")
    longest_wait_s: Seconds = Field(30, description="The most that `?wait` is honoured for.")
    sweep_interval_s: Seconds = Field(
        2, description="How often everything that is due is looked at; the guarantee behind nudges."
    )
    leftovers_interval_s: Seconds = Field(
        300, description="How often workloads that no instance stands for any more are looked for."
    )
    sweep_width: int = Field(16, ge=1, le=256, description="Instances one sweep works on at once.")

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
    def _read_broker_url(cls, given: Mapping[str, object]) -> dict[str, object]:
        """A file instead of the variable. Both at once is refused: nobody could say which one counts."""
        read = dict(given)
        if path := read.get("broker_url_file"):
            if read.get("broker_url"):
                raise ValueError("set INSTANCES_BROKER_URL or INSTANCES_BROKER_URL_FILE, not both")
            read["broker_url"] = _read_secret(f"{PREFIX}BROKER_URL_FILE", Path(str(path)))
        return read

    @model_validator(mode="after")
    def _times_fit(self) -> "Settings":
        if self.effect_timeout_s + LOOKING_S >= self.lease_s:
            raise ValueError(
                f"{PREFIX}EFFECT_TIMEOUT_S must be {LOOKING_S} s less than {PREFIX}LEASE_S, or a second worker would meet the "
                "first at its work"
            )
        return self

    def api_token(self) -> Secret:
        """What a caller must show. SettingsError where it is not set, or could be guessed."""
        if self.token_file is None:
            raise SettingsError(f"{PREFIX}TOKEN_FILE is not set; the API does not open without a token.")
        token = _read(f"{PREFIX}TOKEN_FILE", self.token_file)
        if len(token) < LEAST_TOKEN:
            raise SettingsError(f"{PREFIX}TOKEN_FILE holds a token of less than {LEAST_TOKEN} characters.")
        return Secret(token)

    def database_service_token(self) -> Secret:
        """What database-service is shown. SettingsError where it is not set."""
        if self.database_service_token_file is None:
            raise SettingsError("DATABASE_SERVICE_TOKEN_FILE is not set; database-service asks for a token.")
        return Secret(_read("DATABASE_SERVICE_TOKEN_FILE", self.database_service_token_file))

    def policy(self) -> Policy:
        """The numbers that reconcilers and verbs obey."""
        return Policy(
            database_budget=timedelta(seconds=self.database_budget_s),
            database_poll=timedelta(seconds=self.database_poll_s),
            long_poll=timedelta(seconds=self.long_poll_s),
            follow=timedelta(seconds=self.follow_s),
            start_timeout=timedelta(seconds=self.start_timeout_s),
            start_attempts=self.start_attempts,
            health_interval=timedelta(seconds=self.health_interval_s),
            health_failures=self.health_failures,
            error_recheck=timedelta(seconds=self.error_recheck_s),
            rotation_overlap=timedelta(seconds=self.rotation_overlap_s),
            lease=timedelta(seconds=self.lease_s),
            effect_timeout=timedelta(seconds=self.effect_timeout_s),
            backoff_first=timedelta(seconds=self.backoff_first_s),
            backoff_most=timedelta(seconds=self.backoff_most_s),
            longest_wait=timedelta(seconds=self.longest_wait_s),
            sweep_width=self.sweep_width,
        )


def load_settings() -> Settings:
    """Read the environment. SettingsError says in a sentence which variable is wrong, without showing its value."""
    try:
        return Settings()
    except ValidationError as e:
        raise SettingsError("; ".join(_complaint(error["loc"], error["msg"]) for error in e.errors()) + ".") from None


def _read(name: str, path: Path) -> str:
    try:
        return _read_secret(name, path)
    except ValueError as e:
        raise SettingsError(f"{e}.") from None


def _read_secret(name: str, path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as e:
        raise ValueError(f"{name} names {path}, which cannot be read: {e.strerror}") from None


def _complaint(where: tuple[int | str, ...], message: str) -> str:
    name = ".".join(str(part) for part in where).upper()
    told = message.removeprefix("Value error, ")
    known = name if not name or name.startswith(("DATABASE_SERVICE_", PREFIX)) else PREFIX + name
    return f"{known}: {told}" if known else told
