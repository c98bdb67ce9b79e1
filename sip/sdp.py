"""Session descriptions (RFC 4566): text to values and back. Offer and answer are in sip/offer.py.

Lenient where the field is: CR LF or LF, unknown lines, missing o=, s= and t=. Strict where a wrong
guess would send audio astray: addresses, ports and payload types. Raises RemoteProtocolError only.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import ip_address

from sip.errors import RemoteProtocolError

MAX_SIZE = 16_384  # bytes; real descriptions stay under 4 KiB
MAX_MEDIA = 16  # m-lines; browsers offer three or four
ON_HOLD = frozenset({"0.0.0.0", "::"})  # RFC 2543's way to say hold: an address that is none


class MediaDirection(StrEnum):
    """Who sends audio, seen from the side that says it (RFC 4566, section 6)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        return self in {MediaDirection.SENDRECV, MediaDirection.SENDONLY}

    @property
    def receives(self) -> bool:
        return self in {MediaDirection.SENDRECV, MediaDirection.RECVONLY}

    @property
    def mirrored(self) -> "MediaDirection":
        """The same, seen from the other side."""
        return direction_of(sends=self.receives, receives=self.sends)


def direction_of(*, sends: bool, receives: bool) -> MediaDirection:
    """The direction of a side that does both, one or neither."""
    if sends:
        return MediaDirection.SENDRECV if receives else MediaDirection.SENDONLY
    return MediaDirection.RECVONLY if receives else MediaDirection.INACTIVE


@dataclass(frozen=True, slots=True)
class RtpMap:
    """What a payload type means: `a=rtpmap:<type> <name>/<clock>[/<channels>]`."""

    payload_type: int
    name: str
    clock: int  # Hz
    channels: int = 1

    def __str__(self) -> str:
        channels = f"/{self.channels}" if self.channels > 1 else ""
        return f"rtpmap:{self.payload_type} {self.name}/{self.clock}{channels}"


# RFC 3551, tables 4 and 5: types that need no rtpmap, as far as telephones use them.
STATIC = {
    0: RtpMap(0, "PCMU", 8000),
    3: RtpMap(3, "GSM", 8000),
    4: RtpMap(4, "G723", 8000),
    8: RtpMap(8, "PCMA", 8000),
    9: RtpMap(9, "G722", 8000),
    13: RtpMap(13, "CN", 8000),
    15: RtpMap(15, "G728", 8000),
    18: RtpMap(18, "G729", 8000),
}


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One m= section."""

    kind: str  # "audio", "video", ...
    port: int  # 0: refused
    protocol: str  # "RTP/AVP"
    formats: tuple[str, ...]  # of RTP: payload types
    host: str = ""  # from its own c=, else the session's; "" if there is none
    attributes: tuple[str, ...] = ()  # without "a="
    direction: MediaDirection = MediaDirection.SENDRECV

    def attribute(self, name: str) -> str | None:
        """The value of `a=name:value`; None if it is absent."""
        prefix = name + ":"
        return next((a[len(prefix) :].strip() for a in self.attributes if a.startswith(prefix)), None)

    def milliseconds(self, name: str) -> int | None:
        """The value of ptime or maxptime; None if absent or senseless."""
        text = self.attribute(name)
        try:
            # Some phones write "20.0" or "20 "; what is no packet time at all is not worth a refusal.
            value = int(float(text)) if text is not None else 0
        except (ValueError, OverflowError):
            return None
        return value if 1 <= value <= 1000 else None

    def maps(self) -> tuple[RtpMap, ...]:
        """The payload types that are offered, in order; those that mean nothing to us are left out."""
        dynamic = {m.payload_type: m for a in self.attributes if (m := _rtpmap(a)) is not None}
        types = [int(f) for f in self.formats if f.isascii() and f.isdigit() and int(f) < 128]
        known = (dynamic.get(t) or STATIC.get(t) for t in types)
        return tuple(m for m in known if m is not None)

    def lines(self) -> list[str]:
        """As text."""
        lines = [f"m={self.kind} {self.port} {self.protocol} {' '.join(self.formats)}"]
        if self.host:
            lines.append(connection(self.host))
        lines += [f"a={a}" for a in self.attributes]
        if self.port:
            lines.append(f"a={self.direction}")
        return lines


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description."""

    host: str  # of the origin line
    session_id: int = 0
    version: int = 0
    media: tuple[MediaDescription, ...] = field(default=())

    def __str__(self) -> str:
        version = 6 if ":" in self.host else 4
        lines = [
            "v=0",
            f"o=- {self.session_id} {self.version} IN IP{version} {self.host}",
            "s=-",
            connection(self.host),
            "t=0 0",
        ]
        for media in self.media:
            lines += media.lines()
        return "\r\n".join(lines) + "\r\n"


