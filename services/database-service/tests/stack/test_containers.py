"""What runs in containers: as whom, with which powers, and what it may write. Of the stack's own files, see test_files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from database_service.domain.ids import ServerId
from database_service.provisioners.swarm import description as servers
from database_service.provisioners.swarm.options import Options
from instance_service.domain.ids import InstanceId
from instance_service.domain.secret import Secret
from instance_service.domain.workloads import Address, Login, WorkloadSpec
from instance_service.workloads import description as workloads
from support.pages import REPOSITORY
from support.swarm_servers import swarm_spec

DOCKERFILES = sorted((REPOSITORY / "infrastructure" / "images").glob("*/Dockerfile"))
BECOMES_ANOTHER = "postgres"
"""Its entrypoint, as root, gives the data to PostgreSQL's account and becomes it: see ENTRYPOINT_MAY."""
ENTRYPOINT_MAY = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID"}
SHELL = [
    *(REPOSITORY / ".ci").iterdir(),
    *(path for path in (REPOSITORY / "infrastructure").rglob("*") if path.is_file()),
    REPOSITORY / "Makefile",
    REPOSITORY / "requirements" / "compile",
    REPOSITORY / "requirements" / "wheels",
]
FETCHED_AND_RUN = re.compile(r"\b(curl|wget)\b[^\n]*\|\s*(sudo\s+)?(ba|da|z)?sh\b|\bsh\s+-c\s+\"?\$\((curl|wget)")


def server(shared: bool) -> dict[str, Any]:
    stand = servers.Stand("n", {}, Path("/mnt/pools/p") if shared else "p-data", None, None)
    return servers.service_of(swarm_spec("postgres"), Options(pools_dir=Path("/mnt/pools") if shared else None), stand)


def eraser() -> dict[str, Any]:
    return servers.eraser_of(ServerId(UUID(int=1)), Options(), Path("/mnt/pools/p"), "postgres")


def workload() -> dict[str, Any]:
    login = Login(Address("h", 5432), "d", "u", Secret("p"))
    spec = WorkloadSpec(InstanceId(UUID(int=1)), "shop", login, "todo", ())
    return workloads.service_of(spec, workloads.Options("dbs", "net", "todo"), "n", [])


def container(service: Mapping[str, Any]) -> Mapping[str, Any]:
    told: Mapping[str, Any] = service["TaskTemplate"]["ContainerSpec"]
    return told


MADE = {
    "a server on shared storage": server(True), "a server in a volume": server(False),
    "a stopped server": servers.stopped(server(True)), "a server that is erased": servers.erasing(server(True)),
    "an eraser": eraser(), "a workload": workload(),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_what_we_start_in_a_swarm_writes_to_its_mounts_alone_and_has_no_power_it_does_not_need(name: str) -> None:
    told = container(MADE[name])
    assert told["ReadOnly"] is True
    assert told["CapabilityDrop"] == ["ALL"]
    assert set(told.get("CapabilityAdd", ())) == (set() if name == "a workload" else ENTRYPOINT_MAY)
    assert "Privileges" not in told, "nothing is loosened"
    for mount in told["Mounts"]:
        assert mount["Type"] == "tmpfs" or mount["Target"] == servers.MOUNTED_AT, mount
    assert not [mount for mount in told["Mounts"] if "docker.sock" in str(mount.get("Source"))]


def test_a_workload_is_not_root() -> None:
    uid, _, gid = container(MADE["a workload"])["User"].partition(":")
    assert int(uid) >= 10_000
    assert int(gid) >= 10_000


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.parent.name)
def test_an_image_ends_as_an_account_that_is_a_number_and_not_root(dockerfile: Path) -> None:
    last = dockerfile.read_text().rpartition("\nFROM ")[2]
    users = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    if dockerfile.parent.name == BECOMES_ANOTHER:
        entrypoint = (dockerfile.parent / "dbs-postgres").read_text()
        assert users == []
        assert all(f"{become} postgres" in entrypoint for become in ("gosu", "su-exec", "setpriv --reuid"))
        return
    given = dict(re.findall(r"^ARG (\w+)=(\S+)$", last, re.MULTILINE))
    [user] = [re.sub(r"\$\{(\w+)\}", lambda name: given[name[1]], user) for user in users]
    assert all(int(number) >= 10_000 for number in user.split(":")), user


@pytest.mark.parametrize("path", SHELL, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_nothing_is_fetched_and_run_unseen(path: Path) -> None:
    assert not FETCHED_AND_RUN.search(path.read_text())


@pytest.mark.parametrize("line", ["curl -fsSL https://x | sh", "wget -qO- x | sudo bash", 'sh -c "$(curl -fsSL x)"'])
def test_what_would_be_fetched_and_run_is_recognised(line: str) -> None:
    assert FETCHED_AND_RUN.search(line)
