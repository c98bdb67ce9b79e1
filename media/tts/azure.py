"""Azure Speech, by its REST interface: SSML goes out, raw audio streams back.

https://learn.microsoft.com/azure/ai-services/speech-service/rest-text-to-speech. No word times: words are
placed evenly.
"""

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from media.errors import ProviderError
from media.tts.base import TextToSpeech
from media.tts.hosted import HostedConfig, HostedVoice, Service, Wanted, need_key, need_rate
from media.tts.rest import RestTransport, Upload

_FORMATS = {
    8000: "raw-8khz-16bit-mono-pcm",
    16000: "raw-16khz-16bit-mono-pcm",
    24000: "raw-24khz-16bit-mono-pcm",
}

TAGS = frozenset({"break", "prosody", "phoneme", "emphasis", "lang"})


@dataclass(frozen=True, slots=True)
class Config:
    """An account and a voice."""

    api_key: str = ""
    """Write ${AZURE_SPEECH_KEY} to take it from the environment."""
    region: str = "westeurope"
    """Of the resource."""
    url: str = ""
    """Where it is, for containers and private links. Empty: by the region."""
    voice: str = "en-US-AvaMultilingualNeural"
    """As Azure calls it."""
    speaking_rate: str = ""
    """As in SSML: -10%, slow. Empty: the voice's own."""
    rate: int = 8000
    """Hz: 8000, 16000 or 24000. 8000 is what telephones hear, without a step between."""
    connection: HostedConfig = HostedConfig()
    """Time-outs and retries."""


def create(config: Config) -> TextToSpeech:
    """The engine. Raises ProviderError: no key, a rate that Azure does not have, no voice."""
    need_key("azure", config.api_key)
    need_rate("azure", config.rate, tuple(_FORMATS))
    if config.voice.count("-") < 2:
        raise ProviderError(f"azure: voice is {config.voice!r}; names look like en-US-AvaMultilingualNeural")
    core = AzureSpeech(config)
    return HostedVoice(
        core.service, lambda counters: RestTransport(core, config.connection, counters), config.connection
    )


class AzureSpeech:
    """Implements RestCore."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.service = Service("azure", config.rate, tags=TAGS)

    def upload(self, wanted: Wanted) -> Upload:
        """POST /cognitiveservices/v1."""
        config = self._config
        headers = {
            "Ocp-Apim-Subscription-Key": config.api_key,
            "X-Microsoft-OutputFormat": _FORMATS[config.rate],
            "Content-Type": "application/ssml+xml",
            "User-Agent": "voicegw",
        }
        url = config.url or f"https://{config.region}.tts.speech.microsoft.com/cognitiveservices/v1"
        return Upload(url, headers, body=self._document(wanted).encode())

    def _document(self, wanted: Wanted) -> str:
        config = self._config
        inside = wanted.text if wanted.marked else escape(wanted.text)
        if config.speaking_rate:
            inside = f"<prosody rate={quoteattr(config.speaking_rate)}>{inside}</prosody>"
        language = "-".join(config.voice.split("-")[:2])
        return (
            '<speak version="1.0" xmlns="http://www.w3.org/2001/10/synthesis" '
            f"xml:lang={quoteattr(language)}><voice name={quoteattr(config.voice)}>{inside}</voice></speak>"
        )
