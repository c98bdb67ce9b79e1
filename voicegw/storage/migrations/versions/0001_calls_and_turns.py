"""Calls and their turns."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make both tables."""
    _calls()
    _turns()


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("direction", sa.String(16), nullable=False),
        sa.Column("caller", sa.String(512), nullable=False),
        sa.Column("callee", sa.String(512), nullable=False),
        sa.Column("carrier", sa.String(64), nullable=False),
        sa.Column("carrier_id", sa.String(512), nullable=False),
        sa.Column("flow", sa.String(200), nullable=False),
        sa.Column("server", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("cause", sa.String(32)),
        sa.Column("sip_status", sa.Integer()),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True)),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("recording_path", sa.String(512)),
        sa.Column("recording_state", sa.String(16)),
        sa.Column("recording_sha256", sa.String(64)),
        sa.Column("timeline_path", sa.String(512)),
        sa.PrimaryKeyConstraint("id", name="pk_calls"),
    )
    op.create_index("ix_calls_started_at_id", "calls", ["started_at", "id"])
    op.create_index("ix_calls_state_started_at", "calls", ["state", "started_at"])


def _turns() -> None:
    op.create_table(
        "turns",
        sa.Column("call_id", sa.String(200), nullable=False),
        sa.Column("n", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("at_ms", sa.Integer(), nullable=False),
        sa.Column("heard", sa.String(), nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("confidence", sa.Double()),
        sa.Column("rejected", sa.Boolean(), nullable=False),
        sa.Column("interrupted", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["call_id"], ["calls.id"], name="fk_turns_call_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("call_id", "n", name="pk_turns"),
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table("turns")
    op.drop_table("calls")
