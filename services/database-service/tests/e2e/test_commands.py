"""Every command of `dbs` against a system that runs: what a person reads, what a program gets."""

import json
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest

from database_service.cli.exits import Exit
from database_service.cli.root import main
from database_service.cli.session import Session
from database_service.settings import Settings
from e2e.conftest import Stack

pytestmark = pytest.mark.stack

Dbs = Callable[..., str]
Told = Callable[..., dict[str, Any]]


@pytest.fixture
def dbs(stack: Stack, capsys: pytest.CaptureFixture[str]) -> Dbs:
    """Run a command and give what it printed; it must end with this code."""

    def run(*arguments: str, code: Exit = Exit.OK) -> str:
        session = Session(Settings(data_dir=stack.data, api_port=stack.port, database_service_url=stack.url))
        with pytest.raises(SystemExit) as ended:
            main(list(arguments), session)
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return said.out

    return run


@pytest.fixture
def told(dbs: Dbs) -> Told:
    """The same with --json."""
    return lambda *arguments, code=Exit.OK: json.loads(dbs(*arguments, "--json", code=code))


def test_a_database_from_allocation_to_undelete(dbs: Dbs, told: Told) -> None:
    ask = ("allocate", "life", "--customer", "acme", "--plan", "standard", "--wait", "30")
    made = told(*ask)
    assert told(*ask)["db_password"] == made["db_password"]
    assert "life" in dbs("status", "life")
    assert told("rotate", "life", "--overlap", "60")["db_user"] != made["db_user"]
    assert "(until" in dbs("status", "life")
    assert "yes" in dbs("protect", "life")
    dbs("release", "life", "--yes", code=Exit.REFUSED)
    assert told("unprotect", "life")["protected"] is False
    assert "kept until" in dbs("release", "life", "--yes", "--why", "a test")
    assert "life" in dbs("undelete", "life")


@pytest.mark.parametrize(
    ("how", "begin"),
    [
        ("uri", "postgresql://"),
        ("env", "PGHOST="),
        ("jdbc", "jdbc:postgresql://"),
        ("json", "{"),
        ("pgpass", "127.0.0.1:"),
    ],
)
def test_credentials_come_in_the_form_a_client_reads(dbs: Dbs, how: str, begin: str) -> None:
    assert dbs("credentials", "demo", "--format", how).startswith(begin)


def test_a_pool_is_found_by_its_name_and_by_its_id(dbs: Dbs, told: Told) -> None:
    pool = told("pools", "ls", "--type", "shared")["pools"][0]
    assert pool["name"] in dbs("pools", "ls")
    for known in (pool["name"], pool["id"]):
        assert "127.0.0.1" in dbs("pools", "show", known)
    dbs("pools", "show", "nobody", code=Exit.NOT_FOUND)


def test_a_cordoned_pool_is_in_maintenance_until_it_is_not(dbs: Dbs, told: Told) -> None:
    name = told("pools", "ls", "--type", "shared")["pools"][0]["name"]
    assert told("pools", "cordon", name, "--reason", "a disk")["status"] == "maintenance"
    assert "a disk" in dbs("pools", "show", name)
    assert told("pools", "uncordon", name)["status"] == "active"
    assert told("pools", "health", name)["health_status"] == "healthy"
    assert "healthy" in dbs("pools", "health", name)


def test_a_pool_is_ordered_to_measure_and_retired(dbs: Dbs, told: Told) -> None:
    ordered = told("pools", "order", "--slots", "3", "--memory", "128M", "--manual")
    assert (ordered["max_instances"], ordered["memory_limit"]) == (3, 128 * 1024**2)
    assert "128 MiB" in dbs("pools", "show", ordered["name"])
    assert told("pools", "retire", ordered["name"], "--yes")["id"] == ordered["id"]
    dbs("pools", "order", "--memory", "much", code=Exit.USAGE)


