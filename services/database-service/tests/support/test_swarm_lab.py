"""The Swarm lab does to its machines what it says, and leaves this one as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import needs, swarm_lab
from support.lab_images import BASE
from support.machines import Machine, Refused, marked, run, until
from support.swarm_lab import Lab, cgroups_of, clear_leftovers, running_lab

SOON_S = 30
SERVICE = ("service", "create", "--detach", "--quiet", "--restart-delay", "100ms", "--stop-signal", "SIGKILL")
IDLE = (BASE, "sleep", "infinity")
WORKERS = ("--constraint", "node.role==worker")
SAYS_WHERE = """
use IO::Socket::INET;
$door = IO::Socket::INET->new(Listen => 5, LocalPort => 7000) or die;
while ($visitor = $door->accept) { print $visitor $ENV{HOSTNAME}; close $visitor }
"""
OPENS_A_LAB = """
from support.swarm_lab import running_lab
with running_lab() as lab:
    print(lab.ground.name, lab.ground.link, flush=True)
    input()
"""


# -- what can be done with it ------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_tasks_on_two_machines_find_each_other_by_name_and_talk(healthy_swarm: Lab) -> None:
    lab, machines = healthy_swarm, healthy_swarm.workers(2)
    lab.manager.docker("network", "create", "--driver", "overlay", "talk")
    lab.manager.docker(
        *SERVICE, "--name", "where", "--network", "talk", "--endpoint-mode", "dnsrr", "--hostname", "{{.Node.Hostname}}",
        "--replicas", "2", "--replicas-max-per-node", "1", *WORKERS, BASE, "perl", "-e", SAYS_WHERE,
    )  # fmt: skip
    lab.until_at("where", *machines)
    for machine in machines:
        found = asked_in(machine, "getent ahostsv4 where | cut -d' ' -f1 | sort -u").split()
        told = {asked_in(machine, f"exec 3<>/dev/tcp/{address}/7000; cat <&3") for address in found}
        assert told == {"worker1", "worker2"}


def asked_in(machine: Machine, script: str) -> str:
    (container,) = machine.containers("where")
    return machine.docker("exec", container, "bash", "-c", script)


@pytest.mark.docker
def test_what_ran_on_a_machine_that_is_lost_comes_up_on_the_other(healthy_swarm: Lab) -> None:
    lab, (first, second) = healthy_swarm, healthy_swarm.workers(2)
    lab.manager.docker(*SERVICE, "--name", "moves", *WORKERS, *IDLE)
    until(lambda: lab.places("moves"), SOON_S, "it does not run")
    (place,) = lab.places("moves")
    place.lose()
    assert not place.answers
    lab.until_at("moves", second if place is first else first)
    assert lab.state_of(place) == "down"
    lab.heal_all()
    assert [lab.state_of(machine) for machine in lab.machines] == ["ready"] * len(lab.machines)
    assert place.containers("moves") == []


@pytest.mark.docker
def test_what_is_on_a_machine_that_is_cut_off_lives_on_until_it_is_healed(healthy_swarm: Lab) -> None:
    lab, (first, second) = healthy_swarm, healthy_swarm.workers(2)
    lab.manager.docker(*SERVICE, "--name", "doubles", *WORKERS, *IDLE)
    until(lambda: lab.places("doubles"), SOON_S, "it does not run")
    (place,) = lab.places("doubles")
    place.cut()
    lab.until_at("doubles", second if place is first else first)
    assert lab.state_of(place) == "down"
    assert len(place.containers("doubles")) == 1, "there are two now: Swarm does not fence"
    place.heal()
    until(lambda: not place.containers("doubles"), SOON_S, "the one that was cut off stays")
    until(lambda: lab.state_of(place) == "ready", SOON_S, "its machine does not come back")


@pytest.mark.docker
def test_containers_live_on_when_their_engine_alone_is_killed(healthy_swarm: Lab) -> None:
    (machine,) = healthy_swarm.workers(1)
    container = machine.docker("run", "--detach", "--stop-signal", "SIGKILL", *IDLE)
    pid = machine.docker("inspect", "--format", "{{.State.Pid}}", container)
    machine.kill_dockerd()
    assert not machine.answers
    assert machine.run("cat", f"/proc/{pid}/comm") == "sleep"
    machine.restart_dockerd()
    assert container in machine.docker("ps", "--all", "--quiet", "--no-trunc")


@pytest.mark.docker
def test_nothing_of_one_test_is_there_in_the_next(healthy_swarm: Lab) -> None:
    lab, (machine,) = healthy_swarm, healthy_swarm.workers(1)
    lab.manager.docker("network", "create", "--driver", "overlay", "left")
    mount = ("--mount", "type=volume,source=left,target=/left")
    lab.manager.docker(*SERVICE, "--name", "left", "--network", "left", *mount, *WORKERS, *IDLE)
    until(lambda: lab.places("left"), SOON_S, "it does not run")
    machine.docker("run", "--detach", "--name", "left", *IDLE)
    lab.clear()
    for node in lab.machines:
        told = [node.docker(kind, "ls") for kind in ("container", "volume", "network")]
        assert "left" not in "".join([*told, lab.manager.docker("service", "ls")])


@pytest.mark.docker
def test_a_pushed_image_can_be_pulled_by_another_machine(healthy_swarm: Lab, registry: str) -> None:
    (machine,) = healthy_swarm.workers(1)
    name = f"{registry}/base:pushed"
    healthy_swarm.manager.docker("tag", BASE, name)
    healthy_swarm.manager.docker("push", "--quiet", name)
    machine.docker("pull", "--quiet", name)
    assert "@sha256:" in machine.docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", name)


@pytest.mark.docker
def test_every_machine_has_the_same_postgres_image(healthy_swarm: Lab, postgres_image: str) -> None:
    asked = ("image", "inspect", "--format", "{{.Id}}", postgres_image)
    healthy_swarm.workers(2)
    assert len({machine.docker(*asked) for machine in healthy_swarm.machines}) == 1


# -- what is left of it ------------------------------------------------------------------------------------------------


@pytest.mark.docker
def test_a_lab_beside_another_leaves_nothing_behind(swarm_lab: Lab) -> None:
    with running_lab() as lab:
        lab.workers(1)
        folder, link, namespaces = lab.folder, lab.ground.link, namespaces_of(lab)
        assert link != swarm_lab.ground.link
        lab.manager.docker("run", "--detach", *IDLE)
        assert cgroups_of(folder.name)
    assert remains(folder, link) == []
    assert not namespaces & namespaces_here()


@pytest.mark.docker
def test_a_lab_whose_process_is_killed_takes_all_along_but_what_the_next_one_clears(swarm_lab: Lab) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OPENS_A_LAB], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    ) as opener:  # fmt: skip
        assert opener.stdout
        name, link = opener.stdout.readline().split()
        opener.kill()
    until(lambda: not marked(name) and not is_link(link), SOON_S, "it lives on")
    clear_leftovers(swarm_lab.folder.parent)
    assert remains(swarm_lab.folder.with_name(name), link) == []
    assert swarm_lab.manager.answers, "one that lives was cleared"


def remains(folder: Path, link: str) -> list[object]:
    """What is there of a lab."""
    links = [link] if is_link(link) else []
    folders = [folder] if folder.exists() else []
    return [*links, *folders, *marked(folder.name), *cgroups_of(folder.name)]


def is_link(name: str) -> bool:
    return name in run("ip", "-oneline", "link", "show").replace("@", " ").split()


def namespaces_of(lab: Lab) -> set[str]:
    """Those that the processes of a lab are in, and this one is not."""
    theirs = {space for pid in marked(lab.ground.name) for space in spaces_of(str(pid))}
    return theirs - spaces_of("self")


def namespaces_here() -> set[str]:
    return {space for process in Path("/proc").glob("[0-9]*") for space in spaces_of(process.name)}


def spaces_of(pid: str) -> set[str]:
    try:
        return {str(space.readlink()) for space in (Path("/proc") / pid / "ns").iterdir()}
    except OSError:
        return set()  # it ended


# -- where there can be none -------------------------------------------------------------------------------------------


def test_a_machine_without_the_programs_has_no_lab_and_is_told_which_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(swarm_lab.why_not()).startswith("no Swarm lab: not installed: docker, dockerd, ")


def test_an_account_that_is_not_root_has_no_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert swarm_lab.why_not() == "no Swarm lab: only root can make its machines"


def test_a_kernel_that_refuses_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*command: str) -> str:
        raise Refused("unshare: first line\nunshare failed: Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(swarm_lab, "not_installed", lambda programs: [])
    monkeypatch.setattr(swarm_lab, "run", refuse)
    told = str(swarm_lab.why_not())
    assert told.endswith("Operation not permitted")
    assert "\n" not in told


def test_what_is_missing_skips_a_test_and_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needs.INSIST, raising=False)
    with pytest.raises(pytest.skip.Exception, match="no lab"):
        needs.without("no lab")
    monkeypatch.setenv(needs.INSIST, "1")
    with pytest.raises(pytest.fail.Exception, match="may not be skipped"):
        needs.without("no lab")
