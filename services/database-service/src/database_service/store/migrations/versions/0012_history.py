"""How servers and databases grew.

Revision ID: 0012
Revises: 0011
"""

from database_service.store.migrations import run_script

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_script("0012_history.up.sql")


def downgrade() -> None:
    run_script("0012_history.down.sql")
