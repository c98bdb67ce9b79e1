"""G.711 mu-law and A-law (ITU-T G.711), by table: 64 Ki entries to encode, 256 to decode."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from media.codecs import Codec, Coder


def _ulaw_sample(byte: int) -> int:
    # G.711, table 2a: inverted bits, sign, 3 bits of segment, 4 of step; biased by 33 steps of 4.
    byte = ~byte & 0xFF
    value = (((byte & 0x0F) << 3) + 0x84) << ((byte & 0x70) >> 4)
    return 0x84 - value if byte & 0x80 else value - 0x84


def _alaw_sample(byte: int) -> int:
    # G.711, table 1a: even bits inverted; the first segment is linear.
    byte ^= 0x55
    value = (byte & 0x0F) << 4
    segment = (byte & 0x70) >> 4
    value = value + 8 if segment == 0 else (value + 0x108) << (segment - 1)
    return value if byte & 0x80 else -value


def _encode_table(levels: NDArray[np.int16], zero: int) -> NDArray[np.uint8]:
    """The nearest level for each of the 65536 samples, indexed by the sample's two's complement."""
    order = np.argsort(levels, kind="stable")
    ascending = levels[order].astype(np.int32)
    # A sample on the boundary belongs to the level further from zero, as in the standard's tables.
    middles = (ascending[:-1] + ascending[1:]) / 2
    pcm = np.arange(-32768, 32768)
    nearest = np.where(
        pcm >= 0,
        np.searchsorted(middles, pcm, side="right"),
        np.searchsorted(middles, pcm, side="left"),
    )
    table = np.empty(65536, dtype=np.uint8)
    table[pcm & 0xFFFF] = order[nearest]
    table[0] = zero  # mu-law has two zeros; silence on the wire is the positive one
    return table


def _codec(name: str, payload_type: int, sample: Callable[[int], int], zero: int) -> Codec:
    levels = np.array([sample(byte) for byte in range(256)], dtype="<i2")
    table = _encode_table(levels, zero)

    def encode(pcm: bytes) -> bytes:
        payload: bytes = table[np.frombuffer(pcm, "<u2")].tobytes()
        return payload

    def decode(payload: bytes) -> bytes:
        return levels[np.frombuffer(payload, np.uint8)].tobytes()

    def encoder() -> Coder:
        return encode

    def decoder() -> Coder:
        return decode

    return Codec(name, payload_type, 8000, 8000, 1, encoder, decoder, stateless=True)


PCMU = _codec("PCMU", 0, _ulaw_sample, 0xFF)
PCMA = _codec("PCMA", 8, _alaw_sample, 0xD5)
