"""The page that goes from an empty Swarm to a database in use, done as it is printed, on a Swarm of the lab's."""

import pytest

from support import pages
from support.checkout import checked_out, terminal_at
from support.machines import until
from support.pages import DOCS, Shell, follow
from support.swarm_lab import Lab

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

PAGE = DOCS / "howto" / "deploy-on-swarm.md"
STEP_S = 400
"""The image is built in one step: 40 s on a quiet machine."""
KINDS = ("service", "secret", "config", "volume")
GONE_S = 60


def left_on(lab: Lab) -> list[str]:
    docker = lab.manager.docker
    things = [thing for kind in KINDS for thing in docker(kind, "ls", "--quiet").split()]
    return things + docker("network", "ls", "--quiet", "--filter", "label=com.docker.stack.namespace").split()


def test_the_page_leads_from_an_empty_swarm_to_a_database_and_back(
    healthy_swarm: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PATIENCE_S", STEP_S)
    with checked_out() as folder, Shell(folder, 8005, terminal_at(healthy_swarm.manager, folder)) as terminal:
        follow(PAGE, terminal)
        assert not list((folder / ".secrets").iterdir())
    until(lambda: not left_on(healthy_swarm), GONE_S, "something is left behind")
