"""More carriers as the contract suite sees them: Vonage, jambonz."""

import hashlib
import hmac
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding as KeyEncoding
from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

from sip.audiofork import ForkCore
from sip.carrier import Carrier
from sip.jambonz import Jambonz as JambonzCarrier
from sip.jambonz import JambonzConfig
from sip.jwt import encode
from sip.mediacore import Encoding, MediaStreamCore, Message
from sip.vonage import Vonage as VonageCarrier
from sip.vonage import VonageConfig, VonageCore
from tests.contracts.farend import CarrierCase, Hook, Said

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
        return VonageCarrier(VonageConfig("app-1", private_key(), self.secret, "4930", api_url=api_url))

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
        config = JambonzConfig("A1", self.secret, "key", "app-1", "+4930", api_url=api_url)
        return JambonzCarrier(config)

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


LOOKALIKES: tuple[type[CarrierCase], ...] = (Vonage, Jambonz)
