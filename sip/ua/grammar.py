"""The pieces that SIP headers are made of: lists, parameters, URIs, addresses, Via (RFC 3261, 25.1).

Parsing is as lenient as real phones need and never looser than the meaning allows; what it cannot
read raises RemoteProtocolError. Text that is only passed on (a From, a Route) keeps its wire form.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Self

from sip.errors import RemoteProtocolError

TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|<[^>]*>|[^"<]', re.DOTALL)
_URI = re.compile(
    r"(?P<scheme>sips?):(?:(?P<user>[^@:;?\s]*(?:;[^@:?\s]*)?)(?::[^@\s]*)?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.\-]+)(?::(?P<port>\d{1,5}))?"
    r"(?P<params>;[^?\s]*)?(?P<headers>\?\S*)?",
    re.IGNORECASE,
)
_TEL = re.compile(r"tel:(?P<user>[0-9A-Fa-f*#+().\-]+)(?P<params>;\S*)?", re.IGNORECASE)
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:\[\];,]+)\s*(?::\s*(\d{1,5}))?")
_VIA = re.compile(r"SIP\s*/\s*2\.0\s*/\s*([A-Za-z0-9\-]+)\s+([^;]+)(;.*)?", re.IGNORECASE | re.DOTALL)

_WEIGHT = re.compile(r"[0-9]{1,3}(\.[0-9]{0,20})?|\.[0-9]{1,20}")
_SPACE = re.compile(r"\s")
KNOWN = 256  # values read last: of one message the same are read again and again, by each layer

Params = Mapping[str, str | None]  # names lower case; None: present without a value
_NO_PARAMS: dict[str, str | None] = {}


def split_outside(text: str, separator: str) -> list[str]:
    """Split at a separator that stands neither in quotes nor in angle brackets. Empty parts vanish."""
    if '"' not in text and "<" not in text:
        return [part for part in (p.strip() for p in text.split(separator)) if part]
    parts, start = [], 0
    for piece in _PIECE.finditer(text):
        if piece.group() == separator:
            parts.append(text[start : piece.start()])
            start = piece.end()
    parts.append(text[start:])
    return [part for part in (p.strip() for p in parts) if part]


def quote(text: str) -> str:
    """`text` as a quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """The content of a quoted string, or the text itself if it is not one."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text


def parse_params(text: str, separator: str = ";") -> dict[str, str | None]:
    """``;a=1;b`` as a mapping. Of a name that comes twice the first counts. Quotes are kept."""
    params: dict[str, str | None] = {}
    for part in split_outside(text, separator):
        name, equals, value = part.partition("=")
        params.setdefault(name.strip().lower(), value.strip() if equals else None)
    return params


def format_params(params: Params) -> str:
    """The inverse of `parse_params`."""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params.items())


def _port(text: str | None, what: str) -> int:
    if text is None:
        return 0
    if not 0 < int(text) < 65536:
        raise RemoteProtocolError(f"bad port in {what!r}")
    return int(text)


@dataclass(frozen=True, slots=True)
class SipUri:
    """A sip, sips or tel URI. `host` of an IPv6 address has its brackets; port 0 means none given."""

    host: str
    user: str = ""
    port: int = 0
    params: Params = field(default_factory=lambda: _NO_PARAMS)
    scheme: str = "sip"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises RemoteProtocolError with status 416 for a scheme that is none of ours."""
        if match := _URI.fullmatch(text):
            params = parse_params(match["params"]) if match["params"] else {}
            port = _port(match["port"], text)
            return cls(match["host"].lower(), match["user"] or "", port, params, match["scheme"].lower())
        if match := _TEL.fullmatch(text):
            params = parse_params(match["params"]) if match["params"] else {}
            return cls("", match["user"], 0, params, "tel")
        known = text.lower().startswith(("sip:", "sips:", "tel:"))
        raise RemoteProtocolError(f"bad URI {text!r}", 400 if known else 416)

    @property
    def transport(self) -> str | None:
        """``UDP`` or ``TCP`` if the URI insists."""
        value = self.params.get("transport")
        return value.upper() if value else None

    def __str__(self) -> str:
        if self.scheme == "tel":
            return f"tel:{self.user}{format_params(self.params)}"
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}:{user}{self.host}{port}{format_params(self.params)}"


