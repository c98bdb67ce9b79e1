"""ElevenLabs over its multi-context WebSocket, with the time of every character.

https://elevenlabs.io/docs/api-reference/text-to-speech/v-1-text-to-speech-voice-id-multi-stream-input. A
sentence is a context; many follow each other on one connection. Nothing stops a context whose text is
complete but the end of its connection.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from media.errors import ProviderError
from media.refusal import Refused
from media.tts.base import Speech, TextToSpeech, WordMark
from media.tts.hosted import (
    Encoding,
    HostedConfig,
    HostedVoice,
    Service,
    Wanted,
    WordPlaces,
    need_key,
)
from media.tts.socket import Address, Done, SocketTransport

FORMATS: dict[str, tuple[Encoding, int]] = {
    "ulaw_8000": ("ulaw", 8000),
    "alaw_8000": ("alaw", 8000),
    "pcm_8000": ("s16le", 8000),
    "pcm_16000": ("s16le", 16000),
    "pcm_22050": ("s16le", 22050),
    "pcm_24000": ("s16le", 24000),
    "pcm_44100": ("s16le", 44100),
}
_FATAL = ("invalid_api_key", "quota_exceeded", "voice_not_found", "invalid", "unauthorized", "missing")


@dataclass(frozen=True, slots=True)
class Config:
    """An account and a voice."""

    api_key: str = ""
    """Write ${ELEVENLABS_API_KEY} to take it from the environment."""
    voice: str = ""
    """Id of the voice, as its page shows it."""
    model: str = "eleven_flash_v2_5"
    """As ElevenLabs calls it; flash answers fastest."""
    language: str = ""
    """ISO 639-1, for models that can be told. Empty: by the text."""
    format: str = "pcm_16000"
    """ulaw_8000, alaw_8000, pcm_8000, pcm_16000, pcm_22050, pcm_24000 (larger plans: pcm_44100)."""
    url: str = "wss://api.elevenlabs.io"
    """Where it is; wss://api.eu.residency.elevenlabs.io and others for data residency."""
    settings: dict[str, float] = field(default_factory=dict)
    """Of the voice: stability, similarity_boost, style, speed (0.7 to 1.2)."""
    phonemes: bool = False
    """The model understands <phoneme> (the English ones, eleven_flash_v2 among them)."""
    connection: HostedConfig = HostedConfig()
    """Time-outs and retries."""


def create(config: Config) -> TextToSpeech:
    """The engine. Raises ProviderError: no key, no voice, an unknown format."""
    need_key("elevenlabs", config.api_key)
    if not config.voice:
        raise ProviderError("elevenlabs: set voice to the id of one")
    if config.format not in FORMATS:
        raise ProviderError(f"elevenlabs: format is {config.format!r}, not one of {', '.join(FORMATS)}")
    core = ElevenLabs(config)
    return HostedVoice(
        core.service, lambda counters: SocketTransport(core, config.connection, counters), config.connection
    )


class ElevenLabs:
    """Implements SocketCore."""

    def __init__(self, config: Config) -> None:
        encoding, rate = FORMATS[config.format]
        self._config = config
        tags = frozenset({"break", "phoneme"}) if config.phonemes else frozenset[str]()
        self.service = Service("elevenlabs", rate, encoding, tags)

    def address(self) -> Address:
        """All settings but the voice's are in the URL."""
        config = self._config
        settings = {
            "model_id": config.model,
            "output_format": config.format,
            "sync_alignment": "true",
            "enable_ssml_parsing": "true" if config.phonemes else "false",
            "inactivity_timeout": "180",
            "auto_mode": "true",
        }
        if config.language:
            settings["language_code"] = config.language
        path = f"/v1/text-to-speech/{quote(config.voice, safe='')}/multi-stream-input"
        return Address(f"{config.url}{path}?{urlencode(settings)}", {"xi-api-key": config.api_key})

    def utterance(self, context: str, wanted: Wanted) -> "Context":
        """A context."""
        return Context(context, wanted, self._config.settings, self.service)


class Context:
    """Implements Utterance."""

    def __init__(self, name: str, wanted: Wanted, settings: dict[str, float], service: Service) -> None:
        self._name, self._wanted, self._settings, self._service = name, wanted, settings, service
        self._places = WordPlaces(wanted.text)
        self._samples = 0  # of the chunks before
        self._in_word = False

    def begin(self) -> list[str]:
        """A new context, its whole text, and that no more comes."""
        first: dict[str, Any] = {"text": " ", "context_id": self._name}
        if self._settings:
            first["voice_settings"] = self._settings
        text = {"text": f"{self._wanted.text.rstrip()} ", "context_id": self._name, "flush": True}
        return [json.dumps(m) for m in (first, text, {"context_id": self._name, "close_context": True})]

    def receive(self, message: str) -> list[Speech | Done]:
        """Audio with its alignment."""
        found = json.loads(message)
        if found.get("error"):
            raise self._error(found)
        if found.get("contextId", self._name) != self._name:
            return []
        events: list[Speech | Done] = []
        if found.get("audio"):
            audio = base64.b64decode(found["audio"], validate=True)
            words = self._words(found.get("alignment") or {})
            events.append(Speech(audio, words))
            self._samples += len(audio) // (2 if self._service.encoding == "s16le" else 1)
        return [*events, Done()] if found.get("isFinal") else events

    def cancel(self) -> None:
        """By the end of the connection."""

    def _words(self, alignment: dict[str, Any]) -> tuple[WordMark, ...]:
        # Times are relative to the chunk, not to the whole.
        chars, times = alignment.get("chars", []), alignment.get("charStartTimesMs", [])
        marks = []
        for index, (char, ms) in enumerate(zip(chars, times, strict=True)):
            if char.isalnum() and not self._in_word:
                self._in_word = True
                word = "".join(chars[index : index + 4])
                if (place := self._places.place(word.split()[0])) is not None:
                    marks.append(WordMark(place, self._samples + int(ms) * self._service.rate // 1000))
            elif char.isspace():
                self._in_word = False
        return tuple(marks)

    def _error(self, found: dict[str, Any]) -> Refused:
        kind = str(found["error"])
        text = f"elevenlabs: {kind}: {found.get('message', '')}"[:300]
        return Refused(text, retryable=not any(word in kind for word in _FATAL))
