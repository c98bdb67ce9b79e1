"""What a page may say over its WebSocket: JSON objects with a `type`. A core; docs/softphone.md lists them.

hello{token} | resume{resume, seen}  first, once        call{sdp, flow}   offer{sdp}   candidate{candidate}
                                                        key{key}          hangup{}     ping{}
"""

import json
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 32_768  # an offer of 16 KB, escaped
TEXT, SHORT = 20_000, 300  # characters


class BadMessage(Exception):
    """What is wrong with a message, in words for whoever wrote the page."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first words of a page."""

    token: str


@dataclass(frozen=True, slots=True)
class Resume:
    """The first words of a page whose socket was lost in a call."""

    resume: str
    seen: int  # number of the last message that came


@dataclass(frozen=True, slots=True)
class Call:
    """Call a flow."""

    sdp: str
    flow: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """Lay the media anew: ICE is restarted."""

    sdp: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One more of the browser's ICE candidates; None: there are no more."""

    candidate: str | None


@dataclass(frozen=True, slots=True)
class Key:
    """A key was pressed."""

    key: str


@dataclass(frozen=True, slots=True)
class Hangup:
    """The caller has had enough."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Is the socket alive?"""


Message = Hello | Resume | Call | Offer | Candidate | Key | Hangup | Ping


def parse(text: str) -> Message:
    """Raises BadMessage."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("not JSON") from None
    if not isinstance(data, dict):
        raise BadMessage("not a JSON object")
    match data.get("type"):
        case "hello":
            return Hello(_text(data, "token", 2000))
        case "resume":
            return Resume(_text(data, "resume", SHORT), _number(data, "seen"))
        case "call":
            return Call(_text(data, "sdp", TEXT), _text(data, "flow", SHORT, needed=False))
        case "offer":
            return Offer(_text(data, "sdp", TEXT))
        case "candidate":
            return Candidate(_candidate(data))
        case "key":
            return Key(_text(data, "key", 1))
        case "hangup":
            return Hangup()
        case "ping":
            return Ping()
        case other:
            raise BadMessage(f"unknown type {str(other)[:40]!r}")


def _text(data: dict[str, Any], name: str, limit: int, *, needed: bool = True) -> str:
    value = data.get(name, None if needed else "")
    if not isinstance(value, str) or (needed and not value):
        raise BadMessage(f"{data['type']}: {name} must be a text")
    if len(value) > limit:
        raise BadMessage(f"{data['type']}: {name} is longer than {limit} characters")
    return value


def _number(data: dict[str, Any], name: str) -> int:
    value = data.get(name, 0)
    if type(value) is not int or value < 0:
        raise BadMessage(f"{data['type']}: {name} must be a number")
    return value


def _candidate(data: dict[str, Any]) -> str | None:
    """As `RTCIceCandidate.candidate` has it: "candidate:..." or, at the end, nothing."""
    if not data.get("candidate"):
        return None
    return _text(data, "candidate", SHORT).removeprefix("a=").removeprefix("candidate:") or None


class Bucket:
    """How often something may happen: `rate` times a second on average, `burst` at once."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst, self._left, self._at = rate, burst, burst, now

    def take(self, now: float) -> bool:
        """Whether once more is all right."""
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
