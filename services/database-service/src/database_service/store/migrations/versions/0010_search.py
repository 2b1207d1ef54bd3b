"""Tenant databases are found by how their instance's id, their customer's or their own name begins.

Revision ID: 0010
Revises: 0009
"""

from database_service.store.migrations import run_script

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_script("0010_search.up.sql")


def downgrade() -> None:
    run_script("0010_search.down.sql")
