"""The manual's pages about instances say what is, and do what they say."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import READY, running
from instance_service.api.app import routes
from instance_service.api.openapi import document
from instance_service.cli import reference
from instance_service.domain.instances import TRANSITIONS, Status
from instance_support.system import running_beside
from support.cluster import free_port
from support.folders import open_folder
from support.pages import DOCS, REPOSITORY, Shell, follow


def test_the_reference_is_what_the_code_says() -> None:
    """Changed on purpose? `make reference`."""
    assert (REPOSITORY / reference.PAGE).read_text() == reference.page()


def test_every_state_has_a_meaning() -> None:
    assert set(reference.MEANINGS) == set(TRANSITIONS) == set(Status)


def test_the_contract_in_the_tree_is_the_one_that_is_served() -> None:
    """Changed on purpose? `make openapi`."""
    import json

    written = json.loads((DOCS / "reference" / "instance-service-openapi.json").read_text())
    assert written == document(routes())


@pytest.fixture(scope="module")
def terminal() -> Iterator[Shell]:
    """One in the folder of a repository whose system runs with instances."""
    with open_folder() as folder, running(folder / ".data", free_port(), folder) as stack:
        stack.until(READY)
        (folder / "instances").mkdir(mode=0o755)
        broker = next(stack.data.glob("**/broker-url")).read_text().strip() + "?virtual_host=1"
        token = (stack.data / "admin.token").read_text().strip()
        with running_beside(stack.url, token, broker, folder / "instances") as system:
            system.until_ready()
            environment = {
                "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(folder),
                "DATABASE_SERVICE_URL": stack.url,
                "INSTANCES_URL": f"http://127.0.0.1:{system.port}",
                "INSTANCES_TOKEN_FILE": str(folder / "instances" / "token"),
            }
            with Shell(folder, stack.port, environment) as shell:
                yield shell


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_running_instances_goes_as_the_page_says(terminal: Shell) -> None:
    follow(DOCS / "howto" / "run-instances.md", terminal)