def test_adoption_begins_with_a_look_and_a_server_that_is_not_there_is_refused(dbs: Dbs, tmp_path: Any) -> None:
    (tmp_path / "password").write_text("made-up")
    where = ("pools", "adopt", "127.0.0.1", "--port", "1", "--user", "admin", "--slots", "5")
    dbs(*where, "--password-file", str(tmp_path / "password"), "--yes", code=Exit.USAGE)
    dbs(*where, "--password-file", str(tmp_path / "none"), code=Exit.USAGE)


def test_the_fleet_in_numbers_and_its_audit_trail(dbs: Dbs, told: Told) -> None:
    assert told("stats")["active_pools"] >= 1
    assert "total capacity" in dbs("stats")
    assert told("events", "--instance", "demo")["events"]
    assert "demo" in dbs("events", "--instance", "demo", "--limit", "5")


def test_a_token_is_shown_once_and_works_until_it_is_revoked(dbs: Dbs, told: Told) -> None:
    made = told("tokens", "create", "ci", "--scope", "databases:read", "--expires", "2099-01-01")
    assert dbs("tokens", "create", "cd", "--scope", "metrics:read").startswith("dbs_")
    assert made["token"] not in dbs("tokens", "ls")
    assert made["id"] in [token["id"] for token in told("tokens", "ls")["tokens"]]
    dbs("tokens", "revoke", made["id"], "--yes")
    dbs("tokens", "revoke", "00000000-0000-0000-0000-000000000000", "--yes", code=Exit.NOT_FOUND)


def test_the_doctor_finds_a_running_system_well(dbs: Dbs, told: Told) -> None:
    found = told("doctor")
    assert found["ok"], found
    assert "control database" in dbs("doctor")


def test_the_schema_of_a_running_system_is_the_newest(stack: Stack, dbs: Dbs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_HOST", str(stack.data / "run" / "pg"))
    monkeypatch.setenv(
        "POSTGRES_DATABASE_SERVICE_PASSWORD_FILE", str(stack.data / "secrets" / "control-database.password")
    )
    assert "the newest is" in dbs("migrate", "--check")
    assert "The schema is at" in dbs("migrate")


def test_a_new_key_fits_the_key_ring(dbs: Dbs) -> None:
    assert dbs("new-key", "k2").startswith("k2:")
    dbs("new-key", "a,b", code=Exit.USAGE)


def test_the_version_is_told(dbs: Dbs) -> None:
    assert dbs("version").strip()


def test_drift_is_looked_for_listed_and_not_removed_within_its_grace(dbs: Dbs, told: Told, stack: Stack) -> None:
    lost = stack.data / "pools" / "0f7a3c52-6f0e-4d3b-9a51-2f4f8f1c7d11"
    lost.mkdir()
    identity = {"format": 1, "id": lost.name, "name": "pool-lost", "port": 0, "made": False}
    (lost / "identity.json").write_text(json.dumps(identity))
    [finding] = _found(dbs, told)
    assert "pool-lost" in dbs("drift", "ls", "--state", "open")
    for how in ((), ("--confirm", "0-0"), ("--yes",)):
        assert told("drift", "remove", finding["id"], *how, code=Exit.REFUSED)["code"] == "drift_in_grace"
    dbs("drift", "remove", lost.name, code=Exit.NOT_FOUND)
    dbs("drift", "ls", "--state", "nothing", code=Exit.USAGE)
    shutil.rmtree(lost)
    assert not _found(dbs, told)


def _found(dbs: Dbs, told: Told) -> list[dict[str, Any]]:
    """What the worker finds when it is asked now."""
    asked = told("drift", "find")["wanted_at"]
    until = time.monotonic() + 30
    while (told("drift", "ls")["looked_at"] or "") < asked:
        assert time.monotonic() < until, dbs("drift", "ls")
    listed = told("drift", "ls", "--kind", "server_without_row")["drift"]
    assert isinstance(listed, list)
    return listed
