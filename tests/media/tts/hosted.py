"""The hosted voices, as tests make them: pointed at the services on loopback, and quick to give up."""

from collections.abc import Callable

from media.tts import azure, cartesia, deepgram, elevenlabs, openai
from media.tts.base import TextToSpeech
from media.tts.hosted import HostedConfig
from tests.media.tts.services import KEY

QUICK = HostedConfig(connect_s=1, first_s=0.75, pause_s=0.75, retries=1, back_off_s=0.01)
Create = Callable[[str], TextToSpeech]

SOCKETS: dict[str, Create] = {
    "elevenlabs": lambda url: elevenlabs.create(
        elevenlabs.Config(api_key=KEY, voice="rachel", url=f"ws://{url}", connection=QUICK)
    ),
    "elevenlabs-ulaw": lambda url: elevenlabs.create(
        elevenlabs.Config(
            api_key=KEY, voice="rachel", url=f"ws://{url}", format="ulaw_8000", connection=QUICK
        )
    ),
    "cartesia": lambda url: cartesia.create(
        cartesia.Config(api_key=KEY, voice="v", url=f"ws://{url}/cartesia", connection=QUICK)
    ),
}
RESTS: dict[str, Create] = {
    "openai": lambda url: openai.create(
        openai.Config(api_key=KEY, base_url=f"http://{url}/openai", connection=QUICK)
    ),
    "azure": lambda url: azure.create(
        azure.Config(api_key=KEY, url=f"http://{url}/cognitiveservices/v1", connection=QUICK)
    ),
    "deepgram": lambda url: deepgram.create(
        deepgram.Config(api_key=KEY, url=f"http://{url}/deepgram", connection=QUICK)
    ),
}
HOSTED = {**SOCKETS, **RESTS}
