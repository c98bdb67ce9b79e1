"""SIP messages: bytes in, `Request` or `Response` out, and back (RFC 3261, section 7).

Compact names, folded lines, repeated headers and comma lists are understood. `parse` reads the form;
`check` says whether a request carries what the protocol needs, with the status to refuse it by.
Bytes that are not UTF-8 survive a round trip.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from sip.errors import LocalProtocolError, RemoteProtocolError
from sip.ua.grammar import TOKEN, Address, CSeq, SipUri, Via, split_outside

MAX_HEADERS = 200  # a request through a dozen proxies has about 60
MAX_HEAD = 32 * 1024  # bytes of start line and headers; identity headers with certificates reach 8 KiB
BRANCH_COOKIE = "z9hG4bK"  # RFC 3261, 8.1.1.7

# RFC 3261, 7.3.3; RFC 3515 (Refer-To, Referred-By: 3892); RFC 6665 (Event, Allow-Events); RFC 4028.
COMPACT = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
}
_CANONICAL = {
    "call-id": "Call-ID",
    "cseq": "CSeq",
    "min-se": "Min-SE",
    "rack": "RAck",
    "rseq": "RSeq",
    "www-authenticate": "WWW-Authenticate",
}
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(r"\r?\n")
_UNSAFE = re.compile(r"[\r\n\0]")
_STATUS_LINE = re.compile(r"SIP/(\d+\.\d+) ([1-6]\d\d)(?: (.*))?", re.IGNORECASE | re.DOTALL)
_REQUEST_LINE = re.compile(r"(\S+) +(\S+) +SIP/(\d+\.\d+) *", re.IGNORECASE)


@lru_cache(512)  # read hundreds of times a call, always the same few
def _key(name: str) -> str:
    name = name.lower()
    return COMPACT.get(name, name) if len(name) == 1 else name


class Headers:
    """An ordered multi-map; names without regard to case or compact form."""

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._items = [(_key(name), value) for name, value in items]

    def get(self, name: str) -> str | None:
        """The first value, as it stands."""
        key = _key(name)
        for k, value in self._items:
            if k == key:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """Every line of that name, as it stands."""
        key = _key(name)
        return [value for k, value in self._items if k == key]

    def values(self, name: str) -> list[str]:
        """Every element, comma lists taken apart."""
        return [part for value in self.all(name) for part in split_outside(value, ",")]

    def tokens(self, name: str) -> set[str]:
        """The elements as a set of lower-case words, as in Supported or Require."""
        return {value.lower() for value in self.values(name)}

    def add(self, name: str, value: str) -> None:
        """Append a line."""
        self._items.append((_key(name), value))

    def prepend(self, name: str, value: str) -> None:
        """Put a line before all others."""
        self._items.insert(0, (_key(name), value))

    def set(self, name: str, value: str) -> None:
        """Replace all lines of that name by one, at the place of the first."""
        key = _key(name)
        at = next((i for i, (k, _) in enumerate(self._items) if k == key), len(self._items))
        self._items = [item for item in self._items if item[0] != key]
        self._items.insert(at, (key, value))

    def set_first(self, name: str, value: str) -> None:
        """Replace the first element of a list header and keep the others (the top Via)."""
        key = _key(name)
        at = next((i for i, (k, _) in enumerate(self._items) if k == key), None)
        if at is None:
            self._items.insert(0, (key, value))
            return
        rest = split_outside(self._items[at][1], ",")[1:]
        self._items[at] = (key, ", ".join([value, *rest]))

    def remove(self, name: str) -> None:
        """Drop all lines of that name."""
        key = _key(name)
        self._items = [item for item in self._items if item[0] != key]

    def copy(self) -> "Headers":
        """An independent copy."""
        other = Headers()
        other._items = self._items.copy()
        return other

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._items)

    def __contains__(self, name: str) -> bool:
        return self.get(name) is not None

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({self._items!r})"


@dataclass(slots=True)
class Message:
    """What requests and responses share. The properties raise RemoteProtocolError on bad headers."""

    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    def _need(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise RemoteProtocolError(f"no {name} header")
        return value

    @property
    def via(self) -> Via:
        """The top Via."""
        values = split_outside(self._need("via"), ",")
        if not values:
            raise RemoteProtocolError("empty Via header")
        return Via.parse(values[0])

    @property
    def from_(self) -> Address:
        return Address.parse(self._need("from"))

    @property
    def to(self) -> Address:
        return Address.parse(self._need("to"))

    @property
    def call_id(self) -> str:
        return self._need("call-id").strip()

    @property
    def cseq(self) -> CSeq:
        return CSeq.parse(self._need("cseq"))

    @property
    def contact(self) -> Address | None:
        """The first Contact. ``*`` is none."""
        values = self.headers.values("contact")
        return Address.parse(values[0]) if values and values[0] != "*" else None

    @property
    def content_type(self) -> str:
        """Media type of the body in lower case, without parameters; ``""`` if none is given."""
        return (self.headers.get("content-type") or "").partition(";")[0].strip().lower()

    def _serialize(self, start_line: str) -> bytes:
        lines = [start_line]
        for key, value in self.headers:
            if key == "content-length":
                continue
            name = _CANONICAL.get(key) or key.title()
            lines.append(f"{name}: {value}")
        lines.append(f"Content-Length: {len(self.body)}")
        for line in lines:
            # A line break in a value would smuggle a header of somebody else's choice.
            if _UNSAFE.search(line):
                raise LocalProtocolError(f"line break in {line!r}")
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + self.body


@dataclass(slots=True)
class Request(Message):
    """A request; `uri` is the Request-URI in its wire form."""

    method: str = ""
    uri: str = ""
    version: str = "2.0"

    def __bytes__(self) -> bytes:
        return self._serialize(f"{self.method} {self.uri} SIP/2.0")


@dataclass(slots=True)
class Response(Message):
    """A response."""

    status: int = 0
    reason: str = ""

    def __bytes__(self) -> bytes:
        return self._serialize(f"SIP/2.0 {self.status} {self.reason}")


def parse(data: bytes) -> Request | Response:
    """One whole message: a datagram, or what `StreamFramer` cut out. Raises RemoteProtocolError."""
    end = _HEAD_END.search(data)
    if end is None:
        raise RemoteProtocolError("no empty line after the headers")
    if end.start() > MAX_HEAD:
        raise RemoteProtocolError(f"{end.start()} bytes of headers", 513)
    text = data[: end.start()].decode("utf-8", "surrogateescape")
    start_line, *lines = _LINE_END.split(text)
    headers = _parse_headers(lines)
    body = _body(data[end.end() :], headers)
    if match := _STATUS_LINE.fullmatch(start_line):
        if match[1] != "2.0":
            raise RemoteProtocolError(f"bad SIP version {match[1]!r}", 505)
        return Response(headers, body, int(match[2]), readable(_safe(match[3] or "")))
    match = _REQUEST_LINE.fullmatch(start_line)
    if match is None or not TOKEN.fullmatch(match[1]):
        raise RemoteProtocolError(f"bad start line {start_line[:80]!r}")
    return Request(headers, body, match[1], _safe(match[2]), match[3])


def readable(text: str) -> str:
    """Text of the wire for people and files: what was no UTF-8 becomes a replacement character."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _safe(text: str) -> str:
    if _UNSAFE.search(text):
        raise RemoteProtocolError(f"control character in {text[:80]!r}")
    return text


