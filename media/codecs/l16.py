"""L16: uncompressed 16-bit samples, big endian on the wire (RFC 3551, section 4.5.11).

Its static payload types are for 44.1 kHz, so telephony rates have dynamic ones.
"""

import numpy as np

from media.codecs import Codec, Coder


def _swap(data: bytes) -> bytes:
    return np.frombuffer(data, "<i2", count=len(data) // 2).byteswap().tobytes()


def _coder() -> Coder:
    return _swap


L16_8000 = Codec("L16", None, 8000, 8000, 2, _coder, _coder, stateless=True)
L16_16000 = Codec("L16", None, 16000, 16000, 2, _coder, _coder, stateless=True)
