"""Alembic revisions. Each is two plain SQL files, forward and back; the Python beside them only names them."""

from pathlib import Path

import asyncpg
from alembic import op
from sqlalchemy.util import await_only

VERSIONS = Path(__file__).parent / "versions"


def run_script(name: str) -> None:
    """Run a whole SQL file of `versions` as it stands, inside the migration's transaction."""
    # Straight to the driver: SQLAlchemy would prepare it, and a script of many statements cannot be prepared.
    driver = op.get_bind().connection.driver_connection
    assert isinstance(driver, asyncpg.Connection)  # noqa: S101  narrows the type; there is no other driver
    await_only(driver.execute((VERSIONS / name).read_text()))
