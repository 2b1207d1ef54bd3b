"""A workload that tells what it was given, so that tests can ask it. It needs Python and nothing else."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

from instance_service.domain.ids import InstanceId
from instance_service.domain.secret import Secret
from instance_service.domain.workloads import Address, Login, Seen, WorkloadSpec
from instance_service.workloads.base import Workloads
from support.secrets import KNOWN

PROGRAM = """
import http.server, json, os, signal, subprocess, sys, time
env, began = os.environ, time.monotonic()
if "ENDS" in env:
    print("my login is", open(env["DATABASE_URL_FILE"]).read().strip())
    sys.exit(int(env["ENDS"]))
if "DEAF" in env:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if "CHILD" in env:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        slow = time.monotonic() - began < float(env.get("SLOW", 0))
        well = self.path == "/healthz" and "ILL" not in env and not slow
        files = {name: open(env[name]).read() for name in ("DATABASE_URL_FILE", "PGPASSFILE")}
        modes = {name: os.stat(env[name]).st_mode & 0o777 for name in files}
        told = dict(
            env=dict(env), files=files, modes=modes, uid=os.getuid(), pid=os.getpid(), cwd=os.getcwd(),
            born=os.stat("/proc/self").st_ctime_ns, arguments=open("/proc/self/cmdline").read(),
        )
        self.send_response(200 if well or self.path == "/" else 500)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())
    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer((env["HOST"], int(env["PORT"])), Door).serve_forever()
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """One way to run workloads, and how a test asks what it runs."""

    workloads: Workloads
    python: str
    image: str | None
    fetch: Callable[[Address], str]
    """What its page says."""

    def spec(self, instance_id: InstanceId | None = None, **changes: Any) -> WorkloadSpec:
        chosen = instance_id or InstanceId(uuid4())
        spec = WorkloadSpec(chosen, "shop", login_of("u_1"), self.image, (self.python, "-c", PROGRAM))
        return replace(spec, **changes)

    def told(self, seen: Seen) -> dict[str, Any]:
        """What the workload says of itself."""
        assert seen.address, seen
        told: dict[str, Any] = json.loads(self.fetch(seen.address))
        return told


def login_of(user: str, host: str = "db.example", port: int = 5432) -> Login:
    """With a password of its own; a test that prints it fails."""
    password = f"pw-{user}-{UUID(int=hash(user) % 2**128).hex}"
    KNOWN.remember(password)
    return Login(Address(host, port), "db_shop", user, Secret(password))
