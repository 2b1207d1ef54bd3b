"""Long work that can be followed.

Revision ID: 0003
Revises: 0002
"""

from database_service.store.migrations import run_script

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_script("0003_operations.up.sql")


def downgrade() -> None:
    run_script("0003_operations.down.sql")
