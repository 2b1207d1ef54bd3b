"""No secret of a running system is anywhere but in its place: not in a log, a row, a message, a process, an error or a file.

The system is used and misused first; then its own key ring opens everything that is sealed, and all of that is searched for.
"""

import asyncio
import base64
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis

from database_service.auth.tokens import new_token
from database_service.cli.home import embedded_settings
from database_service.domain.secret import Secret
from database_service.secretbox import SecretBox, new_password
from database_service.settings import Settings
from e2e.conftest import Stack
from support.secrets import Remembered, rows_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

WAIT_S = 60
SEALED = """
SELECT id, password_sealed FROM logins UNION ALL SELECT id, admin_password_sealed FROM servers"""
BODY = re.compile(r'"body": "([A-Za-z0-9+/=]+)"')

Told = dict[str, str]
"""What was said, by the place where it was said."""


# -- use and misuse ---------------------------------------------------------------------------------------------------


def use(stack: Stack) -> None:
    """The life of four databases, one with a login that was replaced and one that was taken back."""
    with stack.client() as client:
        for number in range(4):
            wanted = {"instance_id": f"secret-{number}", "customer_id": "c", "plan_tier": "standard"}
            assert client.post("/allocate", wanted, wait=WAIT_S).ready
        client.post("/databases/secret-0/rotate", {"overlap_seconds": 60}, patience=WAIT_S)
        client.post("/databases/secret-1/rotate", {"overlap_seconds": 0}, patience=WAIT_S)
        for how in ("uri", "env", "pgpass"):
            client.text("/databases/secret-0/credentials", format=how)
        for number in range(4):
            client.delete(f"/databases/secret-{number}")
        client.post("/databases/secret-2/undelete", patience=WAIT_S)
        client.delete("/databases/secret-2")


def misuse(stack: Stack, secrets: Iterator[str]) -> list[httpx.Response]:
    """Errors of every kind, each brought about by a request with a secret in it."""
    good = {"Authorization": f"Bearer {(stack.data / 'admin.token').read_text().strip()}"}
    with httpx.Client(base_url=f"{stack.url}/api/database", headers=good, timeout=WAIT_S) as client:
        pool = client.get("/admin/pools").json()["pools"][0]
        target = {"host": pool["host"], "port": pool["port"], "user": "postgres", "max_instances": 5}
        adopt = "/admin/pools/adopt"
        bad_tokens = [
            client.get("/admin/stats", headers={"Authorization": f"Bearer dbs_{next(secrets)}"}),
            client.get("/admin/stats", headers={"Authorization": f"Basic {next(secrets)}"}),
            client.get("/admin/stats", headers={"Authorization": next(secrets)}),
        ]
        bad_bodies = [
            client.post(adopt, json=target | {"password": next(secrets)}),
            client.post(adopt, json=target | {"password": next(secrets), "confirm": "0" * 16}),
            client.post(adopt, json=target | {"password": next(secrets), "port": 0}),
            client.post(adopt, json=target | {"password": [next(secrets)]}),
            client.post(adopt, json=target | {"password": next(secrets) * 1000}),
            client.post(adopt, json=target | {"passwort": next(secrets)}),
            client.post(adopt, content=f'{{"password": "{next(secrets)}",'.encode()),
            client.post(adopt, content=f"password={next(secrets)}", headers={"Content-Type": "text/plain"}),
            client.post("/allocate", json={"instance_id": "x", "customer_id": "c", "plan_tier": next(secrets)}),
            client.post("/allocate", json={"instance_id": {"password": next(secrets)}}),
        ]
        nowhere = [client.get("/databases/nobody/credentials"), client.post("/databases/nobody/rotate", json={})]
    return [*bad_tokens, *bad_bodies, *nowhere]


def remembered(known: Remembered) -> Iterator[str]:
    while True:
        yield known.remember(new_password().reveal())


# -- what is secret ---------------------------------------------------------------------------------------------------


def settings_of(stack: Stack) -> Settings:
    return embedded_settings(Settings(data_dir=stack.data))


async def sealed(settings: Settings) -> list[Secret]:
    """Every password there ever was: of logins, also of those that ended, and of servers' administrators."""
    box = SecretBox.from_ring(settings.key_ring())
    conn = await asyncpg.connect(settings.database_dsn())
    try:
        return [box.open(text, row_id) for row_id, text in await conn.fetch(SEALED)]
    finally:
        await conn.close()


def remember_all(known: Remembered, settings: Settings) -> None:
    files = ("admin_token_file", "secret_keys_file", "postgres_database_service_password_file")
    token, ring, password = (getattr(settings, name).read_text().strip() for name in files)
    for secret in (token, ring.partition(":")[2].rstrip("="), password):
        known.remember(secret)
    for secret in asyncio.run(sealed(settings)):
        known.remember(secret.reveal())


# -- what is told -----------------------------------------------------------------------------------------------------


async def rows(settings: Settings) -> Told:
    conn = await asyncpg.connect(settings.database_dsn())
    try:
        return {f"table {name}": text for name, text in (await rows_of(conn)).items()}
    finally:
        await conn.close()


