"""The tables. migrations/ makes them; a test keeps both the same."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Double, ForeignKey, Index, MetaData, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class CallState(StrEnum):
    """Where a call is in its life."""

    RINGING = "ringing"
    ACTIVE = "active"
    ENDED = "ended"


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes, kept in UTC; SQLite has no zones, so they are put back on when read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database. Raises ValueError for a time without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"time without a zone: {value}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Names of constraints are fixed, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Call(Base):
    """One call. Paths are relative to the data folder, so that it may be moved."""

    __tablename__ = "calls"
    __table_args__ = (Index(None, "started_at", "id"), Index(None, "state", "started_at"))

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    direction: Mapped[str] = mapped_column(String(16))  # media.leg.Direction
    caller: Mapped[str] = mapped_column(String(512))
    callee: Mapped[str] = mapped_column(String(512))
    carrier: Mapped[str] = mapped_column(String(64))
    carrier_id: Mapped[str] = mapped_column(String(512))
    flow: Mapped[str] = mapped_column(String(200))
    server: Mapped[str] = mapped_column(String(255))  # which one has it, where several share a database
    state: Mapped[str] = mapped_column(String(16))  # CallState
    cause: Mapped[str | None] = mapped_column(String(32))  # media.leg.HangupCause in lower case, or "crashed"
    sip_status: Mapped[int | None]  # final answer to the INVITE, where it was not 200
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int | None]  # from the answer to the end
    recording_path: Mapped[str | None] = mapped_column(String(512))
    recording_state: Mapped[str | None] = mapped_column(String(16))  # recordings.recorder.RecordingState
    recording_sha256: Mapped[str | None] = mapped_column(String(64))
    timeline_path: Mapped[str | None] = mapped_column(String(512))
    attempt: Mapped[int] = mapped_column(default=1, server_default="1")  # of an outbound call
    retry_of: Mapped[str | None] = mapped_column(String(200))  # id of the first attempt

    turns: Mapped[list["Turn"]] = relationship(order_by="Turn.n", lazy="raise", viewonly=True)


class Turn(Base):
    """What one party said, once (recordings/timeline.py)."""

    __tablename__ = "turns"

    call_id: Mapped[str] = mapped_column(ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 0, 1, ...
    role: Mapped[str] = mapped_column(String(16))  # "caller" | "bot"
    text: Mapped[str]
    at_ms: Mapped[int]  # call time
    heard: Mapped[str]
    source: Mapped[str] = mapped_column(String(16))  # dialog.turn.TurnSource; "" for the bot
    confidence: Mapped[float | None] = mapped_column(Double)  # 0..1
    rejected: Mapped[bool]
    interrupted: Mapped[bool]
    latency_ms: Mapped[dict[str, Any]] = mapped_column(JSON)  # by step
