"""The page that goes from an empty Swarm to a database in use, done as it is printed, on a Swarm of the lab's. Before it takes the
stack away, an instance goes on it where nobody has to help: from a fleet without room to another login and another server."""

from collections.abc import Callable
from pathlib import Path

import pytest

from support import pages
from support.checkout import checked_out, terminal_at
from support.machines import until
from support.pages import DOCS, Shell, follow, steps_of
from support.stack_user import StackUser, stack_user
from support.swarm_lab import Lab

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]

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
    healthy_swarm: Lab, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(pages, "PATIENCE_S", STEP_S)
    steps = steps_of(PAGE.read_text())
    last = next(number for number, step in enumerate(steps) if "stack-rm" in step.command)
    with checked_out() as folder, Shell(folder, 8005, terminal_at(healthy_swarm.manager, folder)) as terminal:
        follow(PAGE, terminal, steps[:last])
        record_property("moves", _an_instance_needs_nobody(healthy_swarm, folder / ".secrets" / "dbs"))
        follow(PAGE, terminal, steps[last:])
        assert not list((folder / ".secrets").iterdir())
    until(lambda: not left_on(healthy_swarm), GONE_S, "something is left behind")


def _an_instance_needs_nobody(lab: Lab, secrets: Path) -> str:
    """No pool has room; then its login changes; then its database goes to another pool."""
    with stack_user(lab.manager.address, secrets) as user:
        pools = user.pools()
        for pool in pools:
            user.operate(f"/admin/pools/{pool['id']}/cordon")
        instance = user.create("roomy")
        ran = user.until_running(instance)
        assert len(user.pools()) == len(pools) + 1, "just the one that was needed"
        assert user.trace(instance) == ["pending", "waiting_for_database", "starting", "running"]
        rotated = _rotated(user, instance, ran["database"])
        moved = _moved(user, instance, pools[0]["id"], rotated)
        assert (moved["db_host"], moved["db_user"]) != (ran["database"]["db_host"], ran["database"]["db_user"])
        trace = user.trace(instance)
        user.delete(instance)
        for ordered in {pool["id"] for pool in user.pools()} - {pool["id"] for pool in pools}:
            user.operate(f"/admin/pools/{ordered}/retire")
        until(lambda: len(user.pools()) == len(pools), GONE_S, "the pool that was ordered stays")
    return f"an instance on the Swarm: {' → '.join(trace)}"


def _rotated(user: StackUser, instance: str, before: object) -> object:
    user.ask(instance, "rotate-credentials")
    return user.until_running(instance, unlike=before)["database"]


def _moved(user: StackUser, instance: str, pool: str, before: object) -> dict[str, object]:
    user.operate(f"/admin/pools/{pool}/uncordon")
    operation = user.done(user.operate(f"/admin/databases/{instance}/move", pool_id=pool))
    assert operation["state"] == "succeeded", operation
    found: dict[str, object] = user.until_running(instance, unlike=before)["database"]
    return found
