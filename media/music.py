"""What somebody hears who waits: a tune, a ringing tone, a file. A core but for the reading of files.

Sources are made once for each name and rate and shared; each listener has a place of his own in them.
"""

import wave
from functools import lru_cache
from pathlib import Path

import numpy as np

from media.errors import MediaError
from media.resample import Resampler

LEVEL = 2600  # of 32768, -22 dBov: below speech, which it must not drown
RING_HZ, RING_ON_S, RING_OFF_S = 425, 1.0, 4.0  # ETSI TR 101 041; no country minds
FADE_S = 0.01
LONGEST_S = 600  # of a file: 19 MB at 16 kHz
# A slow tune in C, an eighth each; pairs of notes in MIDI numbers, upper and lower voice.
TUNE = (
    *((72, 48), (76, 55), (79, 60), (76, 55), (74, 53), (77, 57), (81, 60), (77, 57)),
    *((71, 50), (74, 55), (79, 59), (74, 55), (72, 48), (76, 52), (79, 55), (76, 52)),
)
NOTE_S = 0.5


class Music:
    """One listener's place in an endless sound."""

    def __init__(self, pcm: bytes, frame_size: int) -> None:
        """`frame_size` in bytes. Empty `pcm` is silence."""
        self._pcm, self._size, self._at = pcm, frame_size, 0

    def frame(self) -> bytes:
        """The next one."""
        if not self._pcm:
            return bytes(self._size)
        frame = self._pcm[self._at : self._at + self._size]
        self._at += self._size
        if len(frame) < self._size:
            self._at = self._size - len(frame)
            frame += self._pcm[: self._at]
        return frame


def music(name: str, rate: int) -> Music:
    """`music`, `ringing`, `silence`, or the path of a WAV file, at this rate in Hz. Raises MediaError if the
    file cannot be used."""
    return Music(_sound(name, rate), rate // 25)


@lru_cache(maxsize=32)
def _sound(name: str, rate: int) -> bytes:
    if name == "silence":
        return b""
    if name == "ringing":
        return _ringing(rate)
    return _tune(rate) if name == "music" else _file(Path(name), rate)


def _file(path: Path, rate: int) -> bytes:
    try:
        with wave.open(str(path)) as wav:
            if wav.getsampwidth() != 2:
                raise MediaError(f"{path}: {8 * wav.getsampwidth()} bits a sample; 16 are needed")
            own, channels = wav.getframerate(), wav.getnchannels()
            data = wav.readframes(min(wav.getnframes(), own * LONGEST_S))
    except (OSError, EOFError, wave.Error) as error:
        raise MediaError(f"{path} is no WAV file that can be played: {error}") from error
    samples = np.frombuffer(data, "<i2")[: len(data) // (2 * channels) * channels]
    mono = samples.reshape(-1, channels).mean(axis=1).astype("<i2").tobytes()
    resampler = Resampler(own, rate)
    return resampler.process(mono) + resampler.flush()


def _ringing(rate: int) -> bytes:
    on = np.arange(int(rate * RING_ON_S)) / rate
    tone = np.sin(2 * np.pi * RING_HZ * on) * LEVEL
    edge = np.clip(np.minimum(on, RING_ON_S - on) / FADE_S, 0, 1)
    return (tone * edge).astype("<i2").tobytes() + bytes(2 * int(rate * RING_OFF_S))


def _tune(rate: int) -> bytes:
    """Two soft voices; each note rings on into the next."""
    length = int(rate * NOTE_S)
    out = np.zeros(length * len(TUNE))
    t = np.arange(4 * length) / rate
    for number, (upper, lower) in enumerate(TUNE):
        for note, share in ((upper, 0.5), (lower, 0.5)):
            hertz = 440 * 2 ** ((note - 69) / 12)
            sound = np.sin(2 * np.pi * hertz * t) + 0.3 * np.sin(4 * np.pi * hertz * t)
            sound *= np.minimum(t / FADE_S, 1) * np.exp(-2.5 * t) * share * LEVEL
            place = (np.arange(len(t)) + number * length) % len(out)  # so the end leads into the beginning
            out[place] += sound
    return out.astype("<i2").tobytes()
