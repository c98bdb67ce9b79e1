"""Azure Speech over its WebSocket protocol: text and binary messages with headers, one turn an utterance.

https://learn.microsoft.com/azure/ai-services/speech-service/ (the protocol of the Speech SDKs). An utterance
is a turn with a request id of its own; an empty audio message ends it, `turn.end` answers.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

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

PATH = "/speech/recognition/conversation/cognitiveservices/v1"
PHRASES = 200  # of the question, as biasing


@dataclass(frozen=True, slots=True)
class Config:
    """A resource and a language."""

    api_key: str = ""
    """Key of the Speech resource. Write ${AZURE_SPEECH_KEY} to take it from the environment."""
    region: str = "westeurope"
    """Of the resource."""
    url: str = ""
    """Instead of the region's: wss://HOST of a private endpoint or a container."""
    language: str = ""
    """A locale, such as en-US. Empty: the flow's."""
    profanity: str = "masked"
    """masked, removed or raw."""
    phrases: bool = True
    """Tell the recogniser the phrases that the dialog expects."""
    socket: SocketConfig = SocketConfig()
    """The connection."""


def create(config: Config) -> SpeechToText:
    """The engine. Raises ProviderError without a key."""
    if not config.api_key:
        raise ProviderError("azure: set api_key")
    return SocketEars("azure", lambda format, domain: AzureCore(config, format, domain), config.socket)


class AzureCore:
    """Implements SttCore."""

    chunk_ms = 100

    def __init__(self, config: Config, format: AudioFormat, domain: Domain) -> None:
        self._config, self._domain, self.rate = config, domain, format.rate
        self._connection = uuid4().hex.upper()
        self._turn = ""  # request id

    def request(self) -> Request:
        """Language in the URL, key in the header."""
        config = self._config
        base = config.url or f"wss://{config.region}.stt.speech.microsoft.com"
        language = config.language or _LOCALES.get(self._domain.language, self._domain.language)
        query = {"language": language, "format": "detailed", "profanity": config.profanity}
        headers = {"Ocp-Apim-Subscription-Key": config.api_key, "X-ConnectionId": self._connection}
        return Request(f"{base.rstrip('/')}{PATH}?{urlencode(query)}", headers)

    def opened(self) -> list[Message]:
        """Who we are."""
        system = {"name": "voicegw", "version": "1", "build": "python", "lang": "python"}
        return [_text("speech.config", uuid4().hex, {"context": {"system": system}})]

    def begin(self, hints: Hints) -> list[Message]:
        """A turn: its context, and the header of a WAV file of unknown length."""
        self._turn = uuid4().hex.upper()
        phrases = [{"Text": phrase} for phrase in hints.phrases[:PHRASES]] if self._config.phrases else []
        context: dict[str, Any] = {}
        if phrases:
            context = {"dgi": {"Groups": [{"Type": "Generic", "Items": phrases}]}}
        return [_text("speech.context", self._turn, context), self._binary(_wav_header(self.rate))]

    def audio(self, pcm: bytes) -> list[Message]:
        """Behind headers."""
        return [self._binary(pcm)]

    def finish(self) -> list[Message]:
        """An empty audio message ends the turn."""
        return [self._binary(b"")]

    def keepalive(self) -> list[Message]:
        """Nothing: idle connections live for minutes, and a lost one is made again."""
        return []

    def closing(self) -> list[Message]:
        """Nothing."""
        return []

    def receive(self, message: Message) -> list[SttEvent]:
        """Hypotheses and phrases of the turn."""
        if isinstance(message, bytes):
            return []
        head, _, body = message.partition("\r\n\r\n")
        headers = dict(line.split(":", 1) for line in head.split("\r\n") if ":" in line)
        path = {name.strip().lower(): value.strip() for name, value in headers.items()}.get("path", "")
        match path.lower():
            case "speech.hypothesis" | "speech.fragment":
                return [Interim(str(json.loads(body)["Text"]))]
            case "speech.phrase":
                return self._phrase(json.loads(body))
            case "turn.end":
                return [Flushed()]
        return []

    def _phrase(self, found: Mapping[str, Any]) -> list[SttEvent]:
        status = found["RecognitionStatus"]
        if status == "Success":
            best = max(found["NBest"], key=lambda option: float(option["Confidence"]))
            return [Segment(str(best["Display"]), float(best["Confidence"]))]
        if status in {"Error", "BadRequest", "Forbidden", "TooManyRequests"}:
            raise ProviderError(f"azure: {status}", retryable=status in {"Error", "TooManyRequests"})
        return []  # NoMatch, InitialSilenceTimeout, EndOfDictation: nothing was understood

    def _binary(self, data: bytes) -> bytes:
        head = f"Path: audio\r\nX-RequestId: {self._turn}\r\nX-Timestamp: {_NOW}\r\n"
        head += "Content-Type: audio/x-wav\r\n"
        return struct.pack(">H", len(head)) + head.encode() + data


_LOCALES = {"en": "en-US", "de": "de-DE", "es": "es-ES", "fr": "fr-FR", "it": "it-IT", "el": "el-GR"}
_NOW = "2000-01-01T00:00:00.000Z"  # the service wants a time stamp and uses it for its own logs only


def _text(path: str, turn: str, body: Mapping[str, Any]) -> str:
    head = f"Path: {path}\r\nX-RequestId: {turn}\r\nX-Timestamp: {_NOW}\r\nContent-Type: application/json"
    return f"{head}\r\n\r\n{json.dumps(body)}"


def _wav_header(rate: int) -> bytes:
    """RIFF, PCM, mono, 16 bit, lengths unknown."""
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    return b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", len(form)) + form + b"data\0\0\0\0"
