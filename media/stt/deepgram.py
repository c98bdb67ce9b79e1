"""Deepgram's streaming recogniser. https://developers.deepgram.com/reference/speech-to-text/listen-streaming

Results come in segments; `from_finalize` marks the one that answers Finalize.
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

KEYWORDS = 50  # of the flow; more weigh each other out


@dataclass(frozen=True, slots=True)
class Config:
    """An account and a model."""

    api_key: str = ""
    """Write ${DEEPGRAM_API_KEY} to take it from the environment."""
    url: str = "wss://api.deepgram.com/v1/listen"
    """Where it is; another for self-hosted ones and regions."""
    model: str = "nova-3"
    """As Deepgram calls it; nova-2-phonecall is made for telephone lines."""
    language: str = ""
    """BCP 47, or multi. Empty: the flow's."""
    keyterms: bool = True
    """Tell the model the phrases of the flow (nova-3 calls them keyterms)."""
    extra: dict[str, str] = field(default_factory=dict)
    """Further parameters of the URL, such as {smart_format: "true"}."""
    socket: SocketConfig = SocketConfig()
    """The connection."""


def create(config: Config) -> SpeechToText:
    """The engine. Raises ProviderError without a key."""
    if not config.api_key:
        raise ProviderError("deepgram: set api_key")
    return SocketEars("deepgram", lambda format, domain: DeepgramCore(config, format, domain), config.socket)


class DeepgramCore:
    """Implements SttCore."""

    chunk_ms = 100

    def __init__(self, config: Config, format: AudioFormat, domain: Domain) -> None:
        self._config, self._domain, self.rate = config, domain, format.rate

    def request(self) -> Request:
        """All settings are in the URL."""
        config = self._config
        settings = {
            "model": config.model,
            "language": config.language or self._domain.language,
            "encoding": "linear16",
            "sample_rate": str(self.rate),
            "channels": "1",
            "interim_results": "true",
            "punctuate": "true",
            "endpointing": "false",  # where utterances end is decided here
        }
        phrases = [p for hints in self._domain.hints for p in hints.phrases] if config.keyterms else []
        terms = [("keyterm", phrase) for phrase in dict.fromkeys(phrases)][:KEYWORDS]
        query = urlencode([*{**settings, **config.extra}.items(), *terms])
        return Request(f"{config.url}?{query}", {"Authorization": f"Token {config.api_key}"})

    def opened(self) -> list[Message]:
        """Nothing."""
        return []

    def begin(self, hints: Hints) -> list[Message]:
        """Nothing: audio says it."""
        return []

    def audio(self, pcm: bytes) -> list[Message]:
        """As it is."""
        return [pcm]

    def finish(self) -> list[Message]:
        """Finalize."""
        return [json.dumps({"type": "Finalize"})]

    def keepalive(self) -> list[Message]:
        """Deepgram hangs up after 10 s without."""
        return [json.dumps({"type": "KeepAlive"})]

    def closing(self) -> list[Message]:
        """CloseStream."""
        return [json.dumps({"type": "CloseStream"})]

    def receive(self, message: Message) -> list[SttEvent]:
        """Results; the rest (Metadata, SpeechStarted) says nothing that is needed."""
        found = json.loads(message)
        if found.get("type") == "Error":
            raise ProviderError(f"deepgram: {found.get('description') or found.get('message')}")
        if found.get("type") != "Results":
            return []
        best = found["channel"]["alternatives"][0]
        text = best["transcript"].strip()
        if not found.get("is_final"):
            return [Interim(text)] if text else []
        events: list[SttEvent] = [Segment(text, best.get("confidence"))] if text else []
        return [*events, Flushed()] if found.get("from_finalize") else events
