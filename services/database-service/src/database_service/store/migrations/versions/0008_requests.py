"""The request log.

Revision ID: 0008
Revises: 0007
"""

from database_service.store.migrations import run_script

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_script("0008_requests.up.sql")


def downgrade() -> None:
    run_script("0008_requests.down.sql")
