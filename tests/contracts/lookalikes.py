"""More carriers as the contract suite sees them: Vonage, jambonz, Genesys, Bandwidth, Exotel."""

import hashlib
import hmac
import json
import secrets
from base64 import b64decode, b64encode
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit
from weakref import WeakValueDictionary
from xml.etree.ElementTree import Element, fromstring

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding as KeyEncoding
from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

from sip.audiofork import ForkCore
from sip.audiohook import AudioHook as AudioHookCarrier
from sip.audiohook import AudioHookConfig, AudioHookCore
from sip.bandwidth import Bandwidth as BandwidthCarrier
from sip.bandwidth import BandwidthConfig, BandwidthCore
from sip.carrier import Carrier
from sip.exotel import Exotel as ExotelCarrier
from sip.exotel import ExotelConfig, ExotelCore
from sip.jambonz import Jambonz as JambonzCarrier
from sip.jambonz import JambonzConfig
from sip.jwt import encode
from sip.mediacore import Capabilities, Encoding, MediaStreamCore, Message
from sip.vonage import Vonage as VonageCarrier
from sip.vonage import VonageConfig, VonageCore
from tests.contracts.farend import CarrierCase, Hook, Said, understand_json

if TYPE_CHECKING:
    from tests.contracts.doors import Door

NOW = 1_700_000_000  # by the doors' clock


