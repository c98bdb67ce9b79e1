"""AssemblyAI's universal streaming recogniser, version 3. https://www.assemblyai.com/docs/speech-to-text

A turn is told again and again while it grows; ForceEndpoint ends it at once.
"""

import json
from dataclasses import dataclass, field
from urllib.parse import urlencode

from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.frames import AudioFormat
from media.stt.base import SpeechToText
from media.stt.socket import SocketEars
from media.stt.socketcore import (
    Flushed,
    Interim,
    Message,
    Request,
    Segment,
    SocketConfig,
    SttEvent,
)

KEYTERMS = 100  # of the flow, as the service allows


@dataclass(frozen=True, slots=True)
class Config:
    """An account and a model."""

    api_key: str = ""
    """Write ${ASSEMBLYAI_API_KEY} to take it from the environment."""
    url: str = "wss://streaming.assemblyai.com/v3/ws"
    """Where it is; wss://streaming.eu.assemblyai.com/v3/ws keeps audio in Europe."""
    model: str = "universal-streaming-english"
    """As AssemblyAI calls it; universal-streaming-multilingual for other languages."""
    keyterms: bool = True
    """Tell the model the phrases of the flow."""
    extra: dict[str, str] = field(default_factory=dict)
    """Further parameters of the URL."""
    socket: SocketConfig = SocketConfig()
    """The connection."""


def create(config: Config) -> SpeechToText:
    """The engine. Raises ProviderError without a key."""
    if not config.api_key:
        raise ProviderError("assemblyai: set api_key")
    return SocketEars("assemblyai", lambda form, domain: AssemblyCore(config, form, domain), config.socket)


class AssemblyCore:
    """Implements SttCore."""

    chunk_ms = 100  # 50 to 1000 are allowed

    def __init__(self, config: Config, format: AudioFormat, domain: Domain) -> None:
        self._config, self._domain, self.rate = config, domain, format.rate
        self._forced = 0  # endpoints that are yet to come

    def request(self) -> Request:
        """All settings are in the URL."""
        config = self._config
        settings = {
            "sample_rate": str(self.rate),
            "encoding": "pcm_s16le",
            "speech_model": config.model,
            "format_turns": "false",
        }
        phrases = [p for hints in self._domain.hints for p in hints.phrases] if config.keyterms else []
        if phrases:
            settings["keyterms_prompt"] = json.dumps(list(dict.fromkeys(phrases))[:KEYTERMS])
        query = urlencode({**settings, **config.extra})
        return Request(f"{config.url}?{query}", {"Authorization": config.api_key})

    def opened(self) -> list[Message]:
        """Nothing."""
        return []

    def begin(self, hints: Hints) -> list[Message]:
        """Nothing: audio says it."""
        return []

    def audio(self, pcm: bytes) -> list[Message]:
        """As it is; the last chunk is filled up to what the service takes."""
        least = 2 * self.rate * 50 // 1000
        return [pcm + bytes(max(0, least - len(pcm)))]

    def finish(self) -> list[Message]:
        """ForceEndpoint."""
        self._forced += 1
        return [json.dumps({"type": "ForceEndpoint"})]

    def keepalive(self) -> list[Message]:
        """Silence: the service knows no other sign of life."""
        return [bytes(2 * self.rate * self.chunk_ms // 1000)]

    def closing(self) -> list[Message]:
        """Terminate."""
        return [json.dumps({"type": "Terminate"})]

    def receive(self, message: Message) -> list[SttEvent]:
        """Turns."""
        found = json.loads(message)
        if "error" in found:
            raise ProviderError(f"assemblyai: {found['error']}")
        if found.get("type") != "Turn":
            return []
        text = str(found["transcript"]).strip()
        if not found["end_of_turn"]:
            return [Interim(text)] if text else []
        scores = [word["confidence"] for word in found.get("words") or () if "confidence" in word]
        events: list[SttEvent] = [Segment(text, min(scores, default=None))] if text else []
        if not self._forced:
            return events
        self._forced -= 1
        return [*events, Flushed()]
