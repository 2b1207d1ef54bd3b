"""Keyed digests of tokens, tokens of one customer, and an audit trail that is only added to.

Revision ID: 0006
Revises: 0005
"""

from database_service.store.migrations import run_script

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_script("0006_trust.up.sql")


def downgrade() -> None:
    run_script("0006_trust.down.sql")
