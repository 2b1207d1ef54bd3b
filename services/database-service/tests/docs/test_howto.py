"""How-to pages, runbooks and the README, each done as it is printed beside one running system."""

from pathlib import Path

import pytest

from database_service.provisioners.runtime import PostgresRuntime
from e2e.conftest import Stack
from support.cluster import Cluster
from support.pages import DOCS, REPOSITORY, Shell, Step, follow, steps_of

pytestmark = pytest.mark.stack


def steps(page: Path) -> list[Step]:
    """What is done beside the system; `make` starts or tests another one."""
    return [step for step in steps_of(page.read_text()) if not step.command.startswith("make ")]


WRITTEN = [*(DOCS / "howto").glob("*.md"), *(DOCS / "runbooks").glob("*.md"), REPOSITORY / "README.md"]
PAGES = sorted(page for page in WRITTEN if steps(page))


@pytest.fixture
def given(system: Stack, at_home: dict[str, str], tenant_cluster: Cluster, runtime: PostgresRuntime) -> dict[str, str]:
    """What pages ask their reader to fill in, in their `text` blocks."""
    password = system.data.parent / "admin.password"
    password.write_text(tenant_cluster.password.reveal())
    return at_home | {
        "DB_HOST": tenant_cluster.host,
        "DB_PORT": str(tenant_cluster.port),
        "DB_ADMIN": tenant_cluster.superuser,
        "POSTGRES_BIN_DIR": str(runtime.bin_dir),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_does_what_it_says(page: Path, system: Stack, given: dict[str, str]) -> None:
    with Shell(system.data.parent, system.port, given) as terminal:
        follow(page, terminal, steps(page))
