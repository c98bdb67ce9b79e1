"""What happens to calls, and the statements that say so to the database. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, Update, delete, insert, update

from media.leg import CallInfo
from recordings.timeline import Turn as SpokenTurn
from voicegw.storage.models import Call, CallState, Turn

CRASHED = "crashed"  # cause of calls that the server did not live to end


@dataclass(frozen=True, slots=True)
class Started:
    """A call came in, or is being placed."""

    info: CallInfo
    flow: str
    at: datetime
    server: str = ""  # which server has it, where several share a database
    timeline_path: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """Both parties are connected."""

    call_id: str
    at: datetime
    recording_path: str | None = None
    carrier_id: str = ""  # where the carrier's name of the call was not known before


@dataclass(frozen=True, slots=True)
class Spoken:
    """The turns of a call from number `n` on; there are no others after them."""

    call_id: str
    n: int
    turns: Sequence[SpokenTurn]


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over."""

    call_id: str
    at: datetime
    cause: str
    sip_status: int | None = None
    duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recording is finished."""

    call_id: str
    state: str
    sha256: str = ""
    path: str | None = None  # None: there is no file


Op = Started | Answered | Spoken | Ended | Recorded


def statements(op: Op) -> Iterator[tuple[Executable, list[dict[str, Any]]]]:
    """Statements, each with its rows (none: it needs no parameters)."""
    match op:
        case Started(info, flow, at, server, timeline_path):
            row = {
                "id": info.call_id,
                "direction": info.direction.value,
                "caller": _clean(info.caller, 512),
                "callee": _clean(info.callee, 512),
                "carrier": _clean(info.carrier, 64),
                "carrier_id": _clean(info.carrier_id, 512),
                "flow": _clean(flow, 200),
                "state": CallState.RINGING.value,
                "server": _clean(server, 255),
                "started_at": at,
                "timeline_path": timeline_path,
                "attempt": info.attempt,
                "retry_of": info.retry_of or None,
            }
            yield insert(Call), [row]
        case Answered(call_id, at, recording_path, carrier_id):
            values: dict[str, Any] = {"state": CallState.ACTIVE.value, "answered_at": at}
            if carrier_id:
                values["carrier_id"] = _clean(carrier_id, 512)
            yield _update(call_id).values(**values, recording_path=recording_path), []
        case Spoken(call_id, n, turns):
            yield delete(Turn).where(Turn.call_id == call_id, Turn.n >= n), []
            if turns:
                yield insert(Turn), [_row(call_id, n + i, turn) for i, turn in enumerate(turns)]
        case Ended(call_id, at, cause, sip_status, duration_ms):
            values = {"state": CallState.ENDED.value, "ended_at": at, "cause": cause}
            yield _update(call_id).values(**values, sip_status=sip_status, duration_ms=duration_ms), []
        case Recorded(call_id, state, sha256, path):
            values = {"recording_state": state, "recording_sha256": sha256 or None, "recording_path": path}
            yield _update(call_id).values(**values), []


def _update(call_id: str) -> Update:
    return update(Call).where(Call.id == call_id)


def _row(call_id: str, n: int, turn: SpokenTurn) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "n": n,
        "role": turn.role,
        "text": _clean(turn.text),
        "at_ms": turn.at_ms,
        "heard": _clean(turn.heard),
        "source": turn.source,
        "confidence": turn.confidence,
        "rejected": turn.rejected,
        "interrupted": turn.interrupted,
        "latency_ms": dict(turn.latency_ms),
    }


def _clean(text: str, longest: int = 20_000) -> str:
    """Text that every database takes: what a network brings may hold NUL or half a surrogate pair."""
    return text[:longest].encode("utf-8", "replace").decode().replace("\0", "")
