"""The stack's files, as `docker stack deploy` reads them: what every service must have, and what none may."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from database_service.cli.stack_variables import OTHER_DEFAULTS, SET_BY_STACK, VARIABLES
from database_service.provisioners.swarm import engine
from database_service.settings import SECRET_NAMES, Settings
from support.needs import without
from support.pages import REPOSITORY

COMPOSE = REPOSITORY / "infrastructure" / "compose"
DEV, CEPH, PROXY, OIDC = (COMPOSE / f"docker-compose.{name}.yml" for name in ("dev", "ceph", "proxy", "oidc"))
OURS = ("api", "worker", "beat", "migrate")
INSTANCES = ("instances-api", "instances-worker", "instances-beat")
APIS = ("api", "instances-api")
WORKERS = {"instances-worker", "worker"}
ONCE = "migrate"
ROOT_FOR_A_MOMENT = "postgres"
"""Its entrypoint gives the data to PostgreSQL's account and becomes it."""
ENGINE_OF_INSTANCES = REPOSITORY / "services/instance-service/src/instance_service/workloads/engine.py"
SOCKET = "/var/run/docker.sock"
USED = re.compile(r"\$\{([A-Z][A-Z0-9_]*)")
ENVIRONMENT = {"DOCKER_PROXY_IMAGE": "proxy", "BASE_DOMAIN": "example.com"}

BY_PATH = {"get", "post", "base_url"}
"""What is asked for by its path: logs of tasks, and images to be fetched; other calls ask for the same parts."""
ASKED_OF = {
    "info": "INFO", "inspect_distribution": "DISTRIBUTION",
}  # fmt: skip
"""Parts of the engine's interface that a call of its client is not named for."""

Service = dict[str, Any]


