"""What the caller says, as audio: from a synthesiser or from a file.

flite is preferred where it is installed, since recognisers (and people) understand it better than
espeak; its voices are slt, rms, awb and more. "espeak" or "espeak:en-gb" names a voice of espeak-ng; any
other speech engine of the server likewise, by its name and that of its voice.
Spoken lines are brought to -24 dBov, the level of a person who holds the phone right, and begin and
end with speech, so that delays are measured to the syllable.
"""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from media.errors import MediaError
from media.providers import known, load
from media.tts.base import TextToSpeech
from voicegw.errors import VoicegwError

LEVEL_DBOV = -24.0
AUDIBLE = 10**-3.5  # of the loudest 10 ms: 35 dB below it
DEFAULT_VOICES = ("slt", "espeak:en-us")  # the first that is installed

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono audio."""

    samples: Samples
    rate: int  # Hz

    @property
    def ms(self) -> int:
        """Length."""
        return round(1000 * len(self.samples) / self.rate)

    def at(self, rate: int) -> "Sound":
        """The same at another rate."""
        if rate == self.rate or not len(self.samples):
            return Sound(self.samples, rate)
        return Sound(_int16(soxr.resample(self.samples.astype(np.float32), self.rate, rate)), rate)

    def audible(self) -> tuple[int, int]:
        """Where something can be heard: first and last, in ms. (0, 0) for silence."""
        step = self.rate // 100
        count = len(self.samples) // step
        power = np.mean(self.samples[: count * step].reshape(count, step).astype(np.float64) ** 2, axis=1)
        loud = np.nonzero(power > max(power.max(initial=0) * AUDIBLE, 1))[0]
        return (int(loud[0]) * 10, int(loud[-1] + 1) * 10) if len(loud) else (0, 0)

    def trimmed(self) -> "Sound":
        """Without the silence around it."""
        start, end = self.audible()
        return Sound(self.samples[start * self.rate // 1000 : end * self.rate // 1000], self.rate)

    def levelled(self, dbov: float = LEVEL_DBOV) -> "Sound":
        """At a level that a phone line carries."""
        loud = np.abs(self.samples) > 0.02 * np.abs(self.samples).max(initial=0)
        if not loud.any():
            return self
        rms = float(np.sqrt(np.mean(self.samples[loud].astype(np.float64) ** 2)))
        return Sound(_int16(self.samples.astype(np.float32) * (32768 * 10 ** (dbov / 20) / rms)), self.rate)


def read_sound(file: Path, channel: int | None = None) -> Sound:
    """Any format that libsndfile knows; channels are mixed, or one is taken (from 1). Raises VoicegwError."""
    try:
        data, rate = soundfile.read(str(file), dtype="int16", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise VoicegwError(f"{file} cannot be read as sound: {error}") from error
    count = data.shape[1]
    if channel is not None and channel > count:
        raise VoicegwError(f"{file} has no channel {channel}, only {count}")
    if channel is not None or count == 1:
        return Sound(data[:, (channel or 1) - 1], int(rate))
    return Sound(data.mean(axis=1).astype(np.int16), int(rate))


def write_wav(file: Path, channels: list[Samples], rate: int) -> None:
    """16-bit WAV; shorter channels are filled up with silence. Raises VoicegwError."""
    length = max(map(len, channels), default=0)
    data = np.stack([np.pad(channel, (0, length - len(channel))) for channel in channels], axis=1)
    try:
        soundfile.write(str(file), data, rate, subtype="PCM_16", format="WAV")
    except (OSError, soundfile.LibsndfileError) as error:
        raise VoicegwError(f"{file} cannot be written: {error}") from error


Speak = Callable[[str], Awaitable[Sound]]


def find_voice(name: str = "") -> Speak:
    """What speaks with this voice; "" for the best that is installed. Raises VoicegwError."""
    if not name:
        name = next(voice for voice in DEFAULT_VOICES if voice.startswith("espeak") or shutil.which("flite"))
    engine, _, voice = name.partition(":")
    if engine in known("tts"):
        return _engine(engine, voice)
    if not shutil.which("flite"):
        raise VoicegwError(
            f"voice {name} is flite's, which is not installed: apt install flite, or use espeak"
        )
    # flite takes any name, and speaks with another voice than asked for.
    listed = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=False).stdout
    voices = sorted(set(listed.partition(":")[2].split()))
    if name not in voices:
        engines = " and ".join(known("tts"))
        raise VoicegwError(
            f"there is no voice {name!r}; flite has {', '.join(voices)}, and there is {engines}"
        )
    return lambda text: _flite(text, name)


def _engine(name: str, voice: str) -> Speak:
    provider = load("tts", name)
    options = {"voice": voice} if voice else {}
    try:
        engine: TextToSpeech = provider.create(provider.config(**options))
    except (MediaError, TypeError) as error:
        raise VoicegwError(f"voice {name}:{voice}: {error}") from error

    async def speak(text: str) -> Sound:
        async with aclosing(engine.synthesize(text)) as speech:
            pcm = b"".join([chunk.pcm async for chunk in speech])
        return Sound(np.frombuffer(pcm, "<i2"), engine.rate).trimmed().levelled()

    return speak


async def _flite(text: str, voice: str) -> Sound:
    with tempfile.NamedTemporaryFile(suffix=".wav") as out:
        flite = await asyncio.create_subprocess_exec(
            *("flite", "-voice", voice, "-t", text, "-o", out.name),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaint = await flite.communicate()
        if flite.returncode != 0:
            raise VoicegwError(f"flite failed: {complaint.decode(errors='replace').strip()}")
        return read_sound(Path(out.name)).trimmed().levelled()


def _int16(samples: npt.NDArray[np.float32]) -> Samples:
    return np.clip(np.round(samples), -32768, 32767).astype(np.int16)
