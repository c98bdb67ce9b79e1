"""OpenAI's realtime transcription, and Whisper over REST at OpenAI or any server of its kind.

https://platform.openai.com/docs/guides/realtime-transcription and .../docs/api-reference/audio.
`realtime: false` sends whole utterances and gives no partials: that is what faster-whisper-server, vLLM,
LocalAI and others speak.
"""

import base64
import io
import json
import math
import wave
from dataclasses import dataclass
from typing import Any

from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.stt.base import SpeechToText
from media.stt.rest import RestConfig, RestEars, Upload
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
from media.stt.windows import Stretch

PROMPT = 40  # phrases that the model is told


@dataclass(frozen=True, slots=True)
class Config:
    """An account, or a server of its kind."""

    api_key: str = ""
    """Write ${OPENAI_API_KEY} to take it from the environment. Empty: none is sent."""
    base_url: str = "https://api.openai.com/v1"
    """Where it is, without /realtime or /audio/transcriptions."""
    realtime: bool = False
    """Stream audio and get partials (OpenAI only); false: send whole utterances."""
    model: str = "gpt-4o-mini-transcribe"
    """As the server calls it; whisper-1, or the name of a model on your own server."""
    language: str = ""
    """ISO 639-1. Empty: the flow's."""
    phrases: bool = True
    """Tell the model what the dialog expects, as its prompt."""
    rest: RestConfig = RestConfig()
    """Requests, where not realtime."""
    socket: SocketConfig = SocketConfig()
    """The connection, where realtime."""


def create(config: Config) -> SpeechToText:
    """The engine. Raises ProviderError: realtime without a key."""
    if not config.realtime:
        return RestEars(OpenAiRest(config), config.rest)
    if not config.api_key:
        raise ProviderError("openai: realtime needs api_key")
    return SocketEars("openai", lambda _, domain: OpenAiRealtime(config, domain), config.socket)


def _language(config: Config, domain: Domain) -> str:
    return (config.language or domain.language).partition("-")[0]


def _authorization(config: Config) -> dict[str, str]:
    return {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}


class OpenAiRest:
    """Implements RestCore."""

    name = "openai"

    def __init__(self, config: Config) -> None:
        self._config = config

    def upload(self, stretch: Stretch, domain: Domain) -> Upload:
        """POST /audio/transcriptions."""
        config = self._config
        fields = {"model": config.model, "response_format": "json", "language": _language(config, domain)}
        phrases = (*stretch.hints.phrases, *stretch.hints.sentences)[:PROMPT]
        if config.phrases and phrases:
            fields["prompt"] = ", ".join(phrases)
        url = f"{config.base_url.rstrip('/')}/audio/transcriptions"
        return Upload(url, _authorization(config), fields=fields, file=_wav(stretch))

    def understood(self, answer: Any) -> Transcript:
        """{"text"}, with "logprobs" where the server gives them."""
        text = str(answer["text"]).strip()
        scores = [float(token["logprob"]) for token in answer.get("logprobs") or ()]
        confidence = math.exp(sum(scores) / len(scores)) if scores else None
        return Transcript(text, final=True, confidence=confidence)


class OpenAiRealtime:
    """Implements SttCore: a transcription session without turn detection of its own."""

    rate = 24000
    chunk_ms = 100

    def __init__(self, config: Config, domain: Domain) -> None:
        self._config, self._domain = config, domain
        self._deltas: dict[str, str] = {}  # by item
        self._empty = True  # nothing has been appended since the last commit

    def request(self) -> Request:
        """A session for transcription only."""
        base = self._config.base_url.rstrip("/").replace("http", "ws", 1)
        return Request(f"{base}/realtime?intent=transcription", _authorization(self._config))

    def opened(self) -> list[Message]:
        """The session's settings."""
        phrases = [p for hints in self._domain.hints for p in hints.phrases] if self._config.phrases else []
        transcription = {"model": self._config.model, "language": _language(self._config, self._domain)}
        if phrases:
            transcription["prompt"] = ", ".join(list(dict.fromkeys(phrases))[:PROMPT])
        audio = {
            "format": {"type": "audio/pcm", "rate": self.rate},
            "transcription": transcription,
            "turn_detection": None,
        }
        session = {"type": "transcription", "audio": {"input": audio}}
        return [json.dumps({"type": "session.update", "session": session})]

    def begin(self, hints: Hints) -> list[Message]:
        """Nothing: audio says it."""
        return []

    def audio(self, pcm: bytes) -> list[Message]:
        """Appended to the buffer; a commit wants 100 ms at least."""
        least = 2 * self.rate * self.chunk_ms // 1000 if self._empty else 0
        self._empty = False
        data = base64.b64encode(pcm + bytes(max(0, least - len(pcm)))).decode()
        return [json.dumps({"type": "input_audio_buffer.append", "audio": data})]

    def finish(self) -> list[Message]:
        """Commit the buffer, which makes it an item."""
        messages = self.audio(b"") if self._empty else []
        self._empty = True
        return [*messages, json.dumps({"type": "input_audio_buffer.commit"})]

    def keepalive(self) -> list[Message]:
        """Nothing: the WebSocket's own pings do."""
        return []

    def closing(self) -> list[Message]:
        """Nothing."""
        return []

    def receive(self, message: Message) -> list[SttEvent]:
        """Deltas and the completed text of items."""
        found = json.loads(message)
        match found.get("type"):
            case "conversation.item.input_audio_transcription.delta":
                item = str(found["item_id"])
                self._deltas[item] = self._deltas.get(item, "") + str(found["delta"])
                return [Interim(self._deltas[item].strip())]
            case "conversation.item.input_audio_transcription.completed":
                self._deltas.pop(str(found["item_id"]), None)
                text = str(found["transcript"]).strip()
                return [*([Segment(text)] if text else []), Flushed()]
            case "conversation.item.input_audio_transcription.failed" | "error":
                error = found.get("error") or {}
                code = str(error.get("code") or error.get("type") or "")
                wrong = code in {"invalid_api_key", "insufficient_quota", "invalid_request_error"}
                raise ProviderError(f"openai: {error.get('message', code)}", retryable=not wrong)
        return []


def _wav(stretch: Stretch) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(stretch.rate)
        file.writeframes(stretch.pcm)
    return buffer.getvalue()
