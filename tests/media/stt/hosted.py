"""The hosted recognisers, as tests make them: pointed at the services on loopback, and quick to give up."""

from collections.abc import Callable

from media.stt import assemblyai, azure, deepgram, google, openai
from media.stt.base import SpeechToText
from media.stt.rest import RestConfig
from media.stt.socketcore import SocketConfig
from tests.media.stt.services import KEY

SOCKET = SocketConfig(connect_s=1, retries=2, back_off_s=0.02, keepalive_s=0.15)
REST = RestConfig(timeout_s=0.5, retries=1, back_off_s=0.02)

SOCKETS: dict[str, Callable[[str], SpeechToText]] = {
    "deepgram": lambda url: deepgram.create(
        deepgram.Config(api_key=KEY, url=f"ws://{url}/deepgram", socket=SOCKET)
    ),
    "assemblyai": lambda url: assemblyai.create(
        assemblyai.Config(api_key=KEY, url=f"ws://{url}/assemblyai", socket=SOCKET)
    ),
    "azure": lambda url: azure.create(azure.Config(api_key=KEY, url=f"ws://{url}", socket=SOCKET)),
    "openai-realtime": lambda url: openai.create(
        openai.Config(api_key=KEY, base_url=f"http://{url}/openai", realtime=True, socket=SOCKET)
    ),
}
RESTS: dict[str, Callable[[str], SpeechToText]] = {
    "openai": lambda url: openai.create(
        openai.Config(api_key=KEY, base_url=f"http://{url}/openai", model="whisper-1", rest=REST)
    ),
    "google": lambda url: google.create(
        google.Config(api_key=KEY, url=f"http://{url}/google/speech:recognize", rest=REST)
    ),
}
HOSTED = {**SOCKETS, **RESTS}
