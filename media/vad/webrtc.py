"""Speech by WebRTC's detector (Gaussian mixtures over six bands), with an ear for the line's noise.

The detector alone has three habits that a phone call must not see. A new one takes the first frames
for speech: it is fed half a second of faint noise first. A line noisier than that is speech to it for
four seconds: so a frame also has to stand out from the quietest one of the last second, which speech
does between any two words and noise, hum and tones do not. It holds on after the end for 60 to
100 ms, longer on a quiet line: the same comparison ends that. It learns the line it listens to: one
a call, never reused.

    is_speech and stands out:  . . # # . # # # # # # # # # # . # # . . . . . . . . . .
    reported                                   started            stopped -'
                                 |-- ago_ms --|                 |-- ago_ms --|

Speech is reported once `start_ms` of it came within `window_ms`, silence after `hangover_ms` of it;
both say how long ago the change really was. Shorter bursts are clicks and coughs and go unreported.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import webrtcvad

from dialog.turn import SpeechStarted, SpeechStopped
from media.errors import ProviderError
from media.frames import AudioFrame
from media.vad.base import VoiceDetector

STEP_MS = 20  # what the detector judges at once: it takes 10, 20 or 30
WARM_UP_MS = 500
NOTHING_MS = 300  # before the first packet is heard there is nothing: no measure of how quiet the line is
YOUNG_MS = 6000  # the detector's own models have settled by then
YOUNG_SHARE = 0.6  # of the margin: at 0.7 soft words are lost on a noisy line, at 0.5 wind is speech
FAINT = 26.0**2  # power; -62 dBov: below is silence, whatever it is
RATES = (8000, 16000, 32000, 48000)


@dataclass(frozen=True, slots=True)
class Config:
    """When a caller counts as speaking."""

    mode: int = 2
    """How strict the detector is, 0 to 3. Below 2 it takes noise for speech and ends turns 100 ms late;
    3 loses one word in eight at 10 dB of noise."""
    start_ms: int = 140
    """Speech needed before it is reported, 20 to 240. Shorter sounds are clicks and coughs; from 160 on
    the shortest words ("six") are lost on a noisy line."""
    window_ms: int = 240
    """Within this time, at most 260: recognisers keep 300 ms of audio from before the report."""
    hangover_ms: int = 200
    """Silence before it is reported, 60 to 1000. Shorter tears words apart at their stops; the caller's
    patience is not set here but by `end_silence_ms`, which counts from the true end of speech."""
    margin_db: float = 3.5
    """How far a frame must stand out from the quietest of the last second, 0 to 12. White noise varies
    by 3; at 6 soft syllables are lost on a noisy line. 0: the detector alone. Half of it is enough to
    go on speaking: the ends of words are soft."""
    memory_ms: int = 1000
    """How long the quietest frame is remembered, 400 to 5000: longer than any syllable is held."""


_RANGES = {
    "mode": (0, 3),
    "start_ms": (20, 240),
    "window_ms": (20, 260),
    "hangover_ms": (60, 1000),
    "margin_db": (0, 12),
    "memory_ms": (400, 5000),
}


def create(config: Config) -> VoiceDetector:
    """The detector of one call. Raises ProviderError: value out of range."""
    for name, (low, high) in _RANGES.items():
        if not low <= (value := getattr(config, name)) <= high:
            raise ProviderError(f"webrtc: {name} is {value}, outside of {low} to {high}")
    if config.start_ms > config.window_ms:
        raise ProviderError(
            f"webrtc: start_ms {config.start_ms} does not fit into window_ms {config.window_ms}"
        )
    return WebrtcDetector(config)


class WebrtcDetector:
    """Counts in steps of 20 ms, whatever the packet time is."""

    def __init__(self, config: Config) -> None:
        self._detector = webrtcvad.Vad(config.mode)
        self._is_speech = self._detector.is_speech
        self._start = -(-config.start_ms // STEP_MS)
        self._hangover = -(-config.hangover_ms // STEP_MS)
        self._margin = 10 ** (config.margin_db / 10)
        self._keep_margin = 10 ** (config.margin_db / 20)
        self._young_margin = 10 ** (YOUNG_SHARE * config.margin_db / 10)
        self._powers: deque[float] = deque(maxlen=config.memory_ms // STEP_MS)
        self._recent: deque[bool] = deque(maxlen=max(1, config.window_ms // STEP_MS))
        self._rate = 0
        self._size = 0  # bytes a step
        self._rest = b""  # of a packet that is no multiple of a step
        self._end = -1  # samples: where the last frame ended
        self._speaking = False
        self._silent = 0  # steps without speech, while speaking
        self._nothing = NOTHING_MS // STEP_MS  # steps that may pass before the first sound of the line
        self._young = YOUNG_MS // STEP_MS  # steps until the detector knows the line
        self._slopes: deque[float] = deque(maxlen=config.memory_ms // STEP_MS)

    def process(self, frame: AudioFrame) -> SpeechStarted | SpeechStopped | None:
        """Take one frame in order; report a change. A gap in `pts` counts as silence."""
        if frame.rate != self._rate:
            self._set_rate(frame.rate)
        gap = frame.pts - self._end if self._end >= 0 else 0
        self._end = frame.end
        change = self._lost(gap) if gap > 0 else None
        pcm = frame.pcm
        if self._rest or len(pcm) != self._size:
            return self._split(self._rest + pcm) or change
        return self._step(pcm) or change

    def _split(self, pcm: bytes) -> SpeechStarted | SpeechStopped | None:
        """Any packet time. The last change counts: a packet of 100 ms cannot hold two."""
        change, at = None, 0
        for at in range(0, len(pcm) - self._size + 1, self._size):
            change = self._step(pcm[at : at + self._size]) or change
        used = len(pcm) // self._size * self._size
        self._rest = pcm[used:]
        return change

    def _step(self, pcm: bytes) -> SpeechStarted | SpeechStopped | None:
        samples = np.frombuffer(pcm, np.int16).astype(np.float32)
        power = float(np.dot(samples, samples)) / len(samples)
        if self._nothing:
            if power == 0:
                self._nothing -= 1
                return None
            self._nothing = 0
        powers = self._powers
        powers.append(power if power > FAINT else FAINT)
        margin = self._keep_margin if self._speaking else self._margin
        heard = self._is_speech(pcm, self._rate) and power > min(powers) * margin
        if self._young:
            heard = self._bright(samples) and heard
        return self._count(heard)

    def _bright(self, samples: npt.NDArray[np.float32]) -> bool:
        """Whether the frame stands out by its higher tones, too: the low ones of hum, wind and traffic vary
        like speech, and a young detector takes them for it."""
        self._young -= 1
        slopes = np.diff(samples)
        power = max(float(np.dot(slopes, slopes)) / len(slopes), FAINT)
        self._slopes.append(power)
        return power > min(self._slopes) * self._young_margin

    def _count(self, heard: bool) -> SpeechStarted | SpeechStopped | None:
        if self._speaking:
            if heard:
                self._silent = 0
                return None
            self._silent += 1
            if self._silent < self._hangover:
                return None
            self._speaking = False
            self._recent.clear()
            return SpeechStopped(self._silent * STEP_MS)
        recent = self._recent
        recent.append(heard)
        if not heard or recent.count(True) < self._start:
            return None
        self._speaking, self._silent = True, 0
        return SpeechStarted((len(recent) - recent.index(True)) * STEP_MS)

    def _lost(self, gap: int) -> SpeechStarted | SpeechStopped | None:
        """Lost packets, or a phone that sends nothing while its owner is silent."""
        self._rest = b""
        change = None
        for _ in range(min(gap * 1000 // self._rate // STEP_MS, self._hangover)):
            change = self._count(False) or change
        return change

    def _set_rate(self, rate: int) -> None:
        if rate not in RATES:
            raise ProviderError(f"webrtc: cannot listen at {rate} Hz, only at {', '.join(map(str, RATES))}")
        self._rate, self._size = rate, 2 * rate * STEP_MS // 1000
        self._rest = b""
        noise = _faint_noise(rate)
        for at in range(0, len(noise), self._size):
            self._is_speech(noise[at : at + self._size], rate)


@cache
def _faint_noise(rate: int) -> bytes:
    noise = np.random.default_rng(0).standard_normal(rate * WARM_UP_MS // 1000) * 20
    return noise.astype("<i2").tobytes()
