"""Authorities of our own, and the certificates of servers that speak TLS.

Revision ID: 0009
Revises: 0008
"""

from database_service.store.migrations import run_script

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_script("0009_tls.up.sql")


def downgrade() -> None:
    run_script("0009_tls.down.sql")
