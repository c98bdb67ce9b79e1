"""Callers made of flite's voices, as a phone line delivers them.

flite (Debian: flite, libflite1) is a synthesiser that the product does not use itself, so what is
understood was really heard. Its clustergen voices slt (female), rms and awb (male, awb Scottish)
are understood about as well as people; espeak is not, so test callers never use it. A line carries
speech at -26 dBov (ITU-T P.56), faint noise, and mu-law (ITU-T G.711) or, at 16 kHz, linear PCM.

Run `python -m tests.callers OUT.wav "text" [voice]` to write what a caller says into a file.
"""

import ctypes
import os
import sys
import wave
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soxr

from media.frames import AudioFrame

Samples = npt.NDArray[np.float32]

VOICES = ("slt", "rms", "awb")
LEVEL_DBOV = -26.0  # active speech level of a normal line
LINE_NOISE = 3.0  # rms, of 32768: a live line is never digital zero


class _Wave(ctypes.Structure):
    """cst_wave of flite."""

    _fields_ = [
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    ]


@cache
def _flite() -> Any:
    try:
        lib = ctypes.CDLL("libflite.so.1", mode=ctypes.RTLD_GLOBAL)
    except OSError as e:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"flite is not installed (apt install flite): {e}")
    for name in ("usenglish", "cmulex"):
        ctypes.CDLL(f"libflite_{name}.so.1", mode=ctypes.RTLD_GLOBAL)
    lib.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
    lib.flite_text_to_wave.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    lib.delete_wave.argtypes = [ctypes.POINTER(_Wave)]
    lib.flite_init()
    return lib


@cache
def _voice(name: str) -> Any:
    _flite()
    register = getattr(ctypes.CDLL(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
    register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    return register(None)


@cache
def speech(text: str, voice: str = "slt") -> tuple[Samples, int]:
    """Studio speech and its rate; the same whatever was spoken before: breath is noise by the C library's
    `rand`, and one syllable more or less of it is enough for a threshold."""
    ctypes.CDLL(None).srand(1)
    pointer = _flite().flite_text_to_wave(text.encode(), _voice(voice))
    made = pointer.contents
    samples = np.ctypeslib.as_array(made.samples, (made.num_samples,)).astype(np.float32)
    rate = int(made.sample_rate)
    _flite().delete_wave(pointer)
    return samples, rate


def mu_law(samples: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """There and back through G.711 mu-law. Written apart from the product's codec on purpose."""
    x = samples.astype(np.int32)
    magnitude = np.minimum(np.abs(x), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    decoded = (((mantissa << 3) + 132) << exponent) - 132
    return np.asarray(np.where(x < 0, -decoded, decoded), dtype=np.int16)


def over_the_line(
    samples: Samples,
    rate: int,
    *,
    to: int = 8000,
    lead_ms: int = 300,
    tail_ms: int = 600,
    snr_db: float | None = None,
) -> bytes:
    """Speech as the far end hears it, s16le at `to` Hz: level, silence around, noise, G.711 at 8 kHz.

    `snr_db` adds white noise that far below the speech; None leaves the faint noise of a good line.
    """
    x = samples.astype(np.float32)
    if rate != to:
        x = np.asarray(soxr.resample(x, rate, to), dtype=np.float32)
    active = x[np.abs(x) > np.abs(x).max() * 0.02]
    full_scale = 32768 * 10 ** (LEVEL_DBOV / 20)
    x = x * np.float32(full_scale / np.sqrt(np.mean(active.astype(np.float64) ** 2)))
    x = np.concatenate([np.zeros(to * lead_ms // 1000), x, np.zeros(to * tail_ms // 1000)]).astype(np.float32)
    noise = LINE_NOISE if snr_db is None else full_scale * 10 ** (-snr_db / 20)
    x = x + np.random.default_rng(0).standard_normal(len(x)).astype(np.float32) * np.float32(noise)
    pcm = np.clip(np.round(x), -32768, 32767).astype(np.int16)
    return (mu_law(pcm) if to == 8000 else pcm).tobytes()


@cache
def caller(
    text: str,
    voice: str = "slt",
    *,
    rate: int = 8000,
    lead_ms: int = 300,
    tail_ms: int = 600,
    snr_db: float | None = None,
) -> bytes:
    """A caller says `text`: s16le mono at `rate`, silence of `lead_ms` before and `tail_ms` after."""
    samples, made_at = speech(text, voice)
    return over_the_line(samples, made_at, to=rate, lead_ms=lead_ms, tail_ms=tail_ms, snr_db=snr_db)


def frames(pcm: bytes, rate: int = 8000, ptime_ms: int = 20, start: int = 0) -> Iterator[AudioFrame]:
    """Cut into whole packet times; a rest shorter than one is left out."""
    size = 2 * rate * ptime_ms // 1000
    for at in range(0, len(pcm) - size + 1, size):
        yield AudioFrame(pcm[at : at + size], rate, start + at // 2)


def write_wav(path: Path, pcm: bytes, rate: int = 8000) -> None:
    """Mono, 16 bits: what baresip's aufile and sipp's rtp_stream play."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm)


if __name__ == "__main__":
    write_wav(Path(sys.argv[1]), caller(sys.argv[2], *sys.argv[3:4]))
