"""Outbound calls are tried again: attempts are linked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add which attempt a call is, and of which call."""
    op.add_column("calls", sa.Column("attempt", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("calls", sa.Column("retry_of", sa.String(200)))


def downgrade() -> None:
    """Drop both."""
    op.drop_column("calls", "retry_of")
    op.drop_column("calls", "attempt")
