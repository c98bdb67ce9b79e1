"""A sound file, or a stretch of a call, through the ears of the server: what was said, and when.

The detector cuts the sound into utterances as in a call, and each is waited for before the next one
goes in, so that a file can be heard faster than it was spoken without anything being dropped.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from dialog.breaker import Switched
from dialog.turn import SpeechStarted, SpeechStopped, Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.frames import AudioFormat, AudioFrame
from media.stt.base import SpeechToText, SttStream
from media.vad import webrtc
from voicegw.phone.sound import Sound

PTIME_MS = 20
END_SILENCE_MS = 500  # as in a call: TurnPolicy.end_silence_ms
ANYTHING = Hints()
LEAD_MS = 400  # of silence before the start, which recognisers and detectors like to hear
FLUSH_MS = 700  # and after the end, which closes the last utterance


@dataclass(frozen=True, slots=True)
class Utterance:
    """One stretch of speech and what was understood of it."""

    start_ms: int
    end_ms: int
    transcript: Transcript


def for_files(options: Any, *, dictation: bool = False) -> Any:
    """An engine's options, changed for work that is not live: nothing may be dropped for being late, and
    in dictation nothing be rejected, since nothing in particular is expected."""
    if not is_dataclass(options) or isinstance(options, type):
        return options
    names = {field.name for field in fields(options)}
    changes: dict[str, float] = dict.fromkeys(names & {"queue_ms", "final_timeout_ms"}, 600_000)
    if dictation:
        changes |= dict.fromkeys(names & {"reject", "free_reject"}, -1.0)
    return replace(options, **changes)


async def transcribe(
    engine: SpeechToText,
    domain: Domain,
    sound: Sound,
    hints: Hints = ANYTHING,
    on_progress: Callable[[int], None] = lambda ms: None,
) -> AsyncGenerator[Utterance, None]:
    """The utterances of `sound`, in order. `on_progress` is told how many ms have been heard.

    `domain` must have been prepared, `sound` be at 8 or 16 kHz. Close the iterator where it is used.
    Raises ProviderError.
    """
    detector = webrtc.create(webrtc.Config(hangover_ms=END_SILENCE_MS))
    async with engine.stream(AudioFormat(sound.rate, PTIME_MS), domain) as ears:
        ears.expect(hints)
        finals = aiter(ears)
        started = 0
        for frame in _frames(sound):
            now = round(1000 * frame.end / frame.rate) - LEAD_MS
            ears.push(frame)
            match detector.process(frame):
                case SpeechStarted(ago_ms):
                    started = max(0, now - ago_ms)
                    ears.begin()
                case SpeechStopped(ago_ms):
                    yield Utterance(started, min(now - ago_ms, sound.ms), await _final(ears, finals))
            on_progress(max(0, min(now, sound.ms)))


async def _final(ears: SttStream, transcripts: AsyncIterator[Transcript | Switched]) -> Transcript:
    ears.finish()
    async for transcript in transcripts:
        if isinstance(transcript, Transcript) and transcript.final:
            return transcript
    raise ProviderError("the recogniser ended before it had answered")


def _frames(sound: Sound) -> Iterator[AudioFrame]:
    size = sound.rate * PTIME_MS // 1000
    before, after = (np.zeros(sound.rate * ms // 1000, np.int16) for ms in (LEAD_MS, FLUSH_MS))
    samples = np.concatenate([before, sound.samples, after])
    for at in range(0, len(samples) - size + 1, size):
        yield AudioFrame(samples[at : at + size].astype("<i2").tobytes(), sound.rate, at)
