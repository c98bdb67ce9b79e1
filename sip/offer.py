"""Offer and answer (RFC 3264): one call's agreement on codec, addresses and direction. A core.

`OfferAnswer` lives as long as the call. `offer` then `accept`, or `answer`; any number of times. What
fails changes nothing: the call goes on with the last agreement.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from media.codecs import Codec
from sip.errors import LocalProtocolError, RemoteProtocolError
from sip.sdes import Sdes, SrtpKeys, SrtpPolicy
from sip.sdp import (
    ON_HOLD,
    MediaDescription,
    MediaDirection,
    RtpMap,
    SessionDescription,
    direction_of,
    parse,
)

FIRST_DYNAMIC = 96  # RFC 3551, section 3: 96-127 are free to use
NOISE = RtpMap(13, "CN", 8000)  # RFC 3389, for codecs with this clock
DTMF_TYPE = 101  # what the whole trade uses; also a hint to peers that look at no rtpmap
EVENTS = "0-15"  # RFC 4733: 0-9, *, #, A-D
PTIMES = range(10, 121)  # ms; what lies outside is treated as not said
LONGEST_PAYLOAD = 1300  # bytes; what libsrtp's binding takes, and what fits into a packet of a network


@dataclass(frozen=True, slots=True)
class MediaAgreement:
    """What both sides have agreed on for the audio of a call."""

    codec: Codec
    host: str  # where we send to
    port: int
    send_type: int  # payload type of what we send
    receive_types: frozenset[int]  # payload types under which the codec may come
    dtmf_send_type: int | None  # RFC 4733; None: the far end takes no telephone events
    dtmf_receive_types: frozenset[int]
    dtmf_clock: int  # Hz of the telephone event's duration
    ptime_ms: int  # of the packets we send
    direction: MediaDirection  # ours
    comfort_noise_types: frozenset[int] = frozenset({13})
    srtp: SrtpKeys | None = None  # None: plain RTP
    comfort_noise: bool = False  # the far end takes it from us (type 13)
    others: Mapping[int, Codec] = field(default_factory=dict)  # further types under which audio may come
    rtcp_port: int = 0  # where reports go to; 0: nowhere
    rtcp_mux: bool = False  # RFC 5761: reports come and go beside the audio, on its port

    @property
    def on_hold(self) -> bool:
        """The far end does not want to talk now."""
        return self.direction is not MediaDirection.SENDRECV


class OfferAnswer:
    """Our side of a call's descriptions."""

    def __init__(self, host: str, port: int, codecs: Sequence[Codec], session_id: int) -> None:
        """`codecs` in order of preference. `session_id` is any number that is ours alone."""
        if not codecs:
            raise LocalProtocolError("no codec to offer")
        self._host, self._port, self._codecs = host, port, tuple(codecs)
        self._local = SessionDescription(host, session_id, 0)
        self._offered: SessionDescription | None = None
        self._wanted = MediaDirection.SENDRECV
        self.comfort_noise = False
        """We send it in place of silence, to far ends that take it; set before the first description."""
        self.encryption = Sdes()
        self.agreement: MediaAgreement | None = None

    def encrypt(self, policy: SrtpPolicy, suites: Sequence[str]) -> None:
        """Before the first description: without it there is none. Later, for another far end, what was agreed
        stays; raises RemoteProtocolError, 488, if that may not be."""
        if self.agreement is None:
            self.encryption = Sdes(policy, suites)
        elif policy is SrtpPolicy.OFF and self.agreement.srtp is not None:
            raise RemoteProtocolError("keys of an encrypted call do not travel there", 488)

    def restrict(self, codec: Codec) -> None:
        """From now on prefer `codec`, and agree on nothing of another audio rate."""
        same = [c for c in self._codecs if c.rate == codec.rate and c is not codec]
        self._codecs = (codec, *same)

    def offer(self, direction: MediaDirection = MediaDirection.SENDRECV) -> str:
        """Our description, to be followed by `accept` or `abandon`."""
        types = _number(self._codecs)
        maps = [
            RtpMap(number, c.name, c.clock, c.channels) for c, number in zip(self._codecs, types, strict=True)
        ]
        clocks = list(dict.fromkeys(m.clock for m in maps))
        # RFC 4733, 2.1: events have the clock of the audio they interrupt, so one type for each clock.
        free = (t for t in range(DTMF_TYPE, 128) if t not in types)
        events = [RtpMap(next(free), "telephone-event", clock) for clock in clocks]
        protocol, keys = self.encryption.offer()
        if self.comfort_noise and any(m.clock == NOISE.clock for m in maps):
            maps.append(NOISE)
        media = self._section(maps, events, 20, direction)
        media = replace(media, protocol=protocol, attributes=(*keys, *media.attributes))
        self._offered = self._describe((media,))
        self._wanted = direction
        return str(self._offered)

    def abandon(self) -> None:
        """Our offer was refused: the last agreement holds."""
        self._offered = None

    def accept(self, answer: bytes | str) -> MediaAgreement:
        """The answer to our offer; a later one (200 after 183) replaces it.

        Raises RemoteProtocolError: 488 if it leaves us without audio.
        """
        if self._offered is None:
            raise LocalProtocolError("an answer without an offer")
        remote = parse(answer)
        if not remote.media or remote.media[0].kind != "audio" or remote.media[0].port == 0:
            raise RemoteProtocolError("the answer refuses audio", 488)
        agreement = self._agree(remote.media[0], self._wanted, self._offered.media[0])
        agreement = self._encrypted(agreement, self.encryption.accept(remote.media[0]))
        self._local = self._offered
        self.agreement = agreement
        return agreement

    def answer(self, offer: bytes | str, direction: MediaDirection = MediaDirection.SENDRECV) -> str:
        """Our answer; `agreement` is then set. Raises RemoteProtocolError, 488 without a common codec."""
        remote = parse(offer)
        chosen = self._choose(remote.media)
        theirs = remote.media[chosen]
        agreement = self._agree(theirs, direction, None)
        keys, srtp = self.encryption.answer(theirs)
        agreement = self._encrypted(agreement, srtp)
        maps = [_map(agreement.codec, agreement.send_type)]
        if self.comfort_noise and agreement.comfort_noise and agreement.codec.clock == NOISE.clock:
            maps.append(NOISE)
        events = []
        if agreement.dtmf_send_type is not None:
            events = [RtpMap(agreement.dtmf_send_type, "telephone-event", agreement.dtmf_clock)]
        ours = self._section(maps, events, agreement.ptime_ms, agreement.direction, mux=agreement.rtcp_mux)
        ours = replace(ours, protocol=theirs.protocol, attributes=(*keys, *ours.attributes))
        # RFC 3264, section 6: as many m-lines as in the offer, in its order; port 0 refuses.
        media = tuple(
            ours if i == chosen else MediaDescription(m.kind, 0, m.protocol, m.formats)
            for i, m in enumerate(remote.media)
        )
        self._local = self._describe(media)
        self._offered = None
        self.agreement = agreement
        return str(self._local)

    def _choose(self, media: Sequence[MediaDescription]) -> int:
        """Number of the audio line to answer: an encrypted one before a plain one.

        Raises RemoteProtocolError, 488.
        """
        encryption = self.encryption
        audio = [i for i, m in enumerate(media) if m.kind == "audio" and m.port != 0]
        taken = [i for i in audio if encryption.takes(media[i])]
        if not taken:
            raise RemoteProtocolError(f"no audio over {encryption.wanted} was offered", 488)
        return next((i for i in taken if encryption.secures(media[i])), taken[0])

    def _encrypted(self, agreement: MediaAgreement, keys: SrtpKeys | None) -> MediaAgreement:
        if keys is None:
            return agreement
        codec, ptime_ms = agreement.codec, agreement.ptime_ms
        while ptime_ms > PTIMES.start and codec.clock * codec.octets * ptime_ms // 1000 > LONGEST_PAYLOAD:
            ptime_ms -= 10
        return replace(agreement, srtp=keys, ptime_ms=ptime_ms)

    def _describe(self, media: tuple[MediaDescription, ...]) -> SessionDescription:
        # RFC 3264, section 8: a changed description has a version one higher, an equal one the same.
        if self._local.media == media:
            return self._local
        version = self._local.version + 1
        return replace(self._local, version=version, media=media)

    def _section(
        self,
        maps: list[RtpMap],
        events: list[RtpMap],
        ptime_ms: int,
        direction: MediaDirection,
        *,
        mux: bool = True,
    ) -> MediaDescription:
        attributes = []
        for m in maps:
            attributes.append(str(m))
            attributes += [
                f"fmtp:{m.payload_type} {c.parameters}" for c in self._codecs if c.parameters and _same(m, c)
            ]
        for event in events:
            attributes += [str(event), f"fmtp:{event.payload_type} {EVENTS}"]
        attributes.append(f"ptime:{ptime_ms}")
        if mux:
            attributes.append("rtcp-mux")
        formats = tuple(str(m.payload_type) for m in [*maps, *events])
        return MediaDescription("audio", self._port, "RTP/AVP", formats, "", tuple(attributes), direction)

    def _agree(
        self, theirs: MediaDescription, wanted: MediaDirection, offered: MediaDescription | None
    ) -> MediaAgreement:
        maps = theirs.maps()
        codec, chosen = self._common(maps)
        events = _events(maps, codec.clock)
        if not theirs.host:
            raise RemoteProtocolError("no media address (c= is missing)")
        if (":" in theirs.host) != (":" in self._host):
            raise RemoteProtocolError(f"media address {theirs.host} is of another IP version than ours", 488)
        # RFC 3264, 5.1 and 6.1: each side sends with the numbers that the other has listed. Numbers of
        # an answer should be those of the offer; if not, both are taken for what comes in.
        own_maps = offered.maps() if offered is not None else maps
        receive = {m.payload_type for m in own_maps if _same(m, codec)} | {chosen.payload_type}
        own_events = {m.payload_type for m in _events(own_maps, codec.clock)}
        return MediaAgreement(
            codec=codec,
            host=theirs.host,
            port=theirs.port,
            send_type=chosen.payload_type,
            receive_types=frozenset(receive),
            dtmf_send_type=events[0].payload_type if events else None,
            dtmf_receive_types=frozenset(own_events | {e.payload_type for e in events}),
            dtmf_clock=events[0].clock if events else codec.clock,
            ptime_ms=_ptime(theirs),
            direction=_direction(theirs, wanted),
            comfort_noise_types=frozenset({13} | {m.payload_type for m in maps if m.name.upper() == "CN"}),
            comfort_noise=any(m.payload_type == NOISE.payload_type for m in maps),
            others=self._others(own_maps, codec),
            rtcp_port=_rtcp_port(theirs),
            rtcp_mux="rtcp-mux" in theirs.attributes,
        )

    def _others(self, maps: Iterable[RtpMap], codec: Codec) -> dict[int, Codec]:
        """Types of our own list that a sender may switch to at any time (RFC 3264, 6.1)."""
        return {
            m.payload_type: c
            for m in maps
            for c in self._codecs
            if c is not codec and c.rate == codec.rate and c.clock == codec.clock and _same(m, c)
        }

    def _common(self, maps: Sequence[RtpMap]) -> tuple[Codec, RtpMap]:
        for codec in self._codecs:
            for offered in maps:
                if _same(offered, codec):
                    return codec, offered
        theirs = ", ".join(f"{m.name}/{m.clock}" for m in maps) or "nothing we know"
        ours = ", ".join(c.encoding for c in self._codecs)
        raise RemoteProtocolError(f"no common codec: they offer {theirs}; we have {ours}", 488)


