"""What the server speaks with: voices in order, one for each language, the prompts that they keep, and what
is spoken before anybody asks."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from dialog.flow.engine import FlowEngine
from dialog.flow.foresee import first_words
from dialog.flow.model import Flow
from dialog.lexicon import Entry, Lexicon, LexiconError, load, make
from dialog.types import DialogEngine
from media.fallback.voice import FallbackVoice
from media.tts.ahead import Foresight
from media.tts.base import Expressive, TextToSpeech
from media.tts.cache import CachedVoice, PromptCache, identity
from media.tts.promptdisk import PromptDisk
from media.tts.spoken import SpokenVoice
from media.tts.tongues import WORDS
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
        self._cached = False
        self._lexicon = _lexicon(config)
        self.cache = PromptCache(config.prompts, _disk(config, data))
        self.main = engines.voice(config, self._wrapped)
        main = self._preferred()
        self.by_language = engines.voices(config, self.main, languages, self._wrapped)
        self.engine = _bare(self.main)
        ahead = {} if main is None else {"": main.ahead}
        ahead |= {c: voice.ahead for c, voice in self.by_language.items() if isinstance(voice, SpokenVoice)}
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
        return self._cached and self._config.prompts.ahead > 0

    def _wrapped(self, engine: Engine, voice: TextToSpeech) -> TextToSpeech:
        """With a memory, where that brings anything."""
        enabled = self._config.prompts.enabled
        if enabled is None:
            enabled = not getattr(voice, "instant", False)
        speech, tags = self._config.speech, voice.tags if isinstance(voice, Expressive) else frozenset[str]()
        reads = not speech.normalize.get(engine.engine, not getattr(voice, "normalises", False))
        language = speech.language or _language(engine)
        if enabled:
            options = engines.located(engine.options, engines.models_of(self._config))
            voice = CachedVoice(voice, identity(engine.engine, options), self.cache)
            self._cached = True
        return SpokenVoice(voice, language, self._lexicon, normalised=reads, tags=tags)

    def _preferred(self) -> SpokenVoice | None:
        """The voice that speaks while all is well."""
        first = self.main.members.first.engine if isinstance(self.main, FallbackVoice) else self.main
        return first if isinstance(first, SpokenVoice) else None


def _bare(voice: TextToSpeech) -> TextToSpeech:
    """The engine that is counted."""
    if isinstance(voice, SpokenVoice):
        voice = voice.voice
    return voice.engine if isinstance(voice, CachedVoice) else voice


_CODE = re.compile(r"(?:^|[-_/])([a-z]{2,3}(?:[-_][A-Za-z]{2})?)(?=$|[-_+.])")


def _language(engine: Engine) -> str:
    """That of the voice, by its settings; else English."""
    for name in ("language", "voice", "model"):
        text = str(getattr(engine.options, name, "") or "").rpartition("/")[2]
        codes: list[str] = [code for code in _CODE.findall(text) if code[:2] in WORDS]
        if codes and (name == "language" or engine.engine in ("espeak", "piper", "azure", "deepgram")):
            return codes[-1 if engine.engine == "deepgram" else 0].replace("_", "-")
    return "en"


def _lexicon(config: Config) -> Lexicon:
    """Raises StartError."""
    entries = {word: Entry(said) for word, said in config.speech.lexicon.items()}
    if config.speech.lexicon_file is not None:
        try:
            entries = {**load(config.speech.lexicon_file), **entries}
        except LexiconError as error:
            raise StartError(f"speech.lexicon_file: {error}") from error
    return make(entries)


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
