"""Keys pressed by sound (ITU-T Q.23): for lines that carry nothing but audio."""

import numpy as np

from media.dtmf import valid_keys

_ROWS, _COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)  # Hz; ITU-T Q.23, table 1
_KEYS = ("123A", "456B", "789C", "*0#D")
LEVEL = 32767 * 10 ** (
    -9 / 20
)  # each tone; ITU-T Q.24 wants -3 to -24 dBm, two of them stay below full scale
RAMP_MS = 2  # no click at either end


def key_tones(digits: str, rate: int, press_ms: int = 100, pause_ms: int = 80) -> bytes:
    """The sound of these keys, a pause after each: s16le at `rate` Hz. Raises ValueError for no key."""
    times = np.arange(rate * press_ms // 1000) / rate
    ramp = np.minimum(1.0, np.minimum(times, times[::-1]) * 1000 / RAMP_MS)
    pause = bytes(2 * (rate * pause_ms // 1000))
    out = bytearray()
    for key in valid_keys(digits):
        row = next(n for n, keys in enumerate(_KEYS) if key in keys)
        low, high = _ROWS[row], _COLUMNS[_KEYS[row].index(key)]
        wave = np.sin(2 * np.pi * low * times) + np.sin(2 * np.pi * high * times)
        out += (LEVEL * ramp * wave).astype("<i2").tobytes() + pause
    return bytes(out)
