"""Databases that go from one server to another.

Revision ID: 0005
Revises: 0004
"""

from database_service.store.migrations import run_script

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_script("0005_moves.up.sql")


def downgrade() -> None:
    run_script("0005_moves.down.sql")
