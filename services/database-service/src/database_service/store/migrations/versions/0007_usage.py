"""What databases use of their servers, and what those that are too large may no longer do.

Revision ID: 0007
Revises: 0006
"""

from database_service.store.migrations import run_script

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_script("0007_usage.up.sql")


def downgrade() -> None:
    run_script("0007_usage.down.sql")
