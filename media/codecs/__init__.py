"""Audio codecs: one module each, found by the name that SDP gives them.

A codec turns 16-bit PCM into the payload of an RTP packet and back. Where the rate is constant, a packet
may be cut or joined at any multiple of one clock tick (`Codec.octets` bytes).
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from media.errors import MissingExtra

Coder = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Codec:
    """One encoding. `encoder` and `decoder` make a fresh coder: state belongs to a call and direction."""

    name: str  # SDP encoding name: "PCMU"
    payload_type: int | None  # static (RFC 3551, table 4); None: dynamic
    clock: int  # Hz of the RTP timestamp; not always the audio's rate (G722)
    rate: int  # Hz of the audio
    octets: int  # bytes of payload per tick of the RTP clock; 0: varies
    encoder: Callable[[], Coder]  # s16le PCM -> payload
    decoder: Callable[[], Coder]  # payload -> s16le PCM; cuts what is not a whole sample
    stateless: bool  # equal PCM gives an equal payload
    duration: Callable[[bytes], int] | None = None  # ticks of a payload, where that is not by its length
    channels: int = 1  # as SDP has it: Opus says 2 whatever it carries (RFC 7587, section 7)
    parameters: str = ""  # of SDP's fmtp: what we would like to receive

    @property
    def encoding(self) -> str:
        """As in SDP's rtpmap: "PCMU/8000"."""
        return f"{self.name}/{self.clock}"

    def ticks(self, payload: bytes) -> int:
        """How long a payload plays; 0 for what cannot be of this codec."""
        return len(payload) // self.octets if self.duration is None else self.duration(payload)

    def size(self, ticks: int) -> int:
        """Bytes of PCM in so many ticks of the RTP clock."""
        return 2 * -(-ticks * self.rate // self.clock)


# SDP name in upper case -> module, attribute. Modules are imported when a codec is first asked for.
_WHERE = {
    "PCMU": ("g711", "PCMU"),
    "PCMA": ("g711", "PCMA"),
    "G722": ("g722", "G722"),
    "L16": ("l16", "L16_8000"),
    "L16/8000": ("l16", "L16_8000"),
    "L16/16000": ("l16", "L16_16000"),
    "OPUS": ("opus", "OPUS"),
}


def codec(name: str) -> Codec:
    """The codec of this SDP name, with "/clock" where one name has several. Raises KeyError, or MissingExtra
    where it needs a package that is not installed."""
    if name.upper() not in _WHERE:
        raise KeyError(name)
    module, attribute = _WHERE[name.upper()]
    try:
        found = getattr(importlib.import_module(f"media.codecs.{module}"), attribute)
    except ModuleNotFoundError as error:
        raise MissingExtra("opus", error.name or module) from error
    assert isinstance(found, Codec)
    return found


def names() -> tuple[str, ...]:
    """All names that `codec` knows."""
    return tuple(_WHERE)
