"""How-to pages, runbooks, the README and the tutorial of the client, each done as it is printed beside one running system."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from database_service.provisioners.runtime import PostgresRuntime
from e2e.conftest import Stack
from support.cluster import Cluster, running_cluster
from support.pages import DOCS, REPOSITORY, Shell, Step, follow, steps_of

pytestmark = pytest.mark.stack


def steps(page: Path) -> list[Step]:
    """What is done beside the system; `make` starts or tests another one."""
    return [step for step in steps_of(page.read_text()) if not step.command.startswith("make ")]


WRITTEN = [
    *(DOCS / "howto").glob("*.md"),
    *(DOCS / "runbooks").glob("*.md"),
    DOCS / "tutorial" / "use-from-python.md",
    REPOSITORY / "README.md",
]
ON_A_SWARM = DOCS / "howto" / "deploy-on-swarm.md"
"""Done by test_deploy_on_swarm."""
WITH_INSTANCES = DOCS / "howto" / "run-instances.md"
"""Done by instance-service's tests."""
LOST = DOCS / "runbooks" / "control-database-lost.md"
"""Done by test_control_database_lost: it stops the system, and has another one."""
PAGES = sorted(page for page in WRITTEN if page not in (ON_A_SWARM, WITH_INSTANCES, LOST) and steps(page))


@pytest.fixture
def given(page: Path, system: Stack, at_home: dict[str, str], runtime: PostgresRuntime) -> Iterator[dict[str, str]]:
    """What pages ask their reader to fill in, in their `text` blocks."""
    with ExitStack() as opened:
        servers = opened.enter_context(running_cluster()) if "$DB_HOST" in page.read_text() else None
        yield (
            at_home | {"POSTGRES_BIN_DIR": str(runtime.bin_dir)} | (_of_the_reader(servers, system) if servers else {})
        )


def _of_the_reader(server: Cluster, system: Stack) -> dict[str, str]:
    """A server that its owner runs already, untouched by any other page: adoption changes it for good."""
    (system.data.parent / "admin.password").write_text(server.password.reveal())
    return {"DB_HOST": server.host, "DB_PORT": str(server.port), "DB_ADMIN": server.superuser}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, system: Stack, given: dict[str, str]) -> None:
    with Shell(system.data.parent, system.port, given) as terminal:
        follow(page, terminal, steps(page))
