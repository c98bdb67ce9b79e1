"""The words of media sockets: what a carrier's messages mean, whatever they look like.

A carrier is a `MediaStreamCore`: messages of its socket in, events out; audio, marks, clears in, messages
out. It does no I/O and reads no clock. Over a WebSocket one message is one frame, text or binary; over TCP it
is whatever bytes came, and the core puts its frames together. Everything else (pacing, buffers, codecs,
what was heard) is the leg's business (sip/mediastream.py), the same for all carriers.

    receive(message) -> Started, then Audio, Digit, Marked, ... and at last Stopped
    audio, mark, clear, keys, goodbye -> the message to send; None where the carrier has no such message

Audio is that of the wire: the leg decodes and encodes by the `Encoding` that `Started` names.
"""

import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from media.leg import HangupCause
from sip.errors import RemoteProtocolError

Message = str | bytes


@dataclass(frozen=True, slots=True)
class Encoding:
    """How audio is written. Names: PCMU, PCMA, G722, L16 (network byte order), PCM (little endian)."""

    name: str = "PCMU"
    rate: int = 8000  # Hz of the audio


# Events


@dataclass(frozen=True, slots=True)
class Started:
    """The stream is open. Once a stream, but audio may come before it."""

    stream_id: str
    call_id: str  # the carrier's; what its webhooks and REST verbs call it
    received: Encoding = Encoding()
    sent: Encoding = Encoding()  # of the same rate
    caller: str = ""
    callee: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)  # what the application or carrier passed on


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound from the caller, of any length. `chunk` counts where the carrier counts, from any number: then
    it is put in order, what comes twice is left out, and what is missing is counted."""

    payload: bytes
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Digit:
    """A key: one of 0-9 * # A-D."""

    key: str


@dataclass(frozen=True, slots=True)
class Marked:
    """Our mark of this name came back: all before it was played, or was cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class Held:
    """The far end listens no more (its buffer is full, the stream is paused), or does so again."""

    active: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """Something that the carrier's protocol wants answered at once: `message` goes out."""

    message: Message


@dataclass(frozen=True, slots=True)
class Failure:
    """The carrier complains; the call goes on. Logged and counted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """A message that is none of ours: unknown, of another stream, a second start. Counted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The stream is over."""

    cause: HangupCause = HangupCause.NORMAL


StreamEvent = Started | Audio | Digit | Marked | Held | Reply | Failure | Ignored | Stopped


class MediaStreamCore(Protocol):
    """One stream of a carrier. Inherit from it: what a carrier lacks is then left out."""

    lead_ms: int = 200
    """How far ahead of the ear we send: rides out stalls of the network and of ours. Short (20 to 60) where
    the far end cannot `clear`: all of it is heard after a barge-in."""
    single_frames: bool = False
    """Every message must hold exactly one packet time of 20 ms; else those of one tick travel together."""

    message_frames: int = 1
    """Packet times that a message holds at least, but at the end of speech: where the far end wants few,
    large messages. `lead_ms` must be more than they last."""
    linger_s: float = 0.0
    """Seconds that the far end may take, after our goodbye, for its own."""

    def receive(self, message: Message) -> Sequence[StreamEvent]:
        """What a message means. Raises RemoteProtocolError, and nothing else, if it cannot be read; the
        next one may be good again."""
        raise NotImplementedError

    def audio(self, payload: bytes) -> Message:
        """Sound for the caller, a multiple of 20 ms. Only once started."""
        raise NotImplementedError

    def mark(self, name: str) -> Message | None:
        """Ask to be told when all audio so far was played: `Marked(name)` comes back."""
        return None

    def clear(self) -> Message | None:
        """Make the far end forget the audio that it has not played yet."""
        return None

    def keys(self, digits: str) -> Message | None:
        """Press keys towards the far end."""
        return None

    def goodbye(self, cause: HangupCause) -> Message | None:
        """Last words before we close the socket."""
        return None


# What a carrier can do


class Means(StrEnum):
    """By what a carrier does something."""

    NO = "no"
    SOCKET = "socket"  # a message on the media socket
    REST = "rest"  # a request to the carrier
    TONES = "tones"  # by sound: the leg plays it
    FLOW = "flow"  # not by us: the carrier's own flow, or dialplan, goes on when we leave


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a carrier can do with a call. Legs and sessions ask this record, never the carrier's name;
    docs/carriers.md prints it."""

    clear: bool = False
    """Forgets buffered audio on a barge-in."""
    played: bool = False
    """Confirms what was played: what the caller heard is measured, not estimated."""
    dtmf_in: bool = False
    dtmf_out: Means = Means.TONES
    hangup: Means = Means.SOCKET
    """SOCKET: closing it ends the call. FLOW: it gives the call back, and what comes next is not ours to
    say: the timeline tells that we have left."""
    transfer: bool = False
    """Blind."""
    conference: bool = False
    """Both sides can be brought into one room."""
    outbound: bool = False
    amd: bool = False
    """Says whether a person or a machine has answered."""
    recording: bool = False
    """Records on the carrier's side, besides our own recording."""


# Helpers for cores that speak JSON


def read_json(message: Message) -> dict[str, Any]:
    """The object in a message. Raises RemoteProtocolError."""
    try:
        body = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"not JSON: {str(error)[:80]}") from error
    if not isinstance(body, dict):
        raise RemoteProtocolError(f"not a JSON object but {type(body).__name__}")
    return body


def member(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of this name. Raises RemoteProtocolError."""
    value = body.get(name)
    if not isinstance(value, dict):
        raise RemoteProtocolError(f"{name!r} is not an object but {type(value).__name__}")
    return value


def text(body: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """The string, or number as string, of this name; else `default`, or RemoteProtocolError."""
    value = body.get(name)
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if default is not None:
        return default
    raise RemoteProtocolError(f"{name!r} is not a string but {type(value).__name__}")


def number(body: Mapping[str, Any], name: str) -> int | None:
    """A whole number, also one written as a string; None if there is none (carriers differ, 3.0 rule 5)."""
    value = body.get(name)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def payload(body: Mapping[str, Any], name: str = "payload") -> bytes:
    """Audio in base64. Raises RemoteProtocolError."""
    value = body.get(name)
    if not isinstance(value, str):
        raise RemoteProtocolError(f"{name!r} is not a string but {type(value).__name__}")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError as error:  # binascii.Error is one; another stands for letters beyond ASCII
        raise RemoteProtocolError(f"{name!r} is not base64: {error}") from error


def strings(value: object) -> dict[str, str]:
    """Parameters as carriers pass them on: names in lower case, whatever is not a string written as JSON."""
    if not isinstance(value, dict):
        return {}
    return {str(k).lower(): v if isinstance(v, str) else json.dumps(v) for k, v in value.items()}


def digit(key: object) -> list[StreamEvent]:
    """A `Digit`, or word of what is none."""
    if isinstance(key, str) and len(key) == 1 and key.upper() in "0123456789*#ABCD":
        return [Digit(key.upper())]
    return [Ignored("no key")]
