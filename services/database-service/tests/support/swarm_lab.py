"""SwarmLab: a Docker Swarm of several machines on this one (see support.machines), which leaves this machine's own engine alone.

Every node is a machine that can be lost, cut off, or left without its engine, and mended again. Nothing outlives the process
that opened the lab; the folders of one that was killed are removed by the next.
"""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from support import lab_images
from support.folders import open_folder
from support.machines import END_S, Ground, Machine, Refused, marked, run, until
from support.needs import not_installed

PROGRAMS = (
    "docker", "dockerd", "docker-init", "containerd", "runc", "iptables", "ip", "unshare", "nsenter", "setpriv", "debootstrap",
)  # fmt: skip
PREFIX = "dbs-swarm-"
LOCK = "lock"
CGROUPS = Path("/sys/fs/cgroup")
TRIAL = (
    "ip link add trial1 type bridge && ip link add trial2 type veth && ip link add trial3 type vxlan id 1 dstport 4789"
)
READY_S = 60
NODE = '{{.Status.State}} {{.Spec.Availability}} {{index .Spec.Labels "role"}}'
REGISTRY_PORT = 5000
KINDS = {
    "container": (("--all", "--quiet"), ("--force",)),
    "volume": (("--quiet",), ("--force",)),
    # Not `prune`: right after an engine has come back it would wait half a minute for the Swarm's own networks.
    "network": (("--filter", "type=custom", "--format", "{{.Name}}"), ()),
}
"""How they are listed, and how they are removed; else quietly and as they are."""
OF_THE_SWARM = ("ingress", "docker_gwbridge")


def why_not() -> str | None:
    """Why there can be no lab on this machine, in one line; None when there can."""
    if os.geteuid() != 0:
        return "no Swarm lab: only root can make its machines"
    if missing := not_installed(PROGRAMS):
        return f"no Swarm lab: not installed: {', '.join(missing)}"
    try:
        run("unshare", "--net", "--pid", "--mount", "--uts", "--fork", "sh", "-ec", TRIAL)
    except Refused as refusal:
        return f"no Swarm lab: namespaces and their links are refused here: {str(refusal).splitlines()[-1]}"
    return None


@dataclass(slots=True)
class Lab:
    """One manager, and workers from when they are first asked for. All are labelled role=database.

    `folder` is on every machine, at the same place: what lies there is shared storage. `took` is what was made, and in how many
    seconds.
    """

    folder: Path
    ground: Ground
    manager: Machine = field(init=False)
    _workers: list[Machine] = field(default_factory=list, init=False)
    _shared: list[Path] = field(default_factory=list, init=False)
    _registry: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _ended: bool = field(default=False, init=False)
    took: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.manager = self._machine("manager", 10)

    # -- nodes --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """A Swarm of one node, which has the base images."""
        with self._timed("manager"):
            self.manager.start()
            self.manager.docker("swarm", "init", *self._reachable_at(self.manager))
            self.manager.docker("swarm", "update", "--dispatcher-heartbeat", "1s")
            self._settle(self.manager)
        with self._timed("base images"):
            self._shared.append(lab_images.bases(self.manager))
            self.manager.load(self._shared[0])

    def workers(self, number: int) -> list[Machine]:
        """So many, joined and ready, the same ones each time."""
        missing = range(len(self._workers) + 1, number + 1)
        new = [self._machine(f"worker{ordinal}", 10 + ordinal) for ordinal in missing]
        if new:
            with self._timed(" ".join(machine.name for machine in new)):
                self._add(new)
        return self._workers[:number]

    def _add(self, machines: list[Machine]) -> None:
        for machine in machines:
            machine.switch_on()
            self._workers.append(machine)
        for machine in machines:
            self._join(machine)

    @property
    def machines(self) -> list[Machine]:
        return [self.manager, *self._workers]

    def places(self, service: str) -> list[Machine]:
        """Where its tasks run now, as the manager knows it."""
        told = self.manager.docker(
            "service", "ps", "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}", service
        )
        nodes = [line.split()[0] for line in told.splitlines() if " Running" in line]
        return [machine for machine in self.machines if machine.name in nodes]

    def until_at(self, service: str, *machines: Machine, within_s: float = READY_S) -> None:
        """Return once its tasks run on these machines and no others."""
        names = sorted(machine.name for machine in machines)
        told = f"{service} does not run on {' and '.join(names)}"
        until(lambda: sorted(place.name for place in self.places(service)) == names, within_s, told)

    def state_of(self, machine: Machine) -> str:
        """`ready` or `down`, as the manager knows it."""
        return self._node(machine).split()[0]

    def _machine(self, name: str, host: int) -> Machine:
        return Machine(name, self.ground.address(host), self.folder / name, self.ground)

    def _join(self, machine: Machine) -> None:
        machine.until_up()
        token = self.manager.docker("swarm", "join-token", "--quiet", "worker")
        machine.docker("swarm", "join", "--token", token, *self._reachable_at(machine), f"{self.manager.address}:2377")
        for images in self._shared:
            machine.load(images)
        self._settle(machine)

    def _reachable_at(self, machine: Machine) -> list[str]:
        address = machine.address
        return ["--advertise-addr", address, "--listen-addr", f"{address}:2377", "--data-path-addr", address]

    # -- images -------------------------------------------------------------------------------------------------------

    def share(self, *images: str) -> None:
        """Give images that the manager has to every other node, also to those that come later."""
        packed = self.folder / f"images-{len(self._shared)}.tar"
        self.manager.docker("save", "--output", str(packed), *images)
        self._shared.append(packed)
        for machine in self._workers:
            machine.load(packed)

    def build(self, context: Path, tag: str, **arguments: str) -> None:
        """Build an image where the Dockerfile is and share it."""
        given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        with self._timed(tag):
            self.manager.docker("build", "--quiet", "--tag", tag, *given, str(context))
            self.share(tag)

    def registry(self) -> str:
        """`host:port` of a registry that every node trusts; it starts when it is first asked for."""
        address = self.ground.address(2)
        if self._registry is None:
            config = self.folder / "registry.yml"
            config.write_text(_registry_settings(self.folder / "registry", address))
            log = self.folder / "registry.log"
            self._registry = self.ground.capsule.start("docker-registry", "serve", str(config), log=log)
            until(lambda: takes_connections(address, REGISTRY_PORT), READY_S, "no registry", log)
        return f"{address}:{REGISTRY_PORT}"

    # -- between tests ------------------------------------------------------------------------------------------------

    def heal_all(self) -> None:
        """Every node runs, is connected, Ready, active and labelled, whatever a test did to it."""
        for machine in self.machines:
            machine.mend()
        for machine in self.machines:
            self._settle(machine)

    def clear(self) -> None:
        """Nothing of a test is left in the Swarm and on its nodes, but images."""
        for kind in ("service", "config", "secret"):
            _remove_all(self.manager, kind)
        for machine in self.machines:
            for kind in ("container", "volume", "network"):
                _remove_all(machine, kind)

    def _settle(self, machine: Machine) -> None:
        until(lambda: self._is_ready(machine), READY_S, f"{machine.name} is not Ready", machine.log)
        if self._node(machine) != "ready active database":
            self.manager.docker(
                "node", "update", "--availability", "active", "--label-add", "role=database", machine.name
            )

    def _is_ready(self, machine: Machine) -> bool:
        """As the manager and the machine itself see it: the manager may not have noticed yet that it was away."""
        itself = machine.docker("info", "--format", "{{.Swarm.LocalNodeState}}")
        return itself == "active" and self.state_of(machine) == "ready"

    def _node(self, machine: Machine) -> str:
        try:
            return self.manager.docker("node", "inspect", "--format", NODE, machine.name)
        except Refused:
            return "unknown"

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.took[what] = time.monotonic() - began

    def end(self) -> None:
        """All at once, as if the building had burnt down, with what machines kept. Ended already is success."""
        if self._ended:  # its addresses may be another lab's by now
            return
        self._ended = True
        self.ground.clear()
        for machine in self.machines:
            machine.lose()
        if self._registry:
            self._registry.wait(END_S)
        _wipe(self.folder.name)
        for kept in (path for path in self.folder.iterdir() if path.name != LOCK):
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()


