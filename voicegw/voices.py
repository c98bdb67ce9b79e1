"""What the server speaks with: voices in order, one for each language, the prompts that they keep, and what
is spoken before anybody asks."""

import logging
from collections.abc import Iterable
from pathlib import Path

from dialog.flow.engine import FlowEngine
from dialog.flow.foresee import first_words
from dialog.flow.model import Flow
from dialog.types import DialogEngine
from media.tts.ahead import Foresight
from media.tts.base import TextToSpeech
from media.tts.cache import CachedVoice, PromptCache, identity
from media.tts.promptdisk import PromptDisk
from voicegw import clock, engines
from voicegw.config import Config
from voicegw.config.model import Engine
from voicegw.errors import StartError
from voicegw.flows import Conversation, domain_of
from voicegw.health import Health
from voicegw.measure import MeasuredVoice
from voicegw.metrics import Metrics
from voicegw.watch import watch_engine, watch_prompts

log = logging.getLogger(__name__)


class Voices:
    """Made once. `look_ahead` is the caller's to run; `close` last."""

    def __init__(self, config: Config, data: Path, flows: Iterable[Conversation]) -> None:
        """Raises StartError."""
        self._config, self._flows = config, list(flows)
        languages = sorted({code for flow in self._flows for code in domain_of(flow, config).others})
        self._cached: list[CachedVoice] = []
        self.cache = PromptCache(config.prompts, _disk(config, data))
        self.main = engines.voice(config, self._wrapped)
        main = self._preferred()
        self.by_language = engines.voices(config, self.main, languages, self._wrapped)
        self.engine = main.engine if main is not None and main is self.main else self.main
        ahead = {} if main is None else {"": main.ahead}
        ahead |= {c: voice.ahead for c, voice in self.by_language.items() if isinstance(voice, CachedVoice)}
        self.foresight = Foresight(ahead, config.prompts.ahead)

    def measured(self, metrics: Metrics) -> dict[str, TextToSpeech]:
        """The voices for other languages, with what they do counted."""
        return {code: MeasuredVoice(voice, metrics) for code, voice in self.by_language.items()}

    def watch(self, metrics: Metrics, health: Health) -> None:
        """Count what voice and cache do."""
        watch_engine("tts", self.engine, metrics, health)
        watch_prompts(self.cache, metrics)

    async def look_ahead(self) -> None:
        """Prepare what the flows begin with, and what conversations may say next. Until cancelled."""
        for flow in self._flows:
            if self._looks_ahead and isinstance(flow, Flow):
                self.foresight.want(first_words(flow, clock.local(self._config.timezone)))
        await self.foresight.run()

    def follow(self, dialog: DialogEngine) -> None:
        """Prepare what this conversation may say next, turn by turn."""
        if self._looks_ahead and isinstance(dialog, FlowEngine):
            dialog.on_listening = self.foresight.want

    async def close(self) -> None:
        """Stop what is being made, and all engines."""
        await self.cache.close()
        await self.main.close()
        for voice in self.by_language.values():
            await voice.close()

    @property
    def _looks_ahead(self) -> bool:
        return bool(self._cached) and self._config.prompts.ahead > 0

    def _wrapped(self, engine: Engine, voice: TextToSpeech) -> TextToSpeech:
        """With a memory, where that brings anything."""
        enabled = self._config.prompts.enabled
        if enabled is None:
            enabled = not getattr(voice, "instant", False)
        if not enabled:
            return voice
        options = engines.located(engine.options, engines.models_of(self._config))
        cached = CachedVoice(voice, identity(engine.engine, options), self.cache)
        self._cached.append(cached)
        return cached

    def _preferred(self) -> CachedVoice | None:
        """The voice that speaks while all is well, if it has a memory."""
        first = self.main
        members = getattr(first, "members", None)
        if members is not None:
            first = members.first.engine
        return first if isinstance(first, CachedVoice) else None


def _disk(config: Config, data: Path) -> PromptDisk | None:
    if not config.prompts.disk_mb or config.prompts.enabled is False:
        return None
    folder = data / "prompts"
    try:
        return PromptDisk(folder, config.prompts.disk_mb << 20)
    except OSError as error:
        raise StartError(
            f"prompts: {folder} cannot be used: {error.strerror}; see prompts.disk_mb"
        ) from error