def config(*files: Path) -> dict[str, Any]:
    """What Docker's own client makes of them."""
    if shutil.which("docker") is None:
        without("not installed: docker")
    given = [part for file in files for part in ("-c", str(file))]
    said = subprocess.run(
        ["docker", "stack", "config", *given],
        env={"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **ENVIRONMENT},
        check=True,
        capture_output=True,
        text=True,
    )
    told: dict[str, Any] = yaml.safe_load(said.stdout)
    return told


STACKS = {
    "dev": [DEV],
    "ceph": [CEPH],
    "dev with proxy": [DEV, PROXY],
    "ceph with proxy": [CEPH, PROXY],
    "dev with oidc": [DEV, OIDC],
    "ceph with oidc": [CEPH, OIDC],
}


@pytest.fixture(params=STACKS.values(), ids=STACKS.keys())
def services(request: pytest.FixtureRequest) -> dict[str, Service]:
    found: dict[str, Service] = config(*request.param)["services"]
    return found


def test_every_service_has_limits_and_reservations(services: dict[str, Service]) -> None:
    for name, service in services.items():
        resources = service["deploy"]["resources"]
        assert resources["limits"].keys() >= {"cpus", "memory"}, name
        assert "memory" in resources["reservations"], name


def test_every_service_says_when_it_is_well(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert ("test" in service["healthcheck"]) == (name != ONCE), name


def test_every_service_says_how_it_is_updated_and_taken_back(services: dict[str, Service]) -> None:
    for name, service in services.items():
        order = "start-first" if name in APIS and "ports" not in service else "stop-first"
        for kind in ("update_config", "rollback_config"):
            assert service["deploy"][kind]["order"] == order, (name, kind)
        assert service["deploy"]["update_config"]["failure_action"] in ("rollback", "pause"), name


def test_what_ends_is_started_again_except_what_is_done(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service["deploy"]["restart_policy"]["condition"] == ("on-failure" if name == ONCE else "any"), name


def test_nothing_has_a_virtual_address_or_an_ingress_port(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service["deploy"]["endpoint_mode"] == "dnsrr", name
        assert all(port["mode"] == "host" for port in service.get("ports", [])), name


def test_root_file_systems_are_read_only_and_capabilities_dropped(services: dict[str, Service]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert ("cap_add" in service) == (name == ROOT_FOR_A_MOMENT), name


def test_no_secret_is_in_an_environment(services: dict[str, Service]) -> None:
    for name, service in services.items():
        environment = service.get("environment", {})
        assert not {secret.upper() for secret in SECRET_NAMES} & environment.keys(), name
        files = {key: value for key, value in environment.items() if key.endswith("_FILE")}
        assert all(value.startswith("/run/secrets/") for value in files.values()), name
        assert not [key for key in environment if re.search("PASSWORD|TOKEN|KEYS", key) and key not in files], name


def test_every_secret_in_use_is_the_services_own(services: dict[str, Service]) -> None:
    for name, service in services.items():
        given = {secret["source"] for secret in service.get("secrets", [])}
        named = {value.rpartition("/")[2] for key, value in service.get("environment", {}).items() if "_FILE" in key}
        assert named <= given, name
    assert {secret["source"] for secret in services["beat"]["secrets"]} == {"broker_url"}
    assert {secret["source"] for secret in services["instances-beat"]["secrets"]} == {"instances_broker_url"}


def test_instances_have_a_consumers_secrets_and_no_other(services: dict[str, Service]) -> None:
    given = {secret["source"] for name in INSTANCES for secret in services[name]["secrets"]}
    assert given == {"consumer_token", "instances_token", "instances_broker_url"}
    assert {secret["uid"] for name in INSTANCES for secret in services[name]["secrets"]} == {"10004"}
    assert services["api"]["environment"]["CONSUMER_TOKEN_FILE"] == "/run/secrets/consumer_token"


def test_only_the_api_has_the_secret_of_the_identity_provider() -> None:
    for stack in (DEV, CEPH):
        told = config(stack, OIDC)
        having = {
            name
            for name, service in told["services"].items()
            if "oidc_client_secret" in {secret["source"] for secret in service.get("secrets", [])}
        }
        assert having == {"api"}
        assert told["services"]["api"]["environment"]["ADMIN_TOKEN_FILE"], "what it had besides"


def test_only_workers_or_the_proxy_see_the_socket(services: dict[str, Service]) -> None:
    seeing = {
        name
        for name, service in services.items()
        for mount in service.get("volumes", [])
        if mount["type"] == "bind" and SOCKET in (mount["source"], mount["target"])
    }
    assert seeing == ({"docker-proxy"} if "docker-proxy" in services else WORKERS)


@pytest.mark.parametrize(
    ("worker", "variable", "uid"),
    [("worker", "DOCKER_HOST", 10001), ("instances-worker", "INSTANCES_DOCKER_HOST", 10004)],
)
def test_with_a_proxy_workers_ask_that_one(worker: str, variable: str, uid: int) -> None:
    service = config(DEV, PROXY)["services"][worker]
    assert service["environment"][variable] == "tcp://docker-proxy:2375"
    assert service["user"] == f"{uid}:{uid}"


def test_the_proxy_lets_through_what_workers_ask_and_no_more() -> None:
    engines = Path(engine.__file__).read_text() + ENGINE_OF_INSTANCES.read_text()
    calls = set(re.findall(r"client\.([a-z_]+)", engines)) - BY_PATH
    parts = {ASKED_OF.get(call, call.rpartition("_")[2].removesuffix("s").upper() + "S") for call in calls} | {"POST"}
    environment = config(DEV, PROXY)["services"]["docker-proxy"]["environment"]
    assert {name for name, value in environment.items() if value == "1"} == parts


def test_data_is_placed_on_database_nodes_and_the_worker_on_managers() -> None:
    services = config(CEPH)["services"]
    assert services["postgres"]["deploy"]["placement"]["constraints"] == ["node.labels.role==database"]
    assert services["worker"]["deploy"]["placement"]["constraints"] == ["node.role==manager"]
    binds = {mount["source"] for mount in services["worker"]["volumes"] if mount["type"] == "bind"} - {SOCKET}
    assert binds == {"/mnt/cephfs/postgres_pools", "/mnt/cephfs/postgres_dedicated"}


def test_traefik_leads_to_the_api_by_both_paths() -> None:
    labels = config(CEPH)["services"]["api"]["deploy"]["labels"]
    assert labels["traefik.http.routers.dbs.rule"] == "Host(`api.example.com`) && PathPrefix(`/database`)"
    assert labels["traefik.http.middlewares.dbs-api.addprefix.prefix"] == "/api"
    assert "PathPrefix(`/api/database`)" in labels["traefik.http.routers.dbs-whole.rule"]


def test_the_control_planes_own_network_is_closed_and_the_tenants_outlives_the_stack() -> None:
    networks = config(DEV)["networks"]
    assert networks["internal"]["internal"]
    assert networks["tenants"]["external"]


@pytest.mark.parametrize(
    ("names", "image", "uid"), [(OURS, "database-service", 10001), (INSTANCES, "instance-service", 10004)]
)
def test_ours_run_one_image_as_an_account_that_is_not_root(names: tuple[str, ...], image: str, uid: int) -> None:
    services = config(DEV)["services"]
    assert {services[name]["image"] for name in names} == {f"{image}:latest"}
    assert [services[name]["user"] for name in names if "user" in services[name]] == [f"{uid}:999"]
    dockerfile = (REPOSITORY / f"infrastructure/images/{image}/Dockerfile").read_text()
    assert f"ARG UID={uid}" in dockerfile
    assert "USER ${UID}:${UID}" in dockerfile


def test_dumps_lie_in_a_volume_that_the_worker_may_write() -> None:
    for stack in (DEV, CEPH):
        worker = config(stack)["services"]["worker"]
        (volume,) = [mount for mount in worker["volumes"] if mount["type"] == "volume"]
        assert volume["target"] == worker["environment"]["MOVE_DIR"]
        dockerfile = (REPOSITORY / "infrastructure/images/database-service/Dockerfile").read_text()
        assert f'--owner "${{UID}}" --group "${{UID}}" --mode 0700 {volume["target"]}' in dockerfile


# -- variables --------------------------------------------------------------------------------------------------------


def test_every_variable_of_the_files_is_told_and_every_one_told_is_used() -> None:
    script = (COMPOSE / "stack").read_text()
    used = {name for file in (DEV, CEPH, PROXY, OIDC) for name in USED.findall(file.read_text())} - {
        "ENV_FILE",
        "CONFIG_VERSION",
    }
    told = {variable.name for variable in VARIABLES}
    assert used <= told | {name.upper() for name in Settings.model_fields}
    assert not [name for name in told - used if name not in script]


def test_defaults_are_told_as_they_are() -> None:
    defaults = {variable.name: variable.default for variable in VARIABLES}
    defaults |= {name.upper(): str(value) for name, value in OTHER_DEFAULTS.items()}
    for name, default in re.findall(r"\$\{([A-Z][A-Z0-9_]*):-([^}]*)\}", CEPH.read_text()):
        if defaults.get(name):
            assert defaults[name] == default, name


def test_what_the_stack_sets_is_set_there_or_in_the_image() -> None:
    dockerfile = (REPOSITORY / "infrastructure/images/database-service/Dockerfile").read_text()
    environment = {key for service in config(CEPH)["services"].values() for key in service.get("environment", {})}
    for name in SET_BY_STACK:
        assert name.upper() in environment or f"{name.upper()}=" in dockerfile, name
