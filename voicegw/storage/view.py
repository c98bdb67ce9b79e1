"""A call as the outside sees it. This shape is a contract: fields are added, never changed or removed.

`voicegw calls list|show --json` and the web interface give the same.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from voicegw.storage.models import Call, Turn


def call_json(call: Call, data_dir: Path, *, turns: bool = False) -> dict[str, Any]:
    """`recording` and `timeline` are absolute paths, null if there is no such file to be had."""
    view: dict[str, Any] = {
        "id": call.id,
        "direction": call.direction,
        "from": call.caller,
        "to": call.callee,
        "state": call.state,
        "cause": call.cause,
        "started_at": stamp(call.started_at),
        "answered_at": stamp(call.answered_at),
        "ended_at": stamp(call.ended_at),
        "duration_ms": call.duration_ms,
        "carrier": call.carrier,
        "carrier_id": call.carrier_id,
        "flow": call.flow,
        "sip_status": call.sip_status,
        "attempt": call.attempt,
        "retry_of": call.retry_of,
        "recording": full_path(call.recording_path, data_dir),
        "recording_state": call.recording_state,
        "recording_sha256": call.recording_sha256,
        "timeline": full_path(call.timeline_path, data_dir),
    }
    if turns:
        view["turns"] = [turn_json(turn) for turn in call.turns]
    return view


def turn_json(turn: Turn) -> dict[str, Any]:
    """One turn; times in milliseconds since the call began."""
    return {
        "role": turn.role,
        "text": turn.text,
        "at_ms": turn.at_ms,
        "heard": turn.heard,
        "latency_ms": turn.latency_ms,
        "source": turn.source or None,
        "confidence": turn.confidence,
        "rejected": turn.rejected,
        "interrupted": turn.interrupted,
    }


def stamp(at: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds."""
    return (
        None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def full_path(path: str | None, data_dir: Path) -> str | None:
    """A path kept relative to the data folder, made absolute."""
    return None if path is None else str((data_dir / path).absolute())
