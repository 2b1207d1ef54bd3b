"""Fixtures every test may use, and one rule for all of them: what a test tells has no secret in it.

All fixtures are synchronous; each pytest-xdist worker has its own clusters.

`cluster`           session: a PostgreSQL 18 that plays the control plane: host, port, superuser, password, dsn(name)
`tenant_cluster`    session: a second one that plays a tenant server
`other_cluster`     session: a third one, for what goes from one tenant server to another
`control_template`  session: the name of a migrated database on `cluster`; never connect to it, clone it
`control_dsn`       test: the DSN of a migrated database of its own on `cluster`, dropped afterwards
`house`             test: actions and reconcilers over both clusters (see support.house)
`valkey`            test: a broker of its own, which can be frozen and killed (see support.broker)
`rabbitmq`          session: the other broker, real too (see support.rabbitmq); `rabbit` is it for one test, well and empty
`swarm_lab`         session: a Docker Swarm of machines that can be lost, cut off and mended (see support.swarm_lab)
`healthy_swarm`     test: the same with every node Ready, and nothing of an earlier test in it
`storage`           test: a folder of its own that every machine of the lab sees
`postgres_image`    session: the name of our PostgreSQL image, which every node of the lab has
`registry`          session: `host:port` of an image registry that the lab's nodes trust
`home`              test: a folder for servers of this machine, which are stopped afterwards
`yard`              test: a house whose pools are such servers (see support.strays)
`folder`            test: a folder that every account may enter; DATA_DIRs and homes of servers lie in it
`runtime`           session: where PostgreSQL's programs are and who runs them
"""

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path

import pytest

from database_service.provisioners.process import ProcessProvisioner
from database_service.provisioners.runtime import PostgresRuntime
from support import secrets
from support.broker import Broker, running_broker
from support.cluster import Cluster, blocking, clear, fresh_database, migrate, running_cluster
from support.folders import open_folder
from support.house import House, open_house
from support.lab_images import POSTGRES, POSTGRES_BASE, ROOT
from support.needs import not_installed, without
from support.rabbitmq import RabbitMQ, running_rabbitmq
from support.strays import Yard, open_yard
from support.swarm_lab import Lab, running_lab, why_not

LAB = pytest.StashKey[Lab]()


def pytest_configure() -> None:
    secrets.watch()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests go to whichever worker is free; those beside a whole running system stay together, so that it starts once.

    Those on the Swarm lab are one group, wherever they are written: a run has one lab. So are those on RabbitMQ, and those that
    look at the hub in a browser.
    """
    for item in items:
        if item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.xdist_group("swarm"))
        elif "rabbitmq" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("rabbitmq"))
        elif "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("browser"))
        elif item.get_closest_marker("stack"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("docker") is None)  # the longest group, so it begins first


def pytest_collection_finish(session: pytest.Session) -> None:
    """Two labs in one run are in each other's way, and only slow each other down at first: a version of pytest that xdist cannot
    name groups for went unnoticed for long."""
    if getattr(session.config.option, "loadgroup", False) and any(
        item.get_closest_marker("docker") and not item.nodeid.endswith("@swarm") for item in session.items
    ):
        raise pytest.UsageError("pytest-xdist does not keep the tests of a group together")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that prints or logs a secret has failed, whatever else it shows."""
    report = yield
    for name, told in report.sections:
        try:
            secrets.KNOWN.refuse(told, name)
        except secrets.Leak as leak:
            report.outcome, report.longrepr = "failed", str(leak)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """The lab ends with the last test on it: what its machines keep is gigabytes of memory."""
    yield
    lab = item.session.stash.get(LAB, None)
    if lab and nextitem and not nextitem.get_closest_marker("docker"):
        del item.session.stash[LAB]
        lab.end()


