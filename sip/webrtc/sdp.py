"""What a browser offers, and our answer (JSEP, RFC 9429), reduced to one stream of audio. A core.

Of everything offered the first audio section is taken if it has Opus; all other sections are refused by
port 0. Candidates come in the description or afterwards (trickle ICE, RFC 8838).
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sip.errors import RemoteProtocolError

MAX_SIZE = 16_384  # bytes; Chromium's offer of one audio section is 2 KB
MAX_SECTIONS = 16
MAX_CANDIDATES = 40  # of one generation; a laptop with VPN and IPv6 has some twelve

_ICE = re.compile(r"[A-Za-z0-9+/=_-]{4,256}")  # RFC 8839, 5.4 says A-Z a-z 0-9 + /; Firefox once had more
_HEX = re.compile(r"(?:[0-9A-F]{2}:){19,63}[0-9A-F]{2}")
_DIGESTS = ("sha-256", "sha-384", "sha-512")  # RFC 8122, section 5: weaker ones must not be used


@dataclass(frozen=True, slots=True)
class Offer:
    """What the browser wants, as far as it is our business."""

    ufrag: str  # ICE user name and password
    password: str
    fingerprint: tuple[str, str]  # digest and value, of the certificate that DTLS must show
    active: bool  # it wants to open DTLS itself
    mid: str
    opus: int  # payload type
    events: int | None  # payload type of telephone events (RFC 4733)
    candidates: tuple[str, ...]
    complete: bool  # no more candidates will follow
    sections: tuple[tuple[str, str, str], ...]  # kind, protocol and first format of each, in order
    index: int  # of our section

    @property
    def generation(self) -> tuple[str, str]:
        """What changes when ICE is restarted (RFC 8445, section 9)."""
        return self.ufrag, self.password


@dataclass(frozen=True, slots=True)
class OurSide:
    """What goes into the answer."""

    session: int
    version: int
    ufrag: str
    password: str
    fingerprint: str  # sha-256
    candidates: Sequence[str]
    ssrc: int


def parse_offer(text: str) -> Offer:
    """Raises RemoteProtocolError, which says what is wrong; its `status` is 488 where we have no codec in
    common."""
    if len(text) > MAX_SIZE:
        raise RemoteProtocolError(f"an offer of {len(text)} characters; {MAX_SIZE} is the limit")
    session, *sections = _sections(text)
    if len(sections) > MAX_SECTIONS:
        raise RemoteProtocolError(f"{len(sections)} media sections")
    heads = []
    for lines in sections:
        kind, _, rest = lines[0][2:].partition(" ")
        _, protocol, *formats = rest.split() if len(rest.split()) >= 3 else ("", "", "0")
        heads.append((kind, protocol, formats[0]))
    index = next((i for i, (kind, *_) in enumerate(heads) if kind == "audio"), None)
    if index is None:
        raise RemoteProtocolError("no audio in the offer", 488)
    lines = sections[index]
    values = dict(_attributes(session)) | dict(_attributes(lines))
    ufrag, password = values.get("ice-ufrag", ""), values.get("ice-pwd", "")
    if not _ICE.fullmatch(ufrag) or not _ICE.fullmatch(password) or len(password) < 22:
        raise RemoteProtocolError("no ICE user name and password in the offer")
    opus, events = _types(lines)
    candidates = tuple(value for name, value in _attributes(lines) if name == "candidate")
    return Offer(
        ufrag=ufrag,
        password=password,
        fingerprint=_fingerprint(session, lines),
        active=values.get("setup") == "active",
        mid=_token(values.get("mid", "0")),
        opus=opus,
        events=events,
        candidates=candidates[:MAX_CANDIDATES],
        complete="end-of-candidates" in values,
        sections=tuple((_token(kind), _token(protocol), _token(form)) for kind, protocol, form in heads),
        index=index,
    )


def answer(offer: Offer, ours: OurSide) -> str:
    """Our answer as SDP."""
    lines = [
        "v=0",
        f"o=- {ours.session} {ours.version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        f"a=group:BUNDLE {offer.mid}",
        "a=msid-semantic: WMS *",
    ]
    for index, (kind, protocol, form) in enumerate(offer.sections):
        if index == offer.index:
            lines += _audio(offer, ours, protocol)
        else:  # RFC 3264, section 6: a refused stream keeps its place
            lines += [f"m={kind} 0 {protocol} {form}", "c=IN IP4 0.0.0.0", "a=inactive"]
    return "\r\n".join([*lines, ""])


def _audio(offer: Offer, ours: OurSide, protocol: str) -> list[str]:
    formats = [str(offer.opus)] + ([str(offer.events)] if offer.events is not None else [])
    lines = [
        f"m=audio 9 {protocol} {' '.join(formats)}",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 0.0.0.0",
        f"a=ice-ufrag:{ours.ufrag}",
        f"a=ice-pwd:{ours.password}",
        "a=ice-options:trickle",
        f"a=fingerprint:sha-256 {ours.fingerprint}",
        # RFC 8842, section 5.3: whoever answers should be active; it saves half a round trip.
        f"a=setup:{'passive' if offer.active else 'active'}",
        f"a=mid:{offer.mid}",
        "a=sendrecv",
        "a=msid:voicegw bot",
        "a=rtcp-mux",
        f"a=rtpmap:{offer.opus} opus/48000/2",
        # RFC 7587, section 6.1: we hear 16 kHz mono; more would be sent for nothing.
        f"a=fmtp:{offer.opus} minptime=20;maxplaybackrate=16000;stereo=0;maxaveragebitrate=32000;usedtx=0",
        "a=ptime:20",
    ]
    if offer.events is not None:
        lines += [
            f"a=rtpmap:{offer.events} telephone-event/48000",
            f"a=fmtp:{offer.events} 0-15",
        ]
    lines += [f"a=ssrc:{ours.ssrc} cname:voicegw"]
    lines += [f"a=candidate:{candidate}" for candidate in ours.candidates]
    return [*lines, "a=end-of-candidates"]


def _sections(text: str) -> list[list[str]]:
    """Lines of the session, then those of each medium."""
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line.rstrip())
    return sections


def _attributes(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            yield name, value.strip()


def _types(lines: Sequence[str]) -> tuple[int, int | None]:
    """Payload types of Opus and of telephone events."""
    known: dict[str, int] = {}
    for name, value in _attributes(lines):
        if name == "rtpmap":
            number, _, encoding = value.partition(" ")
            if number.isascii() and number.isdigit() and len(number) <= 3 and int(number) <= 127:
                known.setdefault(encoding.strip().lower(), int(number))
    opus = known.get("opus/48000/2")
    if opus is None:
        raise RemoteProtocolError("no Opus in the offer", 488)
    return opus, known.get("telephone-event/48000")


def _fingerprint(session: Sequence[str], lines: Sequence[str]) -> tuple[str, str]:
    """The strongest that we know."""
    found = {}
    for name, value in (*_attributes(session), *_attributes(lines)):
        if name == "fingerprint":
            digest, _, hexes = value.partition(" ")
            if _HEX.fullmatch(hexes.strip().upper()):
                found[digest.lower()] = hexes.strip().upper()
    for digest in _DIGESTS:
        if digest in found:
            return digest, found[digest]
    raise RemoteProtocolError("no fingerprint of a certificate in the offer")


def _token(text: str) -> str:
    """What we repeat in the answer must be a token (RFC 8866, section 9)."""
    if not re.fullmatch(r"[\w./+*-]{1,64}", text, re.ASCII):
        raise RemoteProtocolError(f"bad token {text[:64]!r} in the offer")
    return text
