"""What a server runs, and the versions of its administrator's password.

Revision ID: 0002
Revises: 0001
"""

from database_service.store.migrations import run_script

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_script("0002_images.up.sql")


def downgrade() -> None:
    run_script("0002_images.down.sql")
