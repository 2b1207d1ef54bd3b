"""`dbs psql` and the files it makes for psql."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from database_service.cli import databases


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
