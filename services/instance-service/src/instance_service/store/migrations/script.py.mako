"""${message}.

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from instance_service.store.migrations import run_script

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    run_script("${up_revision}_${slug}.up.sql")


def downgrade() -> None:
    run_script("${up_revision}_${slug}.down.sql")
