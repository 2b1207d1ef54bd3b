"""Instances and their events.

Revision ID: 0001
Revises:
"""

from instance_service.store.migrations import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script("0001_foundation.up.sql")


def downgrade() -> None:
    run_script("0001_foundation.down.sql")
