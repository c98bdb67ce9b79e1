"""Google Cloud Speech-to-Text, version 1, over REST: whole utterances. https://cloud.google.com/speech-to-text/docs

An API key is enough; partials would need gRPC and a service account.
"""

import base64
from dataclasses import dataclass
from typing import Any

from dialog.turn import Transcript
from dialog.types import Domain
from media.errors import ProviderError
from media.stt.base import SpeechToText
from media.stt.rest import RestConfig, RestEars, Upload
from media.stt.windows import Stretch

PHRASES = 500  # of the question, as biasing


@dataclass(frozen=True, slots=True)
class Config:
    """A project and a model."""

    api_key: str = ""
    """Write ${GOOGLE_API_KEY} to take it from the environment."""
    url: str = "https://speech.googleapis.com/v1/speech:recognize"
    """Where it is; another for regions."""
    model: str = "phone_call"
    """As Google calls it: phone_call, latest_short, telephony."""
    enhanced: bool = False
    """The dearer variant of phone_call."""
    language: str = ""
    """BCP 47. Empty: the flow's."""
    phrases: bool = True
    """Tell the recogniser the phrases that the dialog expects."""
    rest: RestConfig = RestConfig()
    """Requests."""


def create(config: Config) -> SpeechToText:
    """The engine. Raises ProviderError without a key."""
    if not config.api_key:
        raise ProviderError("google: set api_key")
    return RestEars(GoogleRest(config), config.rest)


class GoogleRest:
    """Implements RestCore."""

    name = "google"

    def __init__(self, config: Config) -> None:
        self._config = config

    def upload(self, stretch: Stretch, domain: Domain) -> Upload:
        """POST speech:recognize; the key goes into a header, since URLs are logged."""
        config = self._config
        settings: dict[str, Any] = {
            "encoding": "LINEAR16",
            "sampleRateHertz": stretch.rate,
            "languageCode": config.language or domain.language,
            "model": config.model,
            "useEnhanced": config.enhanced,
            "enableAutomaticPunctuation": True,
        }
        if config.phrases and stretch.hints.phrases:
            settings["speechContexts"] = [{"phrases": list(stretch.hints.phrases[:PHRASES])}]
        audio = {"content": base64.b64encode(stretch.pcm).decode()}
        return Upload(
            config.url, {"X-Goog-Api-Key": config.api_key}, json={"config": settings, "audio": audio}
        )

    def understood(self, answer: Any) -> Transcript:
        """Results in order; none if nothing was understood."""
        best = [result["alternatives"][0] for result in answer.get("results") or ()]
        text = " ".join(str(option["transcript"]).strip() for option in best)
        scores = [float(option["confidence"]) for option in best if option.get("confidence")]
        return Transcript(text, final=True, confidence=min(scores, default=None))
