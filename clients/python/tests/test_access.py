"""Where the service is and who asks: given, or found in the environment; and told to nobody."""

import logging
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from database_service_client import AsyncDatabaseService, DatabaseService, errors
from database_service_client.testing import FakeDatabaseService, NotFaked

TOKEN = "dbs_a-token-that-nobody-may-see"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.mark.parametrize(
    "url", ["http://db:8005", "http://db:8005/", "http://db:8005/api/database", "http://db:8005/api/database/"]
)
def test_the_address_is_understood_with_and_without_its_path(url: str, token_file: Path) -> None:
    asked: list[httpx.Request] = []
    with DatabaseService(url, token_file=token_file, transport=answering(asked)) as client:
        client.health()
    assert str(asked[0].url) == "http://db:8005/api/database/health"
    assert asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def answering(asked: list[httpx.Request]) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"status": "alive", "checked": []})

    return httpx.MockTransport(answer)


def test_what_is_not_given_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch, token_file: Path) -> None:
    monkeypatch.setenv("DATABASE_SERVICE_URL", "http://there:1")
    monkeypatch.setenv("DATABASE_SERVICE_TOKEN_FILE", str(token_file))
    asked: list[httpx.Request] = []
    with DatabaseService(transport=answering(asked)) as client:
        client.health()
    with DatabaseService("http://here:2", "another", transport=answering(asked)) as client:
        client.health()
    assert [(r.url.host, r.headers["authorization"]) for r in asked] == [
        ("there", f"Bearer {TOKEN}"),
        ("here", "Bearer another"),
    ]


def test_without_an_address_or_a_readable_token_there_is_no_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DATABASE_SERVICE_URL", raising=False)
    monkeypatch.delenv("DATABASE_SERVICE_TOKEN_FILE", raising=False)
    with pytest.raises(errors.Misconfigured, match="DATABASE_SERVICE_URL"):
        DatabaseService()
    with pytest.raises(errors.Misconfigured, match="No such file"):
        AsyncDatabaseService("http://x", token_file=tmp_path / "missing")


def test_nothing_that_is_logged_or_shown_has_a_secret(
    token_file: Path, fake: FakeDatabaseService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with fake.client(token=TOKEN) as client:
        allocated = client.allocate("i", "c", "free")
        fake.be_away(times=99)
        with pytest.raises(errors.Unreachable) as away:
            client.rotate("i")
        shown = f"{client!r} {vars(client)!r} {client.driver!r} {allocated!r} {away.value!r} {away.value.__cause__!r} {caplog.text}"
    assert TOKEN not in shown
    assert allocated.db_password not in shown


def test_a_closed_client_asks_nothing(fake: FakeDatabaseService) -> None:
    client = fake.client()
    client.close()
    with pytest.raises(errors.Closed):
        client.health()


def test_what_the_stand_in_does_not_know_is_a_failure_of_the_test(fake: FakeDatabaseService) -> None:
    with fake.client() as client, pytest.raises(NotFaked, match="GET /admin/stats"):
        client.admin.stats()


def test_methods_explain_themselves(fake: FakeDatabaseService) -> None:
    with fake.client() as client:
        assert "A database for this instance" in (client.allocate.__doc__ or "")
    assert "A database for this instance" in (DatabaseService.allocate.__doc__ or "")


def test_a_stranger_can_type_check_against_it(tmp_path: Path) -> None:
    """What each method takes and gives is exact, blocking and awaited, though it is written once."""
    script = tmp_path / "consumer.py"
    script.write_text(
        "from database_service_client import AsyncDatabaseService, DatabaseService\n"
        "def blocking(c: DatabaseService) -> str:\n"
        "    c.allocate('i', 'c')  # WRONG\n"
        "    c.allocate('i', 'c', 'free', wait='long')  # WRONG\n"
        "    c.change_plan('i', 'free').wait(10, on_progress=lambda op: print(op.state))\n"
        "    return c.allocate('i', 'c', 'free').dsn()\n"
        "async def awaited(c: AsyncDatabaseService) -> str:\n"
        "    c.allocate('i', 'c', 'free').dsn()  # WRONG\n"
        "    await (await c.change_plan('i', 'free')).wait(10)\n"
        "    async for moved in c.moves('i'):\n"
        "        return moved.new.dsn()\n"
        "    return (await c.credentials('i')).dsn()\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(script)]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    wrong = [number for number, line in enumerate(script.read_text().splitlines(), 1) if "WRONG" in line]
    assert [int(line.split(":")[1]) for line in told.splitlines() if ": error:" in line] == wrong, told
