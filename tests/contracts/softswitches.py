"""Softswitches of one's own as the contract suite sees them: Asterisk, FreeSWITCH."""

import json
from base64 import b64encode
from typing import TYPE_CHECKING
from uuid import UUID

from sip.audiofork import ForkCore, StreamCore
from sip.audiosocket import AudioSocketCore
from sip.carrier import Carrier
from sip.chanwebsocket import ChanWebSocket as ChanWebSocketCarrier
from sip.chanwebsocket import ChanWebSocketConfig, WebSocketChannelCore
from sip.freeswitchfork import AudioFork as AudioForkCarrier
from sip.freeswitchfork import AudioStream as AudioStreamCarrier
from sip.freeswitchfork import ForkConfig
from sip.mediacore import Capabilities, Encoding, MediaStreamCore, Message
from tests.contracts.farend import CarrierCase, Said

if TYPE_CHECKING:
    from tests.contracts.doors import Door

ID = UUID(int=0x0102030405060708090A0B0C0D0E0F10)


class AudioSocket(CarrierCase):
    """Asterisk's AudioSocket: whole frames, as Asterisk writes them."""

    name = "audiosocket"
    web = False
    encoding = Encoding("PCM", 8000)
    frame = b"\xd0\x07" * 160
    capabilities = Capabilities(dtmf_in=True)
    names_streams = False
    call_id = str(ID)

    def core(self) -> MediaStreamCore:
        return AudioSocketCore()

    @staticmethod
    def message(kind: int, body: bytes) -> bytes:
        return bytes((kind,)) + len(body).to_bytes(2, "big") + body

    def start(self) -> list[Message]:
        return [self.message(1, ID.bytes)]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        return self.message(0x10, sound)

    def stop(self) -> Message:
        return self.message(0, b"")

    def press(self, key: str) -> Message:
        return self.message(3, key.encode())

    def understand(self, message: Message) -> Said:
        assert isinstance(message, bytes) and int.from_bytes(message[1:3], "big") == len(message) - 3
        assert message[0] in {0, 0x10}, "all else makes Asterisk hang up"
        return Said(audio=message[3:]) if message[0] else Said()


class AudioFork(CarrierCase):
    """FreeSWITCH's mod_audio_fork."""

    name = "audiofork"
    announced = False
    signs_sockets = True
    subprotocols = ("audio.drachtio.org",)
    encoding = Encoding("PCM", 8000)
    frame = b"\xd0\x07" * 160
    names_streams = False
    password = "fork-secret"
    core_of: type[StreamCore] = ForkCore

    def core(self) -> MediaStreamCore:
        return self.core_of(8000)

    def start(self) -> list[Message]:
        return [json.dumps({"uuid": "call-1", "caller": "+4915", "callee": "+4930", "tenant": "acme"})]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        return sound

    def press(self, key: str) -> Message | None:
        return json.dumps({"event": "dtmf", "dtmf": key, "duration": "1600"})

    def marked(self, name: str) -> Message | None:
        return json.dumps({"type": "mark", "data": {"name": name, "event": "playout"}})

    def understand(self, message: Message) -> Said:
        if isinstance(message, bytes):
            return Said(audio=message)
        body = json.loads(message)
        if body["type"] == "mark":
            return Said(mark=body["data"]["name"])
        assert body == {"type": "killAudio"}
        return Said(clear=True)

    def carrier(self, api_url: str) -> Carrier:
        return AudioForkCarrier(ForkConfig(self.password))

    async def announce(self, d: "Door") -> str:
        return f"wss://voice.example.com/{self.name}/media"

    def socket_headers(self, url: str) -> dict[str, str]:
        return {"Authorization": "Basic " + b64encode(f"voicegw:{self.password}".encode()).decode()}


class AudioStream(AudioFork):
    """FreeSWITCH's mod_audio_stream."""

    name = "audiostream"
    subprotocols = ()
    capabilities = Capabilities()
    core_of = StreamCore

    def press(self, key: str) -> None:
        return None

    def marked(self, name: str) -> None:
        return None

    def understand(self, message: Message) -> Said:
        assert isinstance(message, bytes)
        return Said(audio=message)

    def carrier(self, api_url: str) -> Carrier:
        return AudioStreamCarrier(ForkConfig(self.password))


class ChanWebSocket(CarrierCase):
    """Asterisk's chan_websocket, its messages in JSON."""

    name = "asterisk"
    announced = False
    signs_sockets = True
    subprotocols = ("media",)
    encoding = Encoding("PCM", 16000)
    frame = b"\xd0\x07" * 320
    names_streams = False
    password = "asterisk-secret"

    def core(self) -> MediaStreamCore:
        return WebSocketChannelCore()

    def start(self) -> list[Message]:
        body = {"event": "MEDIA_START", "connection_id": "voicegw", "channel": "WebSocket/voicegw/0x1"}
        body |= {"channel_id": "call-1", "format": "slin16"}
        numbers = {"optimal_frame_size": 640, "ptime": 20}
        return [json.dumps({**body, **numbers, "channel_variables": {}})]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        return sound

    def event(self, name: str, **fields: str) -> Message:
        return json.dumps({"event": name, "channel_id": "call-1", **fields})

    def press(self, key: str) -> Message | None:
        return self.event("DTMF_END", digit=key)

    def marked(self, name: str) -> Message | None:
        return self.event("MEDIA_MARK_PROCESSED", correlation_id=name)

    def understand(self, message: Message) -> Said:
        if isinstance(message, bytes):
            return Said(audio=message)
        assert len(message) <= 128, "Asterisk takes no more"
        body = json.loads(message)
        if body["command"] == "MARK_MEDIA":
            return Said(mark=body["correlation_id"])
        assert body["command"] in {"FLUSH_MEDIA", "HANGUP"}
        return Said(clear=body["command"] == "FLUSH_MEDIA")

    def carrier(self, api_url: str) -> Carrier:
        return ChanWebSocketCarrier(ChanWebSocketConfig(self.password))

    async def announce(self, d: "Door") -> str:
        return "wss://voice.example.com/asterisk/media?caller=+4915&callee=%2B4930&uniqueid=17.1"

    def socket_headers(self, url: str) -> dict[str, str]:
        return {"Authorization": "Basic " + b64encode(f"voicegw:{self.password}".encode()).decode()}


SOFTSWITCHES: tuple[type[CarrierCase], ...] = (AudioSocket, ChanWebSocket, AudioFork, AudioStream)