@pytest.fixture(scope="session")
def runtime() -> PostgresRuntime:
    return PostgresRuntime.find()


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def tenant_cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def other_cluster() -> Iterator[Cluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_piles_up(request: pytest.FixtureRequest) -> Iterator[None]:
    """Seven megabytes for each tenant's database, in memory, would be more than there is at the end of a run."""
    yield
    for name in ("tenant_cluster", "other_cluster"):
        if name in request.fixturenames:
            blocking(clear(request.getfixturevalue(name)))


@pytest.fixture(scope="session")
def control_template(cluster: Cluster) -> Iterator[str]:
    with fresh_database(cluster) as name:
        migrate(cluster.dsn(name))
        yield name


@pytest.fixture
def control_dsn(cluster: Cluster, control_template: str) -> Iterator[str]:
    with fresh_database(cluster, control_template) as name:
        yield cluster.dsn(name)


@pytest.fixture
async def house(control_dsn: str, tenant_cluster: Cluster) -> AsyncIterator[House]:
    """The service without its doors: real control database, real tenant server, a clock that can be put forward."""
    async with open_house(control_dsn, tenant_cluster) as opened:
        yield opened


@pytest.fixture
def home(runtime: PostgresRuntime, folder: Path) -> Iterator[Path]:
    home = folder / "pools"
    yield home
    blocking(ProcessProvisioner(runtime, home).stop_all())


@pytest.fixture
async def yard(control_dsn: str, tenant_cluster: Cluster, runtime: PostgresRuntime, home: Path) -> AsyncIterator[Yard]:
    async with open_yard(control_dsn, tenant_cluster, runtime, home) as opened:
        yield opened


@pytest.fixture
def valkey() -> Iterator[Broker]:
    with running_broker() as running:
        yield running


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    with running_rabbitmq() as running:
        yield running


@pytest.fixture
def rabbit(rabbitmq: RabbitMQ) -> RabbitMQ:
    rabbitmq.mend()
    return rabbitmq


@pytest.fixture(scope="session")
def swarm_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    if reason := why_not():
        without(reason)
    with running_lab() as lab:
        request.session.stash[LAB] = lab
        yield lab


@pytest.fixture
def healthy_swarm(swarm_lab: Lab, record_property: Callable[[str, object], None]) -> Iterator[Lab]:
    swarm_lab.heal_all()
    record_property("swarm_lab", ", ".join(f"{what} {seconds:.1f} s" for what, seconds in swarm_lab.took.items()))
    yield swarm_lab
    swarm_lab.heal_all()
    swarm_lab.clear()


@pytest.fixture
def storage(healthy_swarm: Lab) -> Path:
    from support.swarm_servers import shared_storage

    return shared_storage(healthy_swarm)


@pytest.fixture(scope="session")
def postgres_image(swarm_lab: Lab) -> str:
    swarm_lab.build(ROOT / "infrastructure/images/postgres", POSTGRES, BASE=POSTGRES_BASE)
    return POSTGRES


@pytest.fixture(scope="session")
def registry(swarm_lab: Lab) -> str:
    if not_installed(["docker-registry"]):
        without("no image registry: not installed: docker-registry")
    return swarm_lab.registry()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Numbers without which the suite says little: how often the service was killed and came back whole, and how fast."""
    told: dict[str, list[str]] = {}
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            told.setdefault(name, []).append(str(value))
    if deaths := told.get("crash_points"):
        terminalreporter.section("crash points")
        for points in deaths:
            terminalreporter.line(f"{points}, whole each time")
        terminalreporter.line(
            f"in all: {sum(int(points.split('killed at ')[1].split()[0]) for points in deaths)} deaths"
        )
    for name, title in (
        ("recovery", "recovery"),
        ("moves", "moves"),
        ("authorisation", "authorisation"),
        ("accessibility", "accessibility: what is not serious"),
        ("swarm_lab", "swarm lab: what was made, in how long"),
    ):
        if lines := told.get(name):
            terminalreporter.section(title)
            for line in [max(lines, key=len)] if name == "swarm_lab" else lines:
                terminalreporter.line(line)