def files(stack: Stack) -> Iterator[tuple[str, str]]:
    """Every file of the system, of its PostgreSQL servers too, but those that are there to hold a secret."""
    kept = {stack.data / "admin.token", *(stack.data / "secrets").iterdir()}
    for path in stack.data.rglob("*"):
        try:
            if path not in kept and path.is_file():
                yield str(path.relative_to(stack.data)), path.read_text(encoding="latin-1")
        except FileNotFoundError:
            continue  # servers recycle theirs


def processes() -> Told:
    told: Told = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told |= {
                str(process / name): (process / name).read_text(errors="replace") for name in ("cmdline", "environ")
            }
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return told


class Overheard:
    """Whatever is said to the broker from now on, word by word."""

    def __init__(self, settings: Settings) -> None:
        self._broker = redis.Redis.from_url(settings.broker_url().replace("redis+socket", "unix"))
        self.said: list[str] = []

    @contextmanager
    def listening(self) -> Iterator["Overheard"]:
        with self._broker.monitor() as monitor:
            thread = threading.Thread(target=self._listen, args=(monitor,), daemon=True)
            thread.start()
            yield self
            self._broker.echo("that was all")
            thread.join(WAIT_S)
            assert not thread.is_alive()

    def _listen(self, monitor: "redis.client.Monitor") -> None:
        for command in monitor.listen():
            self.said.append(str(command["command"]))
            if "that was all" in self.said[-1]:
                return

    def told(self) -> Told:
        """What was said, the messages in it in clear, and what is kept."""
        said = "\n".join(self.said)
        kept = "\n".join(f"{key} {self._broker.dump(key)!r}" for key in self._broker.scan_iter())
        return {"the broker": said, "the broker's messages": "\n".join(messages_in(said)), "the broker's keys": kept}


def messages_in(said: str) -> list[str]:
    """Celery writes arguments in base64."""
    return [base64.b64decode(body).decode() for body in BODY.findall(said)]


@contextmanager
def psql(stack: Stack) -> Iterator[None]:
    """`dbs psql` on a database, connected, for as long as the context lasts."""
    dbs = [
        sys.executable,
        "-m",
        "database_service",
        "--url",
        stack.url,
        "--token-file",
        str(stack.data / "admin.token"),
    ]
    with subprocess.Popen(
        [*dbs, "psql", "demo", "--", "-At"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("SELECT 6 * 7;\n")
        process.stdin.flush()
        assert process.stdout.readline() == "42\n"
        yield
        process.stdin.close()


# -- the promise ------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_a_log_a_row_a_message_a_process_an_error_or_a_file(stack: Stack) -> None:
    known, settings = Remembered(), settings_of(stack)
    with Overheard(settings).listening() as overheard:
        use(stack)
        errors = misuse(stack, remembered(known))
    remember_all(known, settings)
    with psql(stack):
        told = processes() | overheard.told() | asyncio.run(rows(settings))
    told |= {f"error {n}: {e.request.url.path}": f"{e.status_code} {e.text}" for n, e in enumerate(errors)}
    told |= {"what `dbs up` printed": stack.output, **dict(files(stack))}
    assert_something_was_told(told, errors)
    assert len(known) > 20
    assert leaks(known, told.items()) == []


def assert_something_was_told(told: Told, errors: Iterable[httpx.Response]) -> None:
    """A search in nothing finds nothing."""
    assert all(error.is_error for error in errors), [(e.status_code, e.text) for e in errors]
    assert '"secret-0"' in told["table databases"]
    assert re.search(r"\[\[\"[0-9a-f-]{36}\"\]", told["the broker's messages"]), told["the broker's messages"]
    assert any("pools" in name and "log" in name for name in told)
    for program in ("api", "worker", "beat"):
        assert f"logs/{program}.log" in told
        assert any(name.endswith("cmdline") and f"serve\0{program}" in text for name, text in told.items())
    assert any(name.endswith("cmdline") and "psql" in text for name, text in told.items())


def leaks(known: Remembered, told: Iterable[tuple[str, str]]) -> list[Any]:
    return [(where, len(found)) for where, text in told if (found := known.leaks_in(text))]


def test_the_search_finds_a_secret_wherever_one_is_planted(stack: Stack) -> None:
    known, settings = Remembered(), settings_of(stack)
    remember_all(known, settings)
    password, token = asyncio.run(sealed(settings))[0].reveal(), known.remember(new_token().reveal())
    with (
        Overheard(settings).listening() as overheard,
        redis.Redis.from_url(settings.broker_url().replace("redis+socket", "unix")) as broker,
    ):
        broker.set("planted", password)
        broker.echo(f'{{"body": "{base64.b64encode(f"[[{token}]]".encode()).decode()}"}}')
        planted = overheard.told()
        broker.delete("planted")
    assert "the broker's keys" in dict(leaks(known, planted.items()))
    (stack.data / "logs" / "planted.log").write_text(f"postgresql://u:{password}@h")
    try:
        assert leaks(known, files(stack)) == [("logs/planted.log", 1)]
    finally:
        (stack.data / "logs" / "planted.log").unlink()
    with subprocess.Popen(["env", "-i", f"PLANTED={password[::-1]}", "sleep", "100"]) as process:
        known.remember(password[::-1])
        found = leaks(known, processes().items())
        process.kill()
    assert {where for where, _ in found} == {f"/proc/{process.pid}/environ"}
