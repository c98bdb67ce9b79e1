"""The carriers as the contract suite sees them: one small class each, that speaks the far end's part.

A new carrier adds its class to `CASES`; those that a softswitch of one's own brings are in softswitches.py.
"""

import json
import secrets
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, fromstring

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twilio.request_validator import RequestValidator

from sip.carrier import Carrier, WebRequest
from sip.mediacore import Encoding, MediaStreamCore, Message
from sip.plivo import Plivo as PlivoCarrier
from sip.plivo import PlivoConfig, PlivoCore
from sip.plivo import signature as plivo_signature
from sip.signalwire import SignalWire as SignalWireCarrier
from sip.signalwire import SignalWireConfig
from sip.telnyx import TelnyxCore
from sip.telnyxcarrier import Telnyx as TelnyxCarrier
from sip.telnyxcarrier import TelnyxConfig
from sip.twilio import TwilioCore
from sip.twiliocarrier import Twilio as TwilioCarrier
from sip.twiliocarrier import TwilioConfig
from tests.contracts.farend import CarrierCase, Hook, Said, understand_json
from tests.contracts.lookalikes import LOOKALIKES
from tests.contracts.softswitches import SOFTSWITCHES

if TYPE_CHECKING:
    from tests.contracts.doors import Asked, Door


class Twilio(CarrierCase):
    name = "twilio"
    header = "X-Twilio-Signature"
    signs_sockets = True
    token = "12345"

    def core(self) -> MediaStreamCore:
        return TwilioCore()

    def start(self) -> list[Message]:
        form = {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}
        start = {
            "accountSid": "AC1",
            "streamSid": "stream-1",
            "callSid": "call-1",
            "tracks": ["inbound"],
            "customParameters": {"Tenant": "acme"},
            "mediaFormat": form,
        }
        return [
            '{"event":"connected","protocol":"Call","version":"1.0.0"}',
            self._message("start", "stream-1", sequenceNumber="1", start=start),
        ]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        media = {"track": "inbound", "chunk": str(n), "timestamp": str(20 * n)}
        media["payload"] = b64encode(sound).decode()
        return self._message("media", stream, sequenceNumber=str(n + 1), media=media)

    def stop(self) -> Message:
        return self._message("stop", "stream-1", stop={"accountSid": "AC1", "callSid": "call-1"})

    def press(self, key: str) -> Message:
        return self._message("dtmf", "stream-1", dtmf={"track": "inbound_track", "digit": key})

    def marked(self, name: str) -> Message:
        return self._message("mark", "stream-1", mark={"name": name})

    def understand(self, message: Message) -> Said:
        body = json.loads(message)
        assert body.pop("streamSid") == "stream-1"
        return understand_json(body, "media", "clear")

    @staticmethod
    def _message(event: str, stream: str, **fields: Any) -> str:
        return json.dumps({"event": event, "streamSid": stream, **fields})

    def carrier(self, api_url: str) -> Carrier:
        return TwilioCarrier(TwilioConfig("AC1", self.token, api_url=api_url, caller="+4930"))

    def incoming(self, d: "Door", url: str = "", **fields: str) -> Hook:
        url = url or f"https://voice.example.com/{self.name}/voice?tenant=acme"
        given = {"CallSid": "call-1", "AccountSid": "AC1", "From": "+4915", "To": "+4930", **fields}
        sign = RequestValidator(self.token).compute_signature(url, given)
        headers = {self.header: sign, "Content-Type": "application/x-www-form-urlencoded"}
        return Hook(url, urlencode(given).encode(), headers)

    async def announce(self, d: "Door") -> str:
        hook = self.incoming(d)
        async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
            assert answer.status == 200 and answer.content_type == "application/xml"
            stream = fromstring(await answer.text()).find("Connect/Stream")
        assert stream is not None
        return stream.attrib["url"]

    async def turned_away(self, d: "Door") -> bool:
        hook = self.incoming(d)
        async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
            reject = fromstring(await answer.text()).find("Reject")
        return reject is not None and reject.attrib["reason"] == "busy"

    def socket_headers(self, url: str) -> dict[str, str]:
        return {"X-Twilio-Signature": RequestValidator(self.token).compute_signature(url, {})}


class SignalWire(Twilio):
    name = "signalwire"
    header = "X-SignalWire-Signature"
    signs_sockets = False
    encoding = Encoding("PCM", 16000)
    frame = b"\xd0\x07" * 320

    def core(self) -> MediaStreamCore:
        return TwilioCore(self.encoding)

    def carrier(self, api_url: str) -> Carrier:
        keys = ("AC1", "acme.signalwire.com", "api-token", self.token, "L16@16000h")
        return SignalWireCarrier(SignalWireConfig(*keys, api_url=api_url, caller="+4930"))

    def socket_headers(self, url: str) -> dict[str, str]:
        return {}


