"""What the hub's pages need to stay quick when the fleet is large.

Revision ID: 0013
Revises: 0012
"""

from database_service.store.migrations import run_script

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_script("0013_hub.up.sql")


def downgrade() -> None:
    run_script("0013_hub.down.sql")