def _map(codec: Codec, number: int) -> RtpMap:
    return RtpMap(number, codec.name, codec.clock, codec.channels)


def _same(offered: RtpMap, codec: Codec) -> bool:
    return (offered.name.upper(), offered.clock, offered.channels) == (
        codec.name.upper(),
        codec.clock,
        codec.channels,
    )


def _events(maps: Iterable[RtpMap], clock: int) -> list[RtpMap]:
    """Telephone events, best first. Those of another clock are better than none: many phones offer
    only 8000 Hz beside a wideband codec."""
    found = [m for m in maps if m.name.lower() == "telephone-event"]
    return sorted(found, key=lambda m: m.clock != clock)


def _number(codecs: Sequence[Codec]) -> list[int]:
    """Payload types: static ones, and dynamic ones counted from 96 around the telephone events."""
    free = (t for t in range(FIRST_DYNAMIC, 128) if not DTMF_TYPE <= t < DTMF_TYPE + len(codecs))
    return [c.payload_type if c.payload_type is not None else next(free) for c in codecs]


def _rtcp_port(media: MediaDescription) -> int:
    """RFC 3605's attribute, else the port after the audio's; 0 where there is none after it."""
    text = (media.attribute("rtcp") or "").partition(" ")[0]
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536:
        return int(text)
    return (media.port + 1) % 65536


def _ptime(media: MediaDescription) -> int:
    """What the far end would like to receive, within its maximum and ours."""
    wanted = media.milliseconds("ptime") or 20
    limit = media.milliseconds("maxptime") or PTIMES.stop
    ptime = min(wanted, limit) // 10 * 10  # all our codecs work in whole 10 ms
    return ptime if ptime in PTIMES else 20


def _direction(theirs: MediaDescription, wanted: MediaDirection) -> MediaDirection:
    """Ours, as far as theirs allows it."""
    mirrored = theirs.direction.mirrored
    held = theirs.host in ON_HOLD
    return direction_of(
        sends=wanted.sends and mirrored.sends and not held,
        receives=wanted.receives and mirrored.receives,
    )
