"""Machines of a test's own: namespaces of network, processes, mounts and host name, each around an init.

When the init is killed, all that ran inside is gone at once, as with a plug that is pulled. The `ground` holds the machines of
one lab and the bridge between them; its init dies with the process that laid it, so that nothing can outlive that one, and
this machine's own network gets a single link more, which goes with the ground.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

MARK = "DBS_SWARM_LAB"
"""In the environment of every process started here; its value is the name of the lab."""
INIT = "docker-init"
BEGIN = """
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
echo "$1" >/proc/sys/kernel/hostname
exec docker-init -s -- sleep infinity
"""
UNSHARE = ("unshare", "--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--propagation", "slave")
START_S = 30
END_S = 20
PAUSE_S = 0.02
BRIDGE = "machines"


class Refused(Exception):
    """A command of the lab failed; the text is the command and what it said."""


@dataclass(slots=True)
class Capsule:
    """Namespaces and their init; `init` is its process id as this machine counts."""

    init: int
    _process: "subprocess.Popen[bytes]"
    _mark: str

    @classmethod
    def open(cls, name: str, mark: str, inside: "Capsule | None" = None) -> "Capsule":
        """A new one, in another or in this machine; one in this machine ends with the thread that opened it."""
        way_in = inside.entering() if inside else ["setpriv", "--pdeathsig", "KILL"]
        process = _spawned([*way_in, *UNSHARE, "sh", "-ec", BEGIN, "sh", name], mark)
        until(lambda: _init_below(process.pid) or process.poll() is not None, START_S, f"{name} does not begin")
        init = _init_below(process.pid)
        if init is None:
            raise Refused(f"{name} ended at once: its namespaces are not allowed here")
        return cls(init, process, mark)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def entering(self) -> list[str]:
        """What makes a command run inside."""
        return ["nsenter", f"--target={self.init}", "--net", "--pid", "--mount", "--uts", "--"]

    def run(self, *command: str) -> str:
        return run(*self.entering(), *command)

    def start(self, *command: str, log: Path) -> "subprocess.Popen[bytes]":
        return _spawned([*self.entering(), *command], self._mark, log)

    def network(self, *arguments: str) -> str:
        """`ip` on its network, with process ids and files as outside."""
        return run("nsenter", f"--net=/proc/{self.init}/ns/net", "--", "ip", *arguments)

    def kill(self) -> None:
        """All in it, at once. Already dead is success."""
        if self.lives:
            with suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        self._process.wait(END_S)


@dataclass(frozen=True, slots=True)
class Ground:
    """What machines stand on. Addresses are `198.18.<number>.x`: a range kept for tests, which nobody routes."""

    name: str
    number: int
    capsule: Capsule

    @classmethod
    def lay(cls, name: str) -> "Ground":
        capsule = Capsule.open(name, name)
        try:
            return cls._on(capsule, name)
        except BaseException:
            capsule.kill()
            raise

    @classmethod
    def _on(cls, capsule: Capsule, name: str) -> "Ground":
        ground = cls(name, _link_into(capsule), capsule)
        run("ip", "address", "add", f"{ground.address(1)}/24", "dev", ground.link)
        run("ip", "link", "set", ground.link, "up")
        capsule.network("link", "add", BRIDGE, "type", "bridge")
        capsule.network("address", "add", f"{ground.address(2)}/24", "dev", BRIDGE)
        for link in ("lo", BRIDGE):
            capsule.network("link", "set", link, "up")
        ground.plug_in("outside")
        return ground

    @property
    def link(self) -> str:
        """The end of it in this machine's own network."""
        return _link(self.number)

    @property
    def subnet(self) -> str:
        return _subnet(self.number)

    def address(self, host: int) -> str:
        """1 is this machine, 2 is the ground itself."""
        return f"198.18.{self.number}.{host}"

    def plug_in(self, port: str) -> None:
        self.capsule.network("link", "set", port, "master", BRIDGE, "up")

    def pull_out(self, port: str) -> None:
        self.capsule.network("link", "set", port, "down")

    def unwire(self, port: str) -> None:
        """Take a dead machine's cable away: the kernel would, in its own time."""
        with suppress(Refused):
            self.capsule.network("link", "delete", port)

    def wire(self, machine: Capsule, port: str, address: str) -> None:
        """A cable from this port of the bridge to `eth0` of a machine."""
        self.capsule.network("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(machine.init))
        self.plug_in(port)
        machine.network("address", "add", f"{address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            machine.network("link", "set", link, "up")

    def clear(self) -> None:
        """Everything on it dies, and its link with it."""
        self.capsule.kill()
        with suppress(Refused):  # it went with the namespace, which the kernel clears in its own time
            run("ip", "link", "delete", self.link)


@dataclass(slots=True)
class Machine:
    """A computer with a Docker engine, which keeps what it has in `folder`: there after it was lost and started again."""

    name: str
    address: str
    folder: Path
    ground: Ground
    _capsule: Capsule | None = field(default=None, init=False)
    _engine: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    # -- use ----------------------------------------------------------------------------------------------------------

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def docker(self, *arguments: str, stdin: Path | None = None) -> str:
        """What Docker's own client prints. Refused says what it complained about."""
        environment = {"DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(self.folder / "client")}
        return run("docker", "--host", self.url, *arguments, stdin=stdin, **environment)

    def containers(self, service: str) -> list[str]:
        """Ids of those that run here for a service of the Swarm."""
        return self.docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={service}").split()

    def load(self, images: Path) -> None:
        """Images from a file that `docker save` wrote."""
        self.docker("load", "--quiet", "--input", str(images))

    def run(self, *command: str) -> str:
        """A command on the machine itself, as root, in its network and among its processes."""
        return self._inside().run(*command)

    def spawn(self, *command: str) -> "subprocess.Popen[bytes]":
        """The same, in the background; killed with the machine at the latest."""
        return self._inside().start(*command, log=Path(os.devnull))

    @property
    def runs(self) -> bool:
        return self._capsule is not None and self._capsule.lives

    @property
    def answers(self) -> bool:
        """Whether its Docker engine does."""
        try:
            self.docker("info", "--format", "{{.ID}}")
        except Refused:
            return False
        return True

    # -- trouble, and its end -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Switch it on, and wait for its engine."""
        self.switch_on()
        self.until_up()

    def switch_on(self) -> None:
        self._capsule = Capsule.open(self.name, self.ground.name, self.ground.capsule)
        self.ground.wire(self._capsule, self.name, self.address)
        self._start_engine()

    def until_up(self) -> None:
        until(lambda: self.answers, START_S, f"{self.name}: no Docker engine", self.log)

    def lose(self) -> None:
        """The whole machine, from one moment to the next: engine, containers and network. Lost already is success."""
        if self._capsule:
            self._capsule.kill()
            self.ground.unwire(self.name)
        self._reap()

    def kill_dockerd(self) -> None:
        """The engine alone; its containers live on."""
        assert self._engine, "it does not run"
        os.kill(_children(self._engine.pid)[0], signal.SIGKILL)
        self._reap()

    def restart_dockerd(self) -> None:
        """An engine again, which finds the containers that lived on."""
        self._start_engine()
        self.until_up()

    def cut(self) -> None:
        """Pull its network cable: everything on it lives on, and hears nobody."""
        self.ground.pull_out(self.name)

    def heal(self) -> None:
        """Put the cable back. Where it was not pulled nothing happens."""
        self.ground.plug_in(self.name)

    def mend(self) -> None:
        """Whatever was done to it: it runs, is connected and answers."""
        if not self.runs:
            return self.start()
        self.heal()
        return None if self._engine else self.restart_dockerd()

    # -- its engine ---------------------------------------------------------------------------------------------------

    @property
    def log(self) -> Path:
        return self.folder / "dockerd.log"

    def _start_engine(self) -> None:
        self.folder.mkdir(exist_ok=True)
        config = self.folder / "daemon.json"
        config.write_text(json.dumps(self._settings()))
        self._engine = self._inside().start("dockerd", "--config-file", str(config), log=self.log)

    def _settings(self) -> Mapping[str, object]:
        """Its other places (/run/docker and the like) are its own already: its /run is."""
        return {
            "hosts": [self.url],
            "data-root": str(self.folder / "data"),
            "cgroup-parent": f"/{self.ground.name}/{self.name}",
            "insecure-registries": [self.ground.subnet],
        }

    def _inside(self) -> Capsule:
        assert self._capsule, f"{self.name} was never started"
        return self._capsule

    def _reap(self) -> None:
        if self._engine:
            self._engine.wait(END_S)
        self._engine = None


def run(*command: str, stdin: Path | None = None, **environment: str) -> str:
    """What it printed. Refused when it fails."""
    with (stdin or Path(os.devnull)).open("rb") as given:
        done = subprocess.run(
            command, check=False, capture_output=True, stdin=given, text=True, env={**os.environ, **environment}
        )
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def until(true: Callable[[], object], within_s: float, otherwise: str, log: Path | None = None) -> None:
    """Return when it is so; TimeoutError says `otherwise`, and what was logged last."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            told = log.read_text(errors="replace").splitlines()[-5:] if log else []
            raise TimeoutError("\n".join([f"{otherwise} within {within_s:.0f} s", *told]))
        time.sleep(PAUSE_S)


def marked(name: str) -> list[int]:
    """Processes of the lab of this name, wherever they were started from; what runs in containers goes with them."""
    mark = f"{MARK}={name}".encode()
    return [pid for pid, environment in _environments() if mark in environment.split(b"\0")]


def _environments() -> list[tuple[int, bytes]]:
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it ended, or is a stranger's
            found.append((int(environ.parent.name), environ.read_bytes()))
    return found


def _spawned(command: list[str], mark: str, log: Path | None = None) -> "subprocess.Popen[bytes]":
    with (log or Path(os.devnull)).open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, MARK: mark},
            start_new_session=True,  # Ctrl-C is for the tests: they end what they started
        )  # fmt: skip


def _init_below(pid: int) -> int | None:
    """The init that a chain of commands has come to, once it has become that."""
    for child in _children(pid):
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == INIT:
                return child
        return _init_below(child)
    return None


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _link(number: int) -> str:
    return f"dbslab{number}"


def _subnet(number: int) -> str:
    return f"198.18.{number}.0/24"


def _link_into(capsule: Capsule) -> int:
    """A link from this machine into it; its number is free, and taken by the link's name: two labs cannot have one."""
    inner = ["peer", "name", "outside", "netns", str(capsule.init)]
    for number in range(256):
        if run("ip", "route", "show", "root", _subnet(number)):
            continue
        with suppress(Refused):
            run("ip", "link", "add", _link(number), "type", "veth", *inner)
            return number
    raise Refused("no subnet below 198.18.0.0/16 is free, or links cannot be made here")
