"""The stack for several nodes, on a Swarm of the lab's: its storage is a folder that all machines share, as CephFS would be.

There is no Traefik: whoever asks is on the network and goes by the API's name.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import stack_images
from support.checkout import checked_out, terminal_at
from support.machines import Machine, until
from support.swarm_lab import Lab

pytestmark = [pytest.mark.docker, pytest.mark.timeout(900)]

WORKER = 10001
UP_S = 240
ASKING_S = 75
"""An update of two APIs takes 30 s."""
ASK = """
import json, sys, time, urllib.request

def ask(path, body=None):
    headers = {"Authorization": "Bearer " + open("/run/token").read().strip(), "Content-Type": "application/json"}
    headers["Prefer"] = "wait=30"
    data = json.dumps(body).encode() if body else None
    return urllib.request.urlopen(
        urllib.request.Request("http://database-service:8005/api/database" + path, data, headers), timeout=40
    )
"""
ALLOCATE = """
while (answer := ask("/allocate", {"instance_id": "i", "customer_id": "c", "plan_tier": "starter"})).status != 200:
    time.sleep(2)
print(json.load(answer)["db_server_id"])
"""
KEEP_ASKING = f"""
told = dict(answered=0, failed=[])
end = time.monotonic() + {ASKING_S}
print("begun", flush=True)
while time.monotonic() < end:
    try:
        told["answered"] += ask("/databases/i").status == 200
    except OSError as e:
        told["failed"].append(str(e))
    time.sleep(0.05)
print(json.dumps(told))
"""


@dataclass(frozen=True, slots=True)
class Deployed:
    """A stack on the lab. `storage` is what would be CephFS."""

    folder: Path
    storage: Path
    manager: Machine
    terminal: dict[str, str]

    def make(self, *words: str, **more: str) -> None:
        done = subprocess.run(
            ["make", "-s", *words],
            cwd=self.folder,
            env=self.terminal | more,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def deploy(self, tag: str) -> None:
        self.make("stack-deploy", "STACK=ceph", f"ENV={self.folder / 'swarm.env'}", TAG=tag)

    def until_up(self) -> None:
        """Return when all tasks run; it may take a while until PostgreSQL is made and health was looked at."""
        until(lambda: "2/2" in self._api() and "1/1" in self._replicas("dbs_worker"), UP_S, "the stack is not up")

    def _api(self) -> str:
        return self._replicas("dbs_api")

    def _replicas(self, service: str) -> str:
        return self.manager.docker("service", "ls", "--filter", f"name={service}", "--format", "{{.Replicas}}")

    def asking(self, program: str) -> "subprocess.Popen[str]":
        """Somebody on the tenants' network who has a token."""
        token = f"{self.folder / '.secrets/dbs/admin_token'}:/run/token:ro"
        client = [
            "docker",
            "run",
            "--rm",
            "--network",
            "dbs-tenants",
            "--user",
            "0",
            "-v",
            token,
            "--entrypoint",
            "python",
        ]
        return subprocess.Popen(
            [*client, "database-service:1", "-c", ASK + program], env=self.terminal, stdout=subprocess.PIPE, text=True
        )


@pytest.fixture
def stack(healthy_swarm: Lab) -> Iterator[Deployed]:
    manager, storage = healthy_swarm.manager, healthy_swarm.folder / "storage"
    for name in ("postgres_pools", "postgres_dedicated", "postgres_platform"):
        (storage / name).mkdir(parents=True)
        os.chown(storage / name, WORKER, WORKER)
    with checked_out() as folder:
        (folder / "swarm.env").write_text(
            f"CEPH_ROOT={storage}\nBASE_DOMAIN=example.com\nWORKER_REPLICAS=1\n"
            "DB_POOL_MEMORY_LIMIT=512M\nDB_POOL_CPU_LIMIT=1\nDB_POOL_MAX_INSTANCES=10\n"
        )
        stack = Deployed(folder, storage, manager, terminal_at(manager, folder))
        stack.make("images", "TAG=1")
        ours = ("database-service", "instance-service")
        for name in ours:
            manager.docker("tag", f"{name}:1", f"{name}:2")
        healthy_swarm.workers(1)
        both = [f"{name}:{tag}" for name in ours for tag in (1, 2)]
        healthy_swarm.share(*both, "dbs-postgres:18", stack_images.BASE)
        manager.docker("network", "create", "--driver", "overlay", "traefik")
        stack.deploy("1")
        stack.until_up()
        yield stack


def test_a_pool_lies_on_the_shared_storage_and_an_update_leaves_no_request_without_an_answer(stack: Deployed) -> None:
    with stack.asking(ALLOCATE) as caller:
        server, _ = caller.communicate(timeout=UP_S)
    assert (stack.storage / "postgres_pools" / server.strip() / "pgdata" / "PG_VERSION").exists()

    with stack.asking(KEEP_ASKING) as caller:
        assert caller.stdout
        assert caller.stdout.readline() == "begun\n"
        stack.deploy("2")
        told = json.loads(caller.communicate(timeout=2 * ASKING_S)[0])
    stack.until_up()
    runs = stack.manager.docker(
        "service", "ps", "--filter", "desired-state=running", "--format", "{{.Image}}", "dbs_api"
    )
    assert runs.split() == ["database-service:2"] * 2
    assert told["failed"] == []
    assert told["answered"] > ASKING_S