@dataclass(frozen=True, slots=True)
class Address:
    """A From, To, Contact, Route or Refer-To value: display name, URI in its wire form, parameters."""

    uri: str
    display: str = ""
    params: Params = field(default_factory=lambda: _NO_PARAMS)

    @staticmethod
    @lru_cache(KNOWN)
    def parse(text: str) -> "Address":
        """Both ``"A" <sip:a@b>;tag=1`` and ``sip:a@b;tag=1``; in the latter the parameters are ours."""
        before, bracket, rest = _at_bracket(text)
        if bracket:
            uri, end, tail = rest.partition(">")
            tail = tail.strip()
            if not end or (tail and not tail.startswith(";")):
                raise RemoteProtocolError(f"bad address {text!r}")
        else:
            uri, semicolon, tail = text.partition(";")
            before, tail = "", semicolon + tail
        uri = uri.strip()
        if not uri or _SPACE.search(uri):
            raise RemoteProtocolError(f"bad address {text!r}")
        return Address(uri, unquote(before.strip()), parse_params(tail) if tail else {})

    @property
    def tag(self) -> str:
        """The tag parameter, or ``""``."""
        return self.params.get("tag") or ""

    @property
    def weight(self) -> float:
        """How much a Contact is wanted: its q, 0 to 1. What is no number counts as not said, as 20.10 has it
        for expires; and what says nothing is wanted wholly, the default that q has in HTTP."""
        text = self.params.get("q") or ""
        # More digits than the grammar's three are read; signs, exponents and "nan" are no qvalue (25.1).
        return min(float(text), 1.0) if _WEIGHT.fullmatch(text) else 1.0

    def sip_uri(self) -> SipUri:
        """The URI taken apart. Raises RemoteProtocolError."""
        return SipUri.parse(self.uri)

    def with_tag(self, tag: str) -> "Address":
        """The same address with this tag."""
        return replace(self, params={**self.params, "tag": tag})

    def __str__(self) -> str:
        display = f"{quote(self.display)} " if self.display else ""
        return f"{display}<{self.uri}>{format_params(self.params)}"


def _at_bracket(text: str) -> tuple[str, bool, str]:
    """Cut at the first ``<`` that does not stand in quotes."""
    start = 0
    stripped = text.lstrip()
    if stripped.startswith('"'):
        match = re.match(r'\s*"(?:[^"\\]|\\.)*"', text, re.DOTALL)
        if match is None:
            raise RemoteProtocolError(f"unterminated quote in {text!r}")
        start = match.end()
    at = text.find("<", start)
    return (text, False, "") if at < 0 else (text[:at], True, text[at + 1 :])


@dataclass(frozen=True, slots=True)
class Via:
    """One hop. `host` and `port` are what the sender believes of itself ("sent-by"); port 0: none."""

    transport: str
    host: str
    port: int = 0
    params: Params = field(default_factory=lambda: _NO_PARAMS)

    @staticmethod
    @lru_cache(KNOWN)
    def parse(text: str) -> "Via":
        match = _VIA.fullmatch(text.strip())
        sent_by = match and _HOST_PORT.fullmatch(match[2].strip())
        if not match or not sent_by:
            raise RemoteProtocolError(f"bad Via {text!r}")
        params = parse_params(match[3]) if match[3] else {}
        return Via(match[1].upper(), sent_by[1].lower(), _port(sent_by[2], text), params)

    @property
    def branch(self) -> str:
        """The branch parameter, or ``""``."""
        return self.params.get("branch") or ""

    @property
    def sent_by(self) -> tuple[str, int]:
        """Host and port with the default filled in."""
        return self.host, self.port or 5060

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"SIP/2.0/{self.transport} {self.host}{port}{format_params(self.params)}"


@dataclass(frozen=True, slots=True)
class CSeq:
    """Number and method of a request."""

    number: int
    method: str

    @staticmethod
    @lru_cache(KNOWN)
    def parse(text: str) -> "CSeq":
        number, _, method = text.strip().partition(" ")
        method = method.strip()
        # RFC 3261, 8.1.1.5: less than 2**31.
        if not (number.isascii() and number.isdigit() and len(number) <= 10 and int(number) < 2**31):
            raise RemoteProtocolError(f"bad CSeq {text!r}")
        if not TOKEN.fullmatch(method):
            raise RemoteProtocolError(f"bad CSeq {text!r}")
        return CSeq(int(number), method)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"