class Telnyx(CarrierCase):
    name = "telnyx"
    signs_sockets = True
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    stamp = 1_699_999_990  # when its webhooks are signed

    def core(self) -> MediaStreamCore:
        return TelnyxCore(self.encoding)

    def start(self) -> list[Message]:
        form = {"encoding": "PCMU", "sample_rate": 8000, "channels": 1}
        start = {
            "user_id": "u",
            "call_control_id": "call-1",
            "from": "+4915",
            "to": "+4930",
            "media_format": form,
        }
        return [
            '{"event":"connected","version":"1.0.0"}',
            self._message("start", sequence_number="1", start=start),
        ]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        media = {"track": "inbound", "chunk": str(n), "payload": b64encode(sound).decode()}
        return self._message("media", stream, sequence_number=str(n + 1), media=media)

    def stop(self) -> Message:
        return self._message("stop", stop={"user_id": "u", "call_control_id": "call-1"})

    def press(self, key: str) -> Message:
        return self._message("dtmf", occurred_at="2026-01-01T00:00:00Z", dtmf={"digit": key})

    def marked(self, name: str) -> Message:
        return self._message("mark", mark={"name": name})

    def understand(self, message: Message) -> Said:
        body = json.loads(message)
        assert "stream_id" not in body
        return understand_json(body, "media", "clear")

    @staticmethod
    def _message(event: str, stream: str = "stream-1", **fields: Any) -> str:
        return json.dumps({"event": event, "stream_id": stream, **fields})

    def carrier(self, api_url: str) -> Carrier:
        public = b64encode(self.key.public_key().public_bytes_raw()).decode()
        return TelnyxCarrier(TelnyxConfig("KEY1", public, "conn", "+4930", api_url=api_url))

    def event(self, kind: str, query: str = "", **payload: str) -> Hook:
        """An event of Telnyx, signed."""
        data = {
            "event_type": kind,
            "id": secrets.token_hex(4),
            "payload": {"call_control_id": "call-1", **payload},
        }
        body = json.dumps({"data": data}).encode()
        stamp = str(self.stamp)
        sign = b64encode(self.key.sign(stamp.encode() + b"|" + body)).decode()
        headers = {
            "Telnyx-Timestamp": stamp,
            "Telnyx-Signature-Ed25519": sign,
            "Content-Type": "application/json",
        }
        return Hook(f"https://voice.example.com/telnyx/voice{query}", body, headers)

    def incoming(self, d: "Door") -> Hook:
        return self.event("call.initiated", direction="incoming", **{"from": "+4915", "to": "+4930"})

    async def _rings(self, d: "Door") -> "Asked":
        count = len(d.rest.asked)
        hook = self.incoming(d)
        async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
            assert answer.status == 200
        (asked,) = d.rest.asked[count:]
        return asked

    async def announce(self, d: "Door") -> str:
        asked = await self._rings(d)
        assert asked.path == "/calls/call-1/actions/answer"
        assert asked.fields["stream_bidirectional_mode"] == "rtp"
        self._token = asked.fields["stream_auth_token"]
        return str(asked.fields["stream_url"])

    async def turned_away(self, d: "Door") -> bool:
        asked = await self._rings(d)
        return asked.path == "/calls/call-1/actions/reject" and asked.fields["cause"] == "USER_BUSY"

    def socket_headers(self, url: str) -> dict[str, str]:
        return {"X-Telnyx-Streaming-Auth-Token": self._token}


class Plivo(CarrierCase):
    name = "plivo"
    token = "12345"

    def core(self) -> MediaStreamCore:
        return PlivoCore()

    def start(self) -> list[Message]:
        form = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
        start = {"callId": "call-1", "streamId": "stream-1", "accountId": "MA1", "mediaFormat": form}
        return [
            json.dumps({"event": "start", "sequenceNumber": 0, "start": start, "extra_headers": "{a=1;b=2}"})
        ]

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        media = {"track": "inbound", "timestamp": "1700000000000", "chunk": n}
        media["payload"] = b64encode(sound).decode()
        return json.dumps({"event": "media", "sequenceNumber": n, "streamId": stream, "media": media})

    def press(self, key: str) -> Message:
        return json.dumps(
            {"event": "dtmf", "streamId": "stream-1", "dtmf": {"track": "inbound", "digit": key}}
        )

    def marked(self, name: str) -> Message:
        return json.dumps({"event": "playedStream", "streamId": "stream-1", "name": name})

    def understand(self, message: Message) -> Said:
        body = json.loads(message)
        assert body["streamId"] == "stream-1"
        if body["event"] == "checkpoint":
            return Said(mark=body["name"])
        if body["event"] == "playAudio":
            assert body["media"]["contentType"] == "audio/x-mulaw" and body["media"]["sampleRate"] == 8000
        return understand_json(body, "playAudio", "clearAudio")

    def carrier(self, api_url: str) -> Carrier:
        return PlivoCarrier(PlivoConfig("MA1", self.token, "+4930", api_url=api_url))

    def signed(self, url: str, **fields: str) -> Hook:
        """A webhook of Plivo, signed."""
        body = urlencode(fields).encode()
        request = WebRequest("POST", url, {}, body)
        sign = plivo_signature(self.token, request, "nonce")
        headers = {"X-Plivo-Signature-V3": sign, "X-Plivo-Signature-V3-Nonce": "nonce"}
        return Hook(url, body, {**headers, "Content-Type": "application/x-www-form-urlencoded"})

    def incoming(self, d: "Door") -> Hook:
        url = "https://voice.example.com/plivo/answer"
        return self.signed(url, CallUUID="call-1", From="+4915", To="+4930", Direction="inbound")

    async def _answer(self, d: "Door") -> "Element":
        hook = self.incoming(d)
        async with d.client.post(d.local(hook.url), data=hook.body, headers=hook.headers) as answer:
            assert answer.status == 200
            return fromstring(await answer.text())

    async def announce(self, d: "Door") -> str:
        stream = (await self._answer(d)).find("Stream")
        assert stream is not None and stream.attrib["contentType"] == "audio/x-mulaw;rate=8000"
        return stream.text or ""

    async def turned_away(self, d: "Door") -> bool:
        hangup = (await self._answer(d)).find("Hangup")
        return hangup is not None and hangup.attrib["reason"] == "busy"


CASES: tuple[type[CarrierCase], ...] = (Twilio, SignalWire, Telnyx, Plivo, *LOOKALIKES, *SOFTSWITCHES)
