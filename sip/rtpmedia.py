"""What the media of all SIP calls share: configuration, ports, codecs, clock; and what is counted."""

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from ipaddress import ip_network

from media.codecs import Codec, codec
from media.impairment import Channel
from media.metronome import Metronome
from media.rtp import ReceptionStats
from sip.rtpports import RtpPorts
from sip.sdes import SUITES, SrtpPolicy
from sip.srtp import SrtpStats, library


class InbandDtmf(StrEnum):
    """When to listen for keys as tones in the audio."""

    AUTO = "auto"  # where no telephone events were agreed on
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class RtpConfig:
    """Media of SIP calls."""

    host: str = "0.0.0.0"
    """Address that RTP sockets bind to. 0.0.0.0 and :: stand for all addresses, of either family."""
    first_port: int = 20000
    """First UDP port for RTP. One even port a call; 0 in both: any port the system gives."""
    last_port: int = 29998
    """Last UDP port for RTP. The default range has room for 5000 calls."""
    codecs: tuple[str, ...] = ("PCMU", "PCMA", "G722", "L16/16000", "L16/8000")
    """Codecs in order of preference: PCMU, PCMA, G722, L16/8000, L16/16000, opus (needs `pip install
    voicegw[opus]`). The first that the far end has too is taken."""
    jitter_min_ms: int = 40
    """Delay of received audio to begin with; it adapts. 20 on a clean LAN, 60 over mobile networks."""
    jitter_max_ms: int = 200
    """Longest such delay; older audio is dropped. More is felt as a slow answer."""
    inactivity_s: float = 30.0
    """Seconds without RTP or RTCP, off hold, after which the call is ended: its BYE was lost. 0: never."""
    quiet_s: float = 300.0
    """The same while the far end has announced that it sends no silence (comfort noise, RFC 3389)."""
    hold_s: float = 1800.0
    """Longest time on hold, 30 minutes: then nobody comes back. The dialog rests meanwhile. 0: for ever."""
    trusted_networks: tuple[str, ...] = ()
    """Networks ("10.0.0.0/8") whose RTP is believed although it comes neither from the host in the
    SDP nor from the one that signals: carriers with separate media gateways behind NAT."""
    srtp: SrtpPolicy = SrtpPolicy.OFF
    """Encryption of the audio, with keys from the SDP (RFC 4568). off; optional: encrypted with whoever can
    (offered by RFC 8643); required: else no call (488). Needs `pip install voicegw[srtp]`. A trunk may
    differ."""
    srtp_needs_tls: bool = True
    """Take and offer keys only where signalling is by TLS: they stand in the SDP for all to read. Over UDP
    and TCP `optional` is then off, and `required` refuses."""
    srtp_suites: tuple[str, ...] = (
        "AES_CM_128_HMAC_SHA1_80",
        "AEAD_AES_128_GCM",
        "AEAD_AES_256_GCM",
        "AES_CM_128_HMAC_SHA1_32",
    )
    """Ciphers in order of preference for calls that we place; of a caller's offer the first that is here too
    is taken."""
    dtx: bool = False
    """Send comfort noise packets instead of silence to far ends that take them (RFC 3389, G.711 only). Saves
    bandwidth; some carriers take a silent stream for a dead one."""
    inband_dtmf: InbandDtmf = InbandDtmf.AUTO
    """Listen for keys as tones in the audio: auto, where no telephone events were agreed on; on; off. A key
    that comes by several ways counts once. Costs 15 us a frame."""
    dtmf_press_ms: int = 100
    """Length of a key that we press; machines at the far end want 70 at least."""
    dtmf_pause_ms: int = 80
    """Pause between keys that we press."""


@dataclass(slots=True)
class TransmissionStats:
    """What went out."""

    packets: int = 0
    bytes: int = 0  # with RTP headers
    silent: int = 0  # frames that we filled with silence
    dropped: int = 0  # frames that could not be sent: too many at once, or of the wrong size
    errors: int = 0  # refused by the network


@dataclass(slots=True)
class MediaStats:
    """Of one call, both ways."""

    received: ReceptionStats = field(default_factory=ReceptionStats)
    sent: TransmissionStats = field(default_factory=TransmissionStats)
    srtp: SrtpStats = field(default_factory=SrtpStats)
    cipher: str = ""  # of SRTP; "": plain RTP
    early: int = 0  # packets before the call was answered

    def fields(self) -> dict[str, object]:
        """Flat, for the timeline: received_lost, sent_packets, ..."""
        return {
            **{f"received_{k}": v for k, v in asdict(self.received).items()},
            **{f"sent_{k}": v for k, v in asdict(self.sent).items()},
            **{f"srtp_{k}": v for k, v in asdict(self.srtp).items()},
            "cipher": self.cipher,
            "early": self.early,
        }


@dataclass(frozen=True, slots=True)
class BadNetwork:
    """A network that is made worse, for tests by simulated callers."""

    sent: Channel
    received: Channel


class RtpMedia:
    """What the legs of a process share: ports, clock, codecs."""

    def __init__(self, config: RtpConfig, metronome: Metronome) -> None:
        """Raises ValueError for a codec or cipher that does not exist, a bad network or an empty port range;
        MissingExtra if SRTP is wanted and not installed."""
        self.config, self.metronome = config, metronome
        self.ports = RtpPorts(config.host, config.first_port, config.last_port)
        try:
            self.codecs: tuple[Codec, ...] = tuple(codec(name) for name in config.codecs)
        except KeyError as e:
            raise ValueError(f"unknown codec {e.args[0]!r} in codecs") from None
        if unknown := [suite for suite in config.srtp_suites if suite not in SUITES]:
            raise ValueError(f"unknown cipher {unknown[0]!r} in srtp_suites; known: {', '.join(SUITES)}")
        if config.srtp is not SrtpPolicy.OFF:
            library()
        self.trusted = tuple(ip_network(n) for n in config.trusted_networks)
        self.network: BadNetwork | None = None