@cache
def private_key() -> str:
    """An RSA key of the tests."""
    key = generate_private_key(65537, 2048)
    return key.private_bytes(KeyEncoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwt(said: dict[str, Any], secret: str) -> str:
    """Signed by HS256."""
    head = encode(b'{"typ":"JWT","alg":"HS256"}')
    text = f"{head}.{encode(json.dumps(said).encode())}"
    return f"{text}.{encode(hmac.digest(secret.encode(), text.encode(), 'sha256'))}"


class Vonage(CarrierCase):
    name = "vonage"
    caller, callee = "4915", "4930"
    secret = "vonage-secret"
    encoding = Encoding("PCM", 16000)
    frame = b"\xd0\x07" * 320
    names_streams = False

    def core(self) -> MediaStreamCore:
        return VonageCore()

    def start(self) -> list[Message]:
        body = {"event": "websocket:connected", "content-type": "audio/l16;rate=16000", "tenant": "acme"}
        return [json.dumps(body | {"voicegw_call": "call-1"})]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        return sound

    def press(self, key: str) -> Message:
        return json.dumps({"event": "websocket:dtmf", "digit": key, "duration": 260})

    def marked(self, name: str) -> Message:
        return json.dumps({"event": "websocket:notify", "payload": {"mark": name}})

    def understand(self, message: Message) -> Said:
        if isinstance(message, bytes):
            assert len(message) == 640, "exactly 20 ms"
            return Said(audio=message)
        body = json.loads(message)
        if body["action"] == "notify":
            return Said(mark=body["payload"]["mark"])
        assert body == {"action": "clear"}
        return Said(clear=True)

    def carrier(self, api_url: str) -> Carrier:
        keys = ("app-1", private_key(), self.secret, "4930", 16000)
        return VonageCarrier(VonageConfig(*keys, api_url=api_url))

    def signed(self, url: str, body: dict[str, Any], at: float = NOW) -> Hook:
        """A webhook of Vonage."""
        data = json.dumps(body).encode()
        said = {"iat": at, "jti": "j", "iss": "Vonage", "application_id": "app-1"}
        said["payload_hash"] = hashlib.sha256(data).hexdigest()
        headers = {"Authorization": f"Bearer {jwt(said, self.secret)}", "Content-Type": "application/json"}
        return Hook(url, data, headers)

    def incoming(self, d: "Door") -> Hook:
        body = {"uuid": "call-1", "conversation_uuid": "CON-1", "from": "4915", "to": "4930"}
        return self.signed("https://voice.example.com/vonage/answer", body)

    async def ncco(self, d: "Door", hook: Hook) -> list[dict[str, Any]]:
        async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
            assert answer.status == 200 and answer.content_type == "application/json"
            actions: list[dict[str, Any]] = await answer.json()
        return actions

    async def announce(self, d: "Door") -> str:
        (connect,) = await self.ncco(d, self.incoming(d))
        (endpoint,) = connect["endpoint"]
        assert endpoint["type"] == "websocket" and endpoint["content-type"] == "audio/l16;rate=16000"
        assert endpoint["headers"]["voicegw_call"] == "call-1"
        return str(endpoint["uri"])

    async def turned_away(self, d: "Door") -> bool:
        return await self.ncco(d, self.incoming(d)) == []


class Jambonz(CarrierCase):
    name = "jambonz"
    secret = "jambonz-secret"
    subprotocols = ("audio.jambonz.org",)
    encoding = Encoding("PCM", 16000)
    frame = b"\xd0\x07" * 320
    names_streams = False

    def core(self) -> MediaStreamCore:
        return ForkCore(16000)

    def start(self) -> list[Message]:
        body = {
            "callSid": "call-1",
            "accountSid": "A1",
            "direction": "inbound",
            "from": "+4915",
            "to": "+4930",
        }
        return [json.dumps(body | {"sampleRate": 16000, "mixType": "mono", "metadata": {"tenant": "acme"}})]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        return sound

    def press(self, key: str) -> Message:
        return json.dumps({"event": "dtmf", "dtmf": key, "duration": "1600"})

    def marked(self, name: str) -> Message:
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
        keys = ("A1", self.secret, "key", "app-1", "+4930", 16000)
        return JambonzCarrier(JambonzConfig(*keys, api_url=api_url))

    def signed(self, url: str, body: dict[str, Any], at: int = NOW) -> Hook:
        """A webhook of jambonz."""
        data = json.dumps(body).encode()
        sign = hmac.digest(self.secret.encode(), f"{at}.".encode() + data, "sha256").hex()
        return Hook(url, data, {"Jambonz-Signature": f"t={at},v1={sign}", "Content-Type": "application/json"})

    def incoming(self, d: "Door") -> Hook:
        body = {"call_sid": "call-1", "direction": "inbound", "from": "+4915", "to": "+4930"}
        return self.signed("https://voice.example.com/jambonz/call", body)

    async def verbs(self, d: "Door", hook: Hook) -> list[dict[str, Any]]:
        async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
            assert answer.status == 200 and answer.content_type == "application/json"
            found: list[dict[str, Any]] = await answer.json()
        return found

    async def announce(self, d: "Door") -> str:
        answer, listen, hangup = await self.verbs(d, self.incoming(d))
        assert [answer["verb"], listen["verb"], hangup["verb"]] == ["answer", "listen", "hangup"]
        assert listen["bidirectionalAudio"] == {"enabled": True, "streaming": True, "sampleRate": 16000}
        return str(listen["url"])

    async def turned_away(self, d: "Door") -> bool:
        return await self.verbs(d, self.incoming(d)) == [{"verb": "sip:decline", "status": 486}]


class AudioHook(CarrierCase):
    """Genesys."""

    name = "audiohook"
    announced = False
    signs_sockets = True
    capabilities = Capabilities(clear=True, dtmf_in=True)
    secret = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="

    def core(self) -> MediaStreamCore:
        return AudioHookCore(WeakValueDictionary())

    def message(self, kind: str, session: str = "call-1", **said: Any) -> str:
        head = {"version": "2", "id": session, "type": kind, "seq": 7, "serverseq": 1, "position": "PT1.2S"}
        return json.dumps({**head, "parameters": said})

    def start(self) -> list[Message]:
        form = {"type": "audio", "format": "PCMU", "rate": 8000}
        offers = [{**form, "channels": c} for c in (["external", "internal"], ["external"])]
        who = {"id": "p", "ani": "tel:+4915", "dnis": "tel:+4930"}
        said = {"organizationId": "o", "conversationId": "conv-1", "participant": who, "media": offers}
        return [self.message("open", **said, inputVariables={"Tenant": "acme"})]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        return sound

    names_streams = False

    def stop(self) -> Message:
        return self.message("close", reason="end")

    def press(self, key: str) -> Message:
        return self.message("dtmf", digit=key)

    def understand(self, message: Message) -> Said:
        if isinstance(message, bytes):
            return Said(audio=message)
        body = json.loads(message)
        assert body["version"] == "2" and body["id"] == "call-1"
        if body["type"] == "event":
            return Said(clear=body["parameters"]["entities"][0]["type"] == "barge_in")
        assert body["type"] in {"opened", "closed", "disconnect", "pong"}
        return Said()

    def carrier(self, api_url: str) -> Carrier:
        return AudioHookCarrier(AudioHookConfig("key", self.secret))

    async def announce(self, d: "Door") -> str:
        return "wss://voice.example.com/audiohook/media"

    def socket_headers(self, url: str) -> dict[str, str]:
        parts = urlsplit(url)
        said = {"audiohook-organization-id": "o", "audiohook-session-id": "call-1", "x-api-key": "key"}
        said["audiohook-correlation-id"] = "c"
        signed = {"@request-target": parts.path, "@authority": parts.netloc, **said}
        names = " ".join(f'"{name}"' for name in signed)
        params = f'({names});keyid="key";nonce="{secrets.token_hex(11)}";alg="hmac-sha256";created={NOW}'
        lines = [f'"{name}": {value}' for name, value in signed.items()]
        data = "\n".join([*lines, f'"@signature-params": {params}']).encode()
        sign = b64encode(hmac.digest(b64decode(self.secret), data, "sha256")).decode()
        return {**said, "Signature-Input": f"sig1={params}", "Signature": f"sig1=:{sign}:"}


class Bandwidth(CarrierCase):
    name = "bandwidth"
    capabilities = Capabilities(clear=True)
    names_streams = False
    password = "callback-secret"

    def core(self) -> MediaStreamCore:
        return BandwidthCore()

    def start(self) -> list[Message]:
        tracks = [{"name": "inbound", "mediaFormat": {"encoding": "audio/PCMU", "sampleRate": 8000}}]
        said = {"accountId": "A1", "callId": "call-1", "streamId": "stream-1", "tracks": tracks}
        return [json.dumps({"eventType": "start", "metadata": said, "streamParams": {"Tenant": "acme"}})]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        body = {"eventType": "media", "track": "inbound", "sequenceNumber": n}
        return json.dumps({**body, "payload": b64encode(sound).decode()})

    def stop(self) -> Message:
        return json.dumps({"eventType": "stop", "metadata": {"callId": "call-1"}})

    def understand(self, message: Message) -> Said:
        body = json.loads(message)
        if body["eventType"] == "clear":
            return Said(clear=True)
        assert body["eventType"] == "playAudio" and body["media"]["contentType"] == "audio/pcmu"
        return Said(audio=b64decode(body["media"]["payload"], validate=True))

    def carrier(self, api_url: str) -> Carrier:
        keys = ("A1", "api", "api-secret", "voicegw", self.password, "app-1", "+4930")
        return BandwidthCarrier(BandwidthConfig(*keys, api_url=api_url))

    def signed(self, url: str, body: dict[str, Any]) -> Hook:
        """A webhook of Bandwidth."""
        user = b64encode(f"voicegw:{self.password}".encode()).decode()
        headers = {"Authorization": f"Basic {user}", "Content-Type": "application/json"}
        return Hook(url, json.dumps({"accountId": "A1", "callId": "call-1", **body}).encode(), headers)

    def forged(self, hook: Hook) -> list[Hook]:
        other = Hook(hook.url, hook.body.replace(b"A1", b"A2"), hook.headers)
        return [other, *super().forged(hook)[1:]]

    def incoming(self, d: "Door") -> Hook:
        body = {"eventType": "initiate", "from": "+4915", "to": "+4930", "direction": "inbound"}
        return self.signed("https://voice.example.com/bandwidth/answer", body)

    async def bxml(self, d: "Door", hook: Hook) -> Element:
        async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
            assert answer.status == 200 and answer.content_type == "application/xml"
            return fromstring(await answer.text())

    async def announce(self, d: "Door") -> str:
        start, pause = await self.bxml(d, self.incoming(d))
        assert (start.tag, pause.tag) == ("StartStream", "Pause")
        assert start.attrib["mode"] == "bidirectional" and start.attrib["tracks"] == "inbound"
        return start.attrib["destination"]

    async def turned_away(self, d: "Door") -> bool:
        return [element.tag for element in await self.bxml(d, self.incoming(d))] == ["Hangup"]


class Exotel(CarrierCase):
    name = "exotel"
    token = "exotel-secret"
    encoding = Encoding("PCM", 8000)
    frame = b"\xd0\x07" * 160

    def core(self) -> MediaStreamCore:
        return ExotelCore()

    def message(self, event: str, stream: str = "stream-1", **said: Any) -> str:
        return json.dumps({"event": event, "sequence_number": "3", "stream_sid": stream, **said})

    def start(self) -> list[Message]:
        said = {"stream_sid": "stream-1", "call_sid": "call-1", "account_sid": "A1", "from": "+4915"}
        form = {"encoding": "audio/x-raw", "sample_rate": "8000", "bit_rate": "16"}
        said |= {"to": "+4930"}
        start = {**said, "custom_parameters": {"tenant": "acme"}, "media_format": form}
        return ['{"event":"connected"}', self.message("start", start=start)]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        media = {"chunk": str(n), "timestamp": str(20 * n), "payload": b64encode(sound).decode()}
        return self.message("media", stream, media=media)

    def stop(self) -> Message:
        return self.message("stop", stop={"call_sid": "call-1", "account_sid": "A1", "reason": "hangup"})

    def press(self, key: str) -> Message:
        return self.message("dtmf", dtmf={"digit": key, "duration": "100"})

    def marked(self, name: str) -> Message:
        return self.message("mark", mark={"name": name})

    def understand(self, message: Message) -> Said:
        body = json.loads(message)
        assert body["stream_sid"] == "stream-1"
        return understand_json(body, "media", "clear")

    def carrier(self, api_url: str) -> Carrier:
        return ExotelCarrier(ExotelConfig("A1", "key", "api-token", self.token, "+4930", api_url=api_url))

    def incoming(self, d: "Door") -> Hook:
        query = urlencode({"token": self.token, "CallSid": "call-1", "CallFrom": "+4915", "CallTo": "+4930"})
        return Hook(f"https://voice.example.com/exotel/voicebot?{query}", b"", {})

    def forged(self, hook: Hook) -> list[Hook]:
        urls = [hook.url.replace(f"token={self.token}", token) for token in ("token=x", "token=", "a=b")]
        return [Hook(url, b"", {}) for url in urls]

    async def announce(self, d: "Door") -> str:
        async with d.client.get(d.local(self.incoming(d).url)) as answer:
            assert answer.status == 200 and answer.content_type == "application/json"
            url, query = (await answer.json())["url"].split("?")
        assert query == "sample-rate=8000"
        return str(url)

    async def turned_away(self, d: "Door") -> bool:
        async with d.client.get(d.local(self.incoming(d).url)) as answer:
            return answer.status == 503


LOOKALIKES: tuple[type[CarrierCase], ...] = (Vonage, Jambonz, AudioHook, Bandwidth, Exotel)
