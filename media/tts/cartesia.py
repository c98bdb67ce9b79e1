"""Cartesia Sonic over its WebSocket, with the time of every word. https://docs.cartesia.ai/api-reference/tts/websocket

A sentence is a context, which can be cancelled; many follow each other on one connection.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from dialog.refusal import RETRYABLE
from media.errors import ProviderError
from media.refusal import Refused
from media.tts.base import Speech, TextToSpeech, WordMark
from media.tts.hosted import (
    HostedConfig,
    HostedVoice,
    Service,
    Wanted,
    WordPlaces,
    need_key,
    need_rate,
)
from media.tts.socket import Address, Done, SocketTransport

RATES = (8000, 16000, 22050, 24000, 44100, 48000)


@dataclass(frozen=True, slots=True)
class Config:
    """An account and a voice."""

    api_key: str = ""
    """Write ${CARTESIA_API_KEY} to take it from the environment."""
    voice: str = ""
    """Id of the voice."""
    model: str = "sonic-3"
    """As Cartesia calls it."""
    language: str = "en"
    """ISO 639-1."""
    rate: int = 8000
    """Hz: 8000, 16000, 22050, 24000, 44100, 48000. 8000 is what telephones hear, without a step between."""
    url: str = "wss://api.cartesia.ai/tts/websocket"
    """Where it is."""
    version: str = "2026-03-01"
    """Of Cartesia's interface."""
    controls: dict[str, float] = field(default_factory=dict)
    """Of the voice, for sonic-3: speed (0.6 to 1.5), volume (0.5 to 2)."""
    connection: HostedConfig = HostedConfig()
    """Time-outs and retries."""


def create(config: Config) -> TextToSpeech:
    """The engine. Raises ProviderError: no key, no voice, a rate that Cartesia does not have."""
    need_key("cartesia", config.api_key)
    need_rate("cartesia", config.rate, RATES)
    if not config.voice:
        raise ProviderError("cartesia: set voice to the id of one")
    core = Cartesia(config)
    return HostedVoice(
        core.service, lambda counters: SocketTransport(core, config.connection, counters), config.connection
    )


class Cartesia:
    """Implements SocketCore."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.service = Service("cartesia", config.rate)

    def address(self) -> Address:
        """The key goes into a header: URLs are logged on the way."""
        query = urlencode({"cartesia_version": self._config.version})
        return Address(f"{self._config.url}?{query}", {"X-API-Key": self._config.api_key})

    def utterance(self, context: str, wanted: Wanted) -> "Context":
        """A context."""
        return Context(context, wanted, self._config)


class Context:
    """Implements Utterance."""

    def __init__(self, name: str, wanted: Wanted, config: Config) -> None:
        self._name, self._wanted, self._config = name, wanted, config
        self._places = WordPlaces(wanted.text)

    def begin(self) -> list[str]:
        """A generation that nothing follows."""
        config = self._config
        request: dict[str, Any] = {
            "model_id": config.model,
            "transcript": self._wanted.text,
            "voice": {"mode": "id", "id": config.voice},
            "language": config.language,
            "context_id": self._name,
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": config.rate},
            "add_timestamps": True,
            "continue": False,
        }
        if config.controls:
            request["generation_config"] = config.controls
        return [json.dumps(request)]

    def receive(self, message: str) -> list[Speech | Done]:
        """Chunks, word times, the end."""
        found = json.loads(message)
        if found.get("context_id", self._name) != self._name:
            return []
        match found["type"]:
            case "chunk":
                return [Speech(base64.b64decode(found["data"], validate=True))]
            case "timestamps":
                return [Speech(b"", self._words(found["word_timestamps"]))]
            case "done":
                return [Done()]
            case "error":
                status = int(found.get("status_code") or 500)
                text = found.get("message") or found.get("error") or found.get("title") or ""
                reason = f"cartesia: HTTP {status}: {text}"[:300]
                raise Refused(reason, retryable=status in RETRYABLE)
        return []

    def cancel(self) -> list[str]:
        """It has a message for that."""
        return [json.dumps({"context_id": self._name, "cancel": True})]

    def _words(self, times: dict[str, Any]) -> tuple[WordMark, ...]:
        marks = []
        for word, start in zip(times["words"], times["start"], strict=True):
            if (place := self._places.place(str(word))) is not None:
                marks.append(WordMark(place, round(float(start) * self._config.rate)))
        return tuple(marks)
