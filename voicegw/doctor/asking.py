"""Asks engines as a call would: a voice speaks, and the others hear what it has said."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

import numpy as np

from dialog.errors import DialogError
from dialog.llm.base import LanguageModel, LlmRequest, Message, Role, Text
from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.denoise.base import Denoiser
from media.eot.base import EndOfTurn
from media.errors import UNREADABLE, MediaError, ProviderError
from media.frames import AudioFormat, AudioFrame
from media.resample import Resampler
from media.stt.base import SpeechToText
from media.tts.base import TextToSpeech
from media.vad.base import VoiceDetector

Use = Callable[[Any], Awaitable[str]]
"""Asks an engine; returns what came of it, for people. Raises what `WRONG` lists."""
WRONG = (MediaError, DialogError, OSError, *UNREADABLE)  # TimeoutError is an OSError

SCORE_S = 5.0  # no caller pauses for longer
PHRASE = "Yes, please."
HINTS = Hints(phrases=("yes please",))
FORMAT = AudioFormat()
ASKED = LlmRequest(
    [Message(Role.SYSTEM, "You answer with one word."), Message(Role.USER, "Say yes.")], max_tokens=16
)


class Asking:
    """What is asked, and the sound of the first voice that spoke. Belongs to one loop."""

    def __init__(self) -> None:
        noise = np.random.default_rng(1).normal(0, 500, FORMAT.rate)
        self._sound = noise.astype("<i2").tobytes()  # until a voice has spoken
        self._spoken = False

    async def speak(self, voice: TextToSpeech) -> str:
        """A voice says a sentence."""
        clock = Clock()
        first, pcm = 0, bytearray()
        async with aclosing(voice.synthesize(PHRASE)) as speech:
            async for chunk in speech:
                first = first or clock.ms
                pcm += chunk.pcm
        if not pcm:
            raise ProviderError("said nothing")
        if not self._spoken:
            resampler = Resampler(voice.rate, FORMAT.rate)
            self._sound, self._spoken = resampler.process(bytes(pcm)) + resampler.flush(), True
        return f"speaks after {first} ms"

    def hear(self, language: str) -> Use:
        """A recogniser hears it. What it makes of it is its flow's affair; that it answers is ours."""
        domain = Domain("doctor", language, (HINTS,))

        async def ask(ears: SpeechToText) -> str:
            await ears.prepare(domain)
            async with ears.stream(FORMAT, domain) as stream:
                stream.expect(HINTS)
                stream.begin()
                for frame in self._frames():
                    stream.push(frame)
                clock = Clock()
                stream.finish()
                async for heard in stream:
                    if isinstance(heard, Transcript) and heard.final:
                        return f"answers after {clock.ms} ms"
            raise ProviderError("heard an utterance and said nothing of it")

        return ask

    async def detect(self, detector: VoiceDetector) -> str:
        """A detector of speech listens."""
        for frame in self._frames():
            detector.process(frame)
        return "listens"

    async def suppress(self, denoiser: Denoiser) -> str:
        """Noise suppression hands on as much as it got."""
        for frame in self._frames():
            if len(denoiser.process(frame).pcm) != len(frame.pcm):
                raise ProviderError("hands on frames of another length than it gets")
        return "listens"

    async def judge(self, estimate: EndOfTurn) -> str:
        """The end of a turn is estimated once."""
        score: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        clock = Clock()

        def post(value: float) -> None:
            if not score.done():
                score.set_result(value)

        stream = estimate.stream(FORMAT, post)
        try:
            stream.expect(HINTS, "en-US")
            stream.begin()
            for frame in self._frames():
                stream.push(frame)
            stream.partial(Transcript("yes please", final=False))
            stream.paused()
            async with asyncio.timeout(SCORE_S):
                value = await score
        except TimeoutError:
            raise ProviderError(f"says nothing of a pause of {SCORE_S:g} s") from None
        finally:
            stream.close()
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise ProviderError(f"says {value}, not 0 to 1")
        return f"judges after {clock.ms} ms"

    async def answer(self, model: LanguageModel) -> str:
        """A language model says a word."""
        await model.prepare(ASKED)
        clock, first = Clock(), 0
        async with aclosing(model.generate(ASKED)) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, Text) and chunk.text:
                    first = first or clock.ms
        return f"answers after {first or clock.ms} ms"

    def _frames(self) -> Iterator[AudioFrame]:
        """The sound, and half a second of silence."""
        size, pcm = FORMAT.size, self._sound + bytes(FORMAT.rate)
        for at in range(0, len(pcm) - size + 1, size):
            yield AudioFrame(pcm[at : at + size], FORMAT.rate, at // 2)


class Clock:
    """Begins now."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()

    @property
    def ms(self) -> int:
        """Since then; never 0."""
        return max(1, round((self._loop.time() - self._began) * 1000))
