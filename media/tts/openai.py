"""Speech by OpenAI's /audio/speech, and by every server of its kind: Kokoro-FastAPI, openedai-speech (XTTS,
Piper), LocalAI, vLLM, Speaches. https://platform.openai.com/docs/api-reference/audio/createSpeech

Audio is streamed as it is made, raw (`response_format: pcm`); a server that answers with WAV is understood.
No word times: words are placed evenly.
"""

from dataclasses import dataclass, field

from media.errors import ProviderError
from media.tts.base import TextToSpeech
from media.tts.hosted import HostedConfig, HostedVoice, Service, Wanted
from media.tts.rest import RestTransport, Upload


@dataclass(frozen=True, slots=True)
class Config:
    """An account, or a server of its kind."""

    api_key: str = ""
    """Write ${OPENAI_API_KEY} to take it from the environment. Empty: none is sent."""
    base_url: str = "https://api.openai.com/v1"
    """Where it is, without /audio/speech."""
    model: str = "gpt-4o-mini-tts"
    """As the server calls it: tts-1, kokoro, tts-1-hd (XTTS in openedai-speech)."""
    voice: str = "alloy"
    """As the server calls it: af_heart for Kokoro."""
    speed: float = 1.0
    """0.25 to 4."""
    instructions: str = ""
    """How to speak, for models that follow it (gpt-4o-mini-tts): "calm, friendly, not too fast"."""
    rate: int = 24000
    """Hz of the server's pcm. OpenAI, Kokoro and XTTS give 24000; another of your own server's."""
    extra: dict[str, str] = field(default_factory=dict)
    """Further fields of the request, such as {lang_code: a} (Kokoro)."""
    connection: HostedConfig = HostedConfig()
    """Time-outs and retries."""


def create(config: Config) -> TextToSpeech:
    """The engine. Raises ProviderError: a speed out of range, OpenAI itself without a key."""
    if not 0.25 <= config.speed <= 4:
        raise ProviderError(f"openai: speed is {config.speed}, outside of 0.25 to 4")
    if "api.openai.com" in config.base_url and not config.api_key:
        raise ProviderError("openai: set api_key")
    core = OpenAiSpeech(config)
    return HostedVoice(
        core.service, lambda counters: RestTransport(core, config.connection, counters), config.connection
    )


class OpenAiSpeech:
    """Implements RestCore."""

    def __init__(self, config: Config) -> None:
        self._config = config
        own = "api.openai.com" not in config.base_url  # Kokoro and others read numbers less well
        self.service = Service("openai", config.rate, normalises=not own)

    def upload(self, wanted: Wanted) -> Upload:
        """POST /audio/speech."""
        config = self._config
        body: dict[str, object] = {
            "model": config.model,
            "voice": config.voice,
            "input": wanted.text,
            "response_format": "pcm",
            "speed": config.speed,
            "stream": True,  # Kokoro-FastAPI; others stream anyway and ignore it
            **config.extra,
        }
        if "api.openai.com" in config.base_url:
            del body["stream"]
        if config.instructions:
            body["instructions"] = config.instructions
        headers = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}
        return Upload(f"{config.base_url.rstrip('/')}/audio/speech", headers, json=body)