def connection(host: str) -> str:
    """The c= line of an address."""
    return f"c=IN IP{6 if ':' in host else 4} {host}"


def parse(data: bytes | str) -> SessionDescription:
    """Read a description. Raises RemoteProtocolError."""
    if len(data) > MAX_SIZE:
        raise RemoteProtocolError(f"session description of {len(data)} bytes")
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    reader = _Reader()
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.strip("\0 \t"):
            reader.line(line.rstrip())
    return reader.finish()


class _Reader:
    """Collects lines; session-level values are the defaults of each m= section."""

    def __init__(self) -> None:
        self._host = ""
        self._session_host = ""
        self._id = self._version = 0
        self._session_attributes: list[str] = []
        self._media: list[MediaDescription] = []
        self._attributes: list[str] = self._session_attributes
        self._seen_version = False

    def line(self, line: str) -> None:
        if len(line) < 2 or line[1] != "=":
            raise RemoteProtocolError(f"not a line of SDP: {line[:60]!r}")
        value = line[2:].strip()
        match line[0]:
            case "v":
                if value != "0":
                    raise RemoteProtocolError(f"SDP version {value[:20]!r}")
                self._seen_version = True
            case "o":
                self._origin(value)
            case "c":
                self._connection(value)
            case "m":
                self._section(value)
            case "a":
                self._attributes.append(value)

    def _origin(self, value: str) -> None:
        fields = value.split()
        # Only the numbers matter, and only to tell a change from a repetition.
        if len(fields) >= 6:
            self._host = fields[5]
            self._id, self._version = _number(fields[1]), _number(fields[2])

    def _connection(self, value: str) -> None:
        host = _host(value)
        if self._media:
            self._media[-1] = replace(self._media[-1], host=host)
        else:
            self._session_host = host

    def _section(self, value: str) -> None:
        fields = value.split()
        if len(fields) < 4:
            raise RemoteProtocolError(f"bad media line {value[:60]!r}")
        port = fields[1].partition("/")[0]  # "port/count" is for layered video
        if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
            raise RemoteProtocolError(f"bad media port {fields[1][:20]!r}")
        if len(self._media) == MAX_MEDIA:
            raise RemoteProtocolError(f"more than {MAX_MEDIA} media lines")
        self._close_section()
        kind, protocol = fields[0].lower(), fields[2].upper()
        self._media.append(MediaDescription(kind, int(port), protocol, tuple(fields[3:])))
        self._attributes = []

    def _close_section(self) -> None:
        if self._media:
            fallback = _direction(self._session_attributes, MediaDirection.SENDRECV)
            last = self._media[-1]
            self._media[-1] = replace(
                last,
                host=last.host or self._session_host,
                attributes=tuple(self._attributes),
                direction=_direction(self._attributes, fallback),
            )

    def finish(self) -> SessionDescription:
        if not self._seen_version:
            raise RemoteProtocolError("no session description (v= is missing)")
        self._close_section()
        host = self._host or self._session_host
        return SessionDescription(host, self._id, self._version, tuple(self._media))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


def _host(value: str) -> str:
    """The address of a c= line, in its canonical spelling. Names are refused: no DNS in a call's set-up."""
    fields = value.split()
    if len(fields) != 3 or fields[0].upper() != "IN" or fields[1].upper() not in {"IP4", "IP6"}:
        raise RemoteProtocolError(f"bad connection line {value[:60]!r}")
    text = fields[2].partition("/")[0]  # "/ttl" of multicast
    try:
        address = ip_address(text)
    except ValueError:
        raise RemoteProtocolError(f"bad media address {text[:60]!r}", 488) from None
    if address.is_multicast:
        raise RemoteProtocolError(f"multicast media address {address}", 488)
    return str(address)


def _rtpmap(attribute: str) -> RtpMap | None:
    if not attribute.startswith("rtpmap:"):
        return None
    fields = attribute[7:].split()
    parts = fields[1].split("/") if len(fields) == 2 else []
    if len(parts) < 2 or not all(
        n.isascii() and n.isdigit() and len(n) <= 9 for n in (fields[0], *parts[1:])
    ):
        return None
    channels = int(parts[2]) if len(parts) > 2 else 1
    return RtpMap(int(fields[0]), parts[0], int(parts[1]), channels)


def _direction(attributes: list[str], fallback: MediaDirection) -> MediaDirection:
    for attribute in attributes:
        if attribute in MediaDirection.__members__.values():
            return MediaDirection(attribute)
    return fallback
