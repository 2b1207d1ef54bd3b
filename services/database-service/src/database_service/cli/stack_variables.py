"""What the files and commands of the stack read from the environment beside the service's own settings."""

from dataclasses import dataclass

CHANGE_ME = "change-me"


@dataclass(frozen=True, slots=True)
class Variable:
    """`default` is what counts where it is not set; where that is `change-me`, a deployment that needs it is refused."""

    name: str
    default: str
    description: str


VARIABLES = (
    Variable("TAG", "latest", "The version of the service's image."),
    Variable(
        "DATABASE_SERVICE_IMAGE", "database-service", "The service's image without its tag: `make images` makes it."
    ),
    Variable(
        "INSTANCE_SERVICE_IMAGE", "instance-service", "instance-service's image without its tag, which is TAG too."
    ),
    Variable("TODO_IMAGE", "todo", "The example's image without its tag: what instances run that ask for no other."),
    Variable("VALKEY_IMAGE", "valkey/valkey:8-alpine", "The broker's image, of Valkey or Redis."),
    Variable(
        "DOCKER_PROXY_IMAGE",
        "",
        "A filtering proxy (tecnativa/docker-socket-proxy or one like it) between the worker and the Docker socket. "
        "Without it the worker has the socket itself.",
    ),
    Variable("DOCKER_SOCKET", "/var/run/docker.sock", "The socket of the managers' Docker engines."),
    Variable("DOCKER_GID", "", "The group that may use it, as a number; without it, that of the socket here."),
    Variable("BASE_DOMAIN", CHANGE_ME, "ceph, to be set: Traefik serves the API at `api.BASE_DOMAIN/database`."),
    Variable("TRAEFIK_NETWORK", "traefik", "ceph: the overlay network that Traefik reaches services on."),
    Variable("TRAEFIK_ENTRYPOINT", "websecure", "ceph: Traefik's entry point with TLS."),
    Variable("CEPH_ROOT", "/mnt/cephfs", "ceph: where every manager and every database node has CephFS mounted."),
    Variable("API_REPLICAS", "2", "ceph: how many APIs run."),
    Variable(
        "API_REPLICAS_PER_NODE", "2", "ceph: how many of them one node may have; an update needs room for one more."
    ),
    Variable("INSTANCES_API_PORT", "8006", "dev: the port of the node that instance-service's API has."),
    Variable("INSTANCES_API_REPLICAS", "1", "ceph: how many APIs instance-service has."),
    Variable(
        "INSTANCES_SWARM_CONSTRAINTS",
        "",
        "Where instances may run: placement constraints, separated by commas; without any, dev runs them on the manager.",
    ),
    Variable("WORKER_REPLICAS", "2", "ceph: how many workers run, on managers."),
    Variable(
        "POSTGRES_MIGRATOR_USER",
        "database_service_migrator",
        "The role that owns the schema; `migrate` logs in with it.",
    ),
    Variable("POSTGRES_MAX_CONNECTIONS", "200", "What the control plane's own PostgreSQL allows."),
    Variable("POSTGRES_SHARED_BUFFERS", "256MB", "Its buffers; its container has 1 GB."),
    Variable(
        "SECRETS_DIR",
        "",
        "Where secrets lie as files for `make stack-secrets`, each made at random where it is missing; without it, "
        "`.secrets/` and SWARM_PLANE. Keep a copy elsewhere.",
    ),
    Variable("SUPERUSER_PASSWORD_SECRET", "", "The Docker secret with the password of the control plane's PostgreSQL."),
    Variable("MIGRATOR_PASSWORD_SECRET", "", "That with the password of POSTGRES_MIGRATOR_USER."),
    Variable("SERVICE_PASSWORD_SECRET", "", "That with the password of POSTGRES_DATABASE_SERVICE_USER."),
    Variable("BROKER_CONF_SECRET", "", "That with the broker's configuration: one line with its password."),
    Variable("BROKER_URL_SECRET", "", "That with the broker's URL (CELERY_BROKER_URL)."),
    Variable("SECRET_KEYS_SECRET", "", "That with the key ring (SECRET_KEYS)."),
    Variable("ADMIN_TOKEN_SECRET", "", "That with the first API token (ADMIN_TOKEN)."),
    Variable("CONSUMER_TOKEN_SECRET", "", "That with instance-service's token for this API (CONSUMER_TOKEN)."),
    Variable(
        "OIDC_CLIENT_SECRET_SECRET",
        "",
        "With OIDC_ISSUER: that with the secret its provider gave (OIDC_CLIENT_SECRET).",
    ),
    Variable("INSTANCES_TOKEN_SECRET", "", "That with the token which instance-service's own callers show."),
    Variable("INSTANCES_BROKER_URL_SECRET", "", "That with instance-service's broker."),
)
"""Docker secrets never change: to rotate one, name a new one. Without a name it is SWARM_PLANE, `_` and the file's."""

SET_BY_STACK = frozenset({
    "environment", "postgres_host", "postgres_port", "api_host", "provisioner", "docker_host", "data_dir", "alive_dir",
    "await_schema_s", "move_dir", "swarm_pools_dir", "swarm_dedicated_dir",
})  # fmt: skip
"""Settings whose value the stack's files or the image say; in the file with variables they change nothing."""

OTHER_DEFAULTS = {
    "api_port": "8005",
    "postgres_image": "dbs-postgres:18",
    "swarm_network": "dbs-tenants",
    "swarm_constraints": "node.labels.role==database",
}
"""Settings that the stack's files have defaults for: SWARM_CONSTRAINTS is `node.role==manager` in the dev stack."""
