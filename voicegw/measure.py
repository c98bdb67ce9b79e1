"""A voice that is measured: the same port, with its time and its failures counted."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from media.errors import ProviderError
from media.tts.base import Speech, TextToSpeech
from voicegw.metrics import Metrics


class MeasuredVoice:
    """Wraps the engine that all calls share. Costs one generator step a chunk."""

    def __init__(self, voice: TextToSpeech, metrics: Metrics) -> None:
        self._voice, self._metrics = voice, metrics

    @property
    def rate(self) -> int:
        """Hz of what `synthesize` yields."""
        return self._voice.rate

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak one sentence. Raises ProviderError."""
        metrics, clock = self._metrics, asyncio.get_running_loop().time
        asked, first, result = clock(), True, "cut"
        try:
            async with aclosing(self._voice.synthesize(text)) as speech:
                async for chunk in speech:
                    metrics.tts_busy.inc(clock() - asked)
                    if first:
                        metrics.tts_first.observe(clock() - asked)
                        first = False
                    metrics.tts_audio.inc(len(chunk.pcm) / 2 / self._voice.rate)
                    yield chunk
                    asked = clock()
            result = "done"
        except ProviderError:
            result = "failed"
            metrics.errors.labels("tts").inc()
            raise
        finally:
            metrics.tts_requests.labels(result).inc()

    async def close(self) -> None:
        """Free the engine."""
        await self._voice.close()
