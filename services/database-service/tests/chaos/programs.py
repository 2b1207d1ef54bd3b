"""PostgreSQL's programs for pools: the real ones, but a pool listens beside the address that is told, so that a wire can lie
between, and trusts the operating system with its files, which outlives every process that is killed here."""

import shutil
from pathlib import Path

from database_service.provisioners.runtime import WHEEL, PostgresRuntime

FAR_HOST = "127.0.0.2"
SCRIPT = """\
#!/bin/sh
case "$2" in */pools/*) exec {real} "$@" -c listen_addresses={host} -c fsync=off ;; esac
exec {real} "$@"
"""


def beside(runtime: PostgresRuntime, folder: Path) -> Path:
    """A copy of the wheel's programs in `folder`, and where they are in it."""
    site = runtime.bin_dir.parents[2]
    for part in (Path(WHEEL) / "pginstall", Path(f"{WHEEL}.libs")):
        shutil.copytree(site / part, folder / part, symlinks=True)
    for made in (folder, folder / WHEEL):
        made.chmod(0o755)
    programs = folder / WHEEL / "pginstall" / "bin"
    real = (programs / "postgres").rename(programs / "postgres-itself")
    script = programs / "postgres"
    script.write_text(SCRIPT.format(real=real, host=FAR_HOST))
    script.chmod(0o755)
    return programs