@contextmanager
def running_lab() -> Iterator[Lab]:
    """A Swarm that answers; gone afterwards, whatever happened to it."""
    with open_folder(PREFIX) as folder, (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clear_leftovers(folder.parent)
        lab = Lab(folder, Ground.lay(folder.name))
        try:
            lab.begin()
            yield lab
        finally:
            lab.end()


def clear_leftovers(root: Path) -> None:
    """What labs left here whose process was killed: nobody holds their lock any more."""
    for folder in root.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _wipe(folder.name)
            shutil.rmtree(folder)


def cgroups_of(name: str) -> list[Path]:
    """In each hierarchy there is."""
    return [group for group in (CGROUPS / name, *CGROUPS.glob(f"*/{name}")) if group.is_dir()]


def _wipe(name: str) -> None:
    """No process and no cgroup of the lab of this name."""
    for pid in marked(name):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not marked(name), END_S, f"processes of {name} stay")
    until(lambda: not _cgroups_left(name), END_S, f"cgroups of {name} stay")


def _cgroups_left(name: str) -> list[Path]:
    """What cannot be removed yet: processes that were killed leave a cgroup some moments later."""
    for top in cgroups_of(name):
        for group, _, _ in os.walk(top, topdown=False):
            with suppress(OSError):
                Path(group).rmdir()
    return cgroups_of(name)


def _remove_all(machine: Machine, kind: str) -> None:
    """Until there is none: Docker refuses to remove what it is removing already, or what something still uses."""
    until(lambda: not _left_to_remove(machine, kind), END_S, f"{machine.name} keeps a {kind}", machine.log)


def _left_to_remove(machine: Machine, kind: str) -> list[str]:
    listed, removed = KINDS.get(kind, (("--quiet",), ()))
    found = [name for name in machine.docker(kind, "ls", *listed).split() if name not in OF_THE_SWARM]
    with suppress(Refused):
        if found:
            machine.docker(kind, "rm", *removed, *found)
    return found


def takes_connections(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


def _registry_settings(folder: Path, address: str) -> str:
    return json.dumps(
        {
            "version": "0.1",
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}},
            "http": {"addr": f"{address}:{REGISTRY_PORT}"},
        }
    )