def _parse_headers(lines: list[str]) -> Headers:
    items: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t"):  # RFC 3261, 7.3.1: folding; the line goes on
            if not items:
                raise RemoteProtocolError("the first header line is folded")
            name, value = items[-1]
            items[-1] = (name, _safe(f"{value} {line.strip()}".strip()))
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not TOKEN.fullmatch(name):
            raise RemoteProtocolError(f"bad header line {line[:80]!r}")
        items.append((name, _safe(value.strip())))
        if len(items) > MAX_HEADERS:
            raise RemoteProtocolError(f"more than {MAX_HEADERS} headers", 513)
    return Headers(items)


def _body(rest: bytes, headers: Headers) -> bytes:
    lengths = headers.all("content-length")
    if not lengths:
        return rest
    length = lengths[0]
    if any(other != length for other in lengths):
        raise RemoteProtocolError(f"Content-Length {length[:20]!r} and {lengths[1][:20]!r}")
    if not (length.isascii() and length.isdigit() and len(length) < 10):
        raise RemoteProtocolError(f"bad Content-Length {length[:20]!r}")
    if int(length) > len(rest):
        raise RemoteProtocolError(f"Content-Length {length}, but {len(rest)} bytes of body")
    return rest[: int(length)]  # RFC 3261, 18.3: what a datagram has beyond is discarded


def check(message: Request | Response) -> None:
    """Whether the message has what every message needs. Raises RemoteProtocolError with the status."""
    via, cseq = message.via, message.cseq
    if not via.host:
        raise RemoteProtocolError("Via without a host")
    if not message.from_.uri or not message.to.uri or not message.call_id:
        raise RemoteProtocolError("empty From, To or Call-ID")
    # Both go into later requests of the dialog.
    if message.contact is not None and not message.contact.uri:
        raise RemoteProtocolError("empty Contact")
    for route in message.headers.values("record-route"):
        Address.parse(route).sip_uri()
    if isinstance(message, Response):
        return
    if message.version != "2.0":
        raise RemoteProtocolError(f"bad SIP version {message.version!r}", 505)
    if cseq.method != message.method:
        raise RemoteProtocolError(f"CSeq says {cseq.method}, the request {message.method}")
    SipUri.parse(message.uri)
    hops = message.headers.get("max-forwards")
    if hops is not None and not (hops.isascii() and hops.isdigit() and len(hops) < 10 and int(hops) < 256):
        raise RemoteProtocolError(f"bad Max-Forwards {hops[:20]!r}")


def reply(request: Request, status: int, reason: str = "", tag: str = "") -> Response:
    """A response to `request` (RFC 3261, 8.2.6). `tag` marks the To unless it has a tag already."""
    headers = Headers()
    for value in request.headers.all("via"):
        headers.add("via", value)
    for name in ("from", "to", "call-id", "cseq"):
        if name not in request.headers:  # then this is a refusal
            continue
        value = request.headers.get(name) or ""
        if name == "to" and tag and status > 100 and not _tag_of(value):
            value = f"{value};tag={tag}"
        headers.add(name, value)
    if status < 300 and status > 100:
        for value in request.headers.all("record-route"):
            headers.add("record-route", value)
    return Response(headers, b"", status, reason or REASONS.get(status, "Unknown"))


def _tag_of(address: str) -> str:
    """Of an address that may be no address: a refusal has to copy that too."""
    try:
        return Address.parse(address).tag
    except RemoteProtocolError:
        return ""


REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    420: "Bad Extension",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Server Internal Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "Version Not Supported",
    513: "Message Too Large",
    600: "Busy Everywhere",
    603: "Decline",
    606: "Not Acceptable",
}
