"""The carriers as the contract suite sees them: one small class each, that speaks the far end's part.

A new carrier adds its class to `CASES`; what it does not have (marks, `clear`, a stop message) it leaves as
it is here.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from xml.etree.ElementTree import fromstring

from twilio.request_validator import RequestValidator

from sip.carrier import Carrier
from sip.mediacore import Capabilities, Encoding, MediaStreamCore, Message
from sip.twilio import TwilioCore
from sip.twiliocarrier import Twilio as TwilioCarrier
from sip.twiliocarrier import TwilioConfig

if TYPE_CHECKING:
    from tests.contracts.doors import Door


@dataclass(frozen=True, slots=True)
class Said:
    """What we said to the carrier, as the carrier understands it."""

    audio: bytes | None = None
    mark: str | None = None
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook, signed."""

    url: str  # public
    body: bytes
    headers: Mapping[str, str]


class CarrierCase:
    """The far end of one stream."""

    web = True
    """Whether it comes by WebSocket, to a `CarrierMount`."""
    announced = True
    """Whether a webhook comes first, and hands out a pass."""
    signs_sockets = False
    subprotocols: tuple[str, ...] = ()
    caller, callee = "+4915", "+4930"

    name = ""
    encoding = Encoding()
    frame = b"\xd0" * 160  # 20 ms of sound on the wire
    capabilities = Capabilities(clear=True, played=True, dtmf_in=True)
    names_streams = True
    """Whether messages name their stream, so that another's can be told apart."""

    def core(self) -> MediaStreamCore:
        raise NotImplementedError

    def start(self) -> list[Message]:
        """What comes first, up to and with the start, for call `call-1`."""
        raise NotImplementedError

    def media(self, sound: bytes, n: int, stream: str = "stream-1") -> Message:
        """The n-th message with sound, from 1."""
        raise NotImplementedError

    def stop(self) -> Message | None:
        """The end of the stream, where there is a message for it."""
        return None

    def key(self, key: str) -> Message | None:
        return None

    def marked(self, name: str) -> Message | None:
        """Our mark comes back."""
        return None

    def understand(self, message: Message) -> Said:
        """Read a message of ours. Fails for anything that the carrier would not take."""
        raise NotImplementedError

    # The carrier as configured, its webhooks, its sockets

    def carrier(self, api_url: str) -> Carrier:
        """Set up with secrets of the tests."""
        raise NotImplementedError

    def incoming(self, d: "Door") -> Hook:
        """The webhook that announces call `call-1`."""
        raise NotImplementedError

    async def announce(self, d: "Door") -> str:
        """A call comes in: send the webhook, if there is one; returns the public address of the socket."""
        raise NotImplementedError

    async def turned_away(self, d: "Door") -> bool:
        """Whether the webhook of a call gets the answer that the line is busy."""
        raise NotImplementedError

    def socket_headers(self, url: str) -> dict[str, str]:
        """With which the carrier opens the socket at `url`."""
        return {}


class Twilio(CarrierCase):
    name = "twilio"
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

    def key(self, key: str) -> Message:
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

    def incoming(self, d: "Door", **fields: str) -> Hook:
        url = "https://voice.example.com/twilio/voice?tenant=acme"
        given = {"CallSid": "call-1", "AccountSid": "AC1", "From": "+4915", "To": "+4930", **fields}
        sign = RequestValidator(self.token).compute_signature(url, given)
        headers = {"X-Twilio-Signature": sign, "Content-Type": "application/x-www-form-urlencoded"}
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


def understand_json(body: Mapping[str, Any], media: str, clear: str) -> Said:
    """A message in the manner of Twilio, whatever its words for media and clear."""
    match body["event"]:
        case event if event == media:
            return Said(audio=b64decode(body["media"]["payload"], validate=True))
        case event if event == clear:
            return Said(clear=True)
        case "mark":
            return Said(mark=body["mark"]["name"])
    raise AssertionError(f"the carrier knows no {body}")


CASES: tuple[type[CarrierCase], ...] = (Twilio,)
