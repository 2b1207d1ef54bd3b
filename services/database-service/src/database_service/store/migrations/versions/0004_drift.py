"""Drift: what is there without a row, and rows whose thing is gone, differs or moved.

Revision ID: 0004
Revises: 0003
"""

from database_service.store.migrations import run_script

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_script("0004_drift.up.sql")


def downgrade() -> None:
    run_script("0004_drift.down.sql")
