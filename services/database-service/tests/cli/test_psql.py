"""`dbs psql` and the files it makes for psql, and the command for psql that the hub shows."""

import os
import shlex
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from database_service.actions.allocate import allocate
from database_service.cli import databases
from database_service.domain.answers import Allocation
from database_service.domain.credentials import Credentials, pgpass, psql
from database_service.domain.secret import Secret
from database_service.provisioners.runtime import PostgresRuntime
from support.house import WHO, House, ask


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_closes_leaves_no_password_behind(number: signal.Signals, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as ended:
        close_while_psql_runs(tmp_path, number)
    assert ended.value.code == 128 + number
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) is before


def close_while_psql_runs(folder: Path, number: signal.Signals) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as made, databases._left_to_psql():
        (Path(made) / "pgpass").touch()
        os.kill(os.getpid(), number)


def test_ctrl_c_is_left_to_psql() -> None:
    with databases._left_to_psql():
        os.kill(os.getpid(), signal.SIGINT)


async def test_the_command_that_is_shown_gets_in_and_holds_no_password(
    house: House, runtime: PostgresRuntime, tmp_path: Path
) -> None:
    await house.pool()
    allocated = await allocate(house.deps, ask("one", database_name="with-a-dash"), WHO)
    assert isinstance(allocated, Allocation)
    command = psql(allocated.credentials)
    assert allocated.password.reveal() not in command
    known = tmp_path / "pgpass"
    known.touch(0o600)
    known.write_text(pgpass(allocated.credentials))
    assert run(runtime, command, known) == "with-a-dash"


def run(runtime: PostgresRuntime, command: str, known: Path) -> str:
    program, conninfo = shlex.split(command)
    return subprocess.run(
        [runtime.bin_dir / program, conninfo, "-XAtwc", "SELECT current_database()"],
        env={"PGPASSFILE": str(known)}, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_what_is_odd_is_quoted_in_the_command_that_is_shown() -> None:
    odd = Credentials("it's a\\host", 5432, "a b", "u", Secret("x"), verified=True)
    [_, conninfo] = shlex.split(psql(odd))
    assert conninfo == r"host='it\'s a\\host' port=5432 dbname='a b' user=u sslmode=verify-full"
