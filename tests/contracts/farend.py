"""The far end of a carrier's stream, as the contract suite plays it: what each carrier's class fills in.

What a carrier does not have (marks, `clear`, a stop message) it leaves as it is here.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sip.carrier import Carrier
from sip.mediacore import Capabilities, Encoding, MediaStreamCore, Message

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
    call_id = "call-1"
    """What the carrier calls the call."""

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

    def press(self, key: str) -> Message | None:
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

    def forged(self, hook: Hook) -> list[Hook]:
        """Three that the carrier has not made: altered, unsigned, signed wrongly."""
        bare = {k: v for k, v in hook.headers.items() if k == "Content-Type"}
        wrong = {k: v if k == "Content-Type" else "x" + v[1:] for k, v in hook.headers.items()}
        altered = Hook(hook.url, hook.body.replace(b"4915", b"4916"), hook.headers)
        return [altered, Hook(hook.url, hook.body, bare), Hook(hook.url, hook.body, wrong)]

    async def announce(self, d: "Door") -> str:
        """A call comes in: send the webhook, if there is one; returns the public address of the socket."""
        raise NotImplementedError

    async def turned_away(self, d: "Door") -> bool:
        """Whether the webhook of a call gets the answer that the line is busy."""
        raise NotImplementedError

    def socket_headers(self, url: str) -> dict[str, str]:
        """With which the carrier opens the socket at `url`."""
        return {}


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
