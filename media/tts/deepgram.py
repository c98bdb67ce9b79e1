"""Deepgram Aura over REST, streamed. https://developers.deepgram.com/reference/text-to-speech/speak-request

No word times: words are placed evenly.
"""

from dataclasses import dataclass, field
from urllib.parse import urlencode

from media.tts.base import TextToSpeech
from media.tts.hosted import HostedConfig, HostedVoice, Service, Wanted, need_key, need_rate
from media.tts.rest import RestTransport, Upload

RATES = (8000, 16000, 24000, 32000, 48000)


@dataclass(frozen=True, slots=True)
class Config:
    """An account and a voice."""

    api_key: str = ""
    """Write ${DEEPGRAM_API_KEY} to take it from the environment."""
    url: str = "https://api.deepgram.com/v1/speak"
    """Where it is; another for self-hosted ones and regions."""
    model: str = "aura-2-thalia-en"
    """Voice and language in one, as Deepgram calls it."""
    rate: int = 8000
    """Hz: 8000, 16000, 24000, 32000, 48000. 8000 is what telephones hear, without a step between."""
    extra: dict[str, str] = field(default_factory=dict)
    """Further parameters of the URL, such as {mip_opt_out: "true"}."""
    connection: HostedConfig = HostedConfig()
    """Time-outs and retries."""


def create(config: Config) -> TextToSpeech:
    """The engine. Raises ProviderError: no key, a rate that Deepgram does not have."""
    need_key("deepgram", config.api_key)
    need_rate("deepgram", config.rate, RATES)
    core = DeepgramSpeech(config)
    return HostedVoice(
        core.service, lambda counters: RestTransport(core, config.connection, counters), config.connection
    )


class DeepgramSpeech:
    """Implements RestCore."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.service = Service("deepgram", config.rate)

    def upload(self, wanted: Wanted) -> Upload:
        """All settings are in the URL."""
        config = self._config
        settings = {
            "model": config.model,
            "encoding": "linear16",
            "sample_rate": str(config.rate),
            "container": "none",
        }
        headers = {"Authorization": f"Token {config.api_key}"}
        url = f"{config.url}?{urlencode({**settings, **config.extra})}"
        return Upload(url, headers, json={"text": wanted.text})
