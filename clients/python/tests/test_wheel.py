"""What is published: a wheel that has all of it and nothing else, typed."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import database_service_client

PACKAGE = Path(database_service_client.__file__).parent
PROJECT = Path(__file__).parents[1]
OFFLINE = ("--no-deps", "--no-build-isolation", "--no-index")


def test_the_wheel_has_every_module_and_says_that_it_is_typed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "-q", *OFFLINE, "-w", str(tmp_path), str(PROJECT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    [wheel] = tmp_path.glob("database_service_client-*-py3-none-any.whl")
    with ZipFile(wheel) as opened:
        inside = {name for name in opened.namelist() if ".dist-info/" not in name}
    assert inside == {str(path.relative_to(PACKAGE.parent)) for path in [*PACKAGE.rglob("*.py"), PACKAGE / "py.typed"]}
