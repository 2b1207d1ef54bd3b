"""When the control plane was backed up.

Revision ID: 0011
Revises: 0010
"""

from database_service.store.migrations import run_script

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_script("0011_backups.up.sql")


def downgrade() -> None:
    run_script("0011_backups.down.sql")
