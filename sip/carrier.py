"""A carrier whose calls come over a media socket: what one file must offer to be one.

    webhook  -> check -> hook -> answer document, with the address of the socket and a pass in it
    socket   -> check_socket (and the pass) -> core -> MediaStreamLeg -> the call
    control  -> hang up, transfer, keys: mostly by REST
    place    -> an outbound call by REST; its progress comes by webhooks, its media by the socket

Carriers without webhooks (a softswitch that simply connects) have `hooks = ()` and `announced = False`; then
`check_socket` is all that keeps strangers out, and the core's `Started` all that is known of the call.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit
from xml.etree.ElementTree import Element, tostring

from media.leg import HangupCause
from sip.carrierrest import RestClient
from sip.endpoint import CallProgress, OutboundCall
from sip.errors import SipError
from sip.mediacore import Capabilities, MediaStreamCore
from sip.medialine import CallControl
from sip.webpeer import same_secret


class Refused(SipError):
    """A request that is not the carrier's, or not readable. `status` is the HTTP answer."""

    def __init__(self, reason: str, status: int = 403) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class WebRequest:
    """An HTTP request, as the carrier made and signed it."""

    method: str
    url: str  # the public one, by which the carrier knows us; with its query
    headers: Mapping[str, str]  # names in any case
    body: bytes = b""
    at: float = 0.0  # when it came, seconds since 1970
    local: bool = False
    """From this machine, and not passed on by a proxy."""

    @property
    def query(self) -> dict[str, str]:
        """Of the URL; the first of each name."""
        pairs = parse_qsl(urlsplit(self.url).query, keep_blank_values=True)
        return dict(reversed(pairs))

    @property
    def form(self) -> list[tuple[str, str]]:
        """Fields of an urlencoded body. Raises Refused."""
        try:
            return parse_qsl(self.body.decode(), keep_blank_values=True, max_num_fields=200)
        except ValueError as error:
            raise Refused(f"not a form: {error}", 400) from error

    @property
    def json(self) -> dict[str, Any]:
        """The object in the body. Raises Refused."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise Refused("not JSON", 400) from error
        if not isinstance(value, dict):
            raise Refused("not a JSON object", 400)
        return value


@dataclass(frozen=True, slots=True)
class WebAnswer:
    """What a webhook is answered."""

    text: str = ""
    content_type: str = "application/xml"
    status: int = 200


def document(*elements: Element) -> str:
    """An answer in XML, in the manner of Twilio."""
    response = Element("Response")
    response.extend(elements)
    return '<?xml version="1.0" encoding="UTF-8"?>' + tostring(response, encoding="unicode")


@dataclass(frozen=True, slots=True)
class Announced:
    """A call that a webhook has told of; its socket will come."""

    call_id: str  # the carrier's
    caller: str = ""
    callee: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)  # names in lower case
    order: str = ""  # of an outbound call: what `Carrier.place` was given


def check_basic(request: WebRequest, user: str, password: str) -> None:
    """Raise Refused unless the request brings user and password (RFC 7617)."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    right = b64encode(f"{user}:{password}".encode()).decode()
    if scheme.lower() != "basic" or not password or not same_secret(given.strip(), right):
        raise Refused("wrong user or password" if given else "no password", 401)


def check_age(request: WebRequest, stamp: str, limit_s: float) -> None:
    """Raise Refused unless `stamp`, seconds since 1970 as the signer wrote them, is about now."""
    if not (stamp.isdecimal() and len(stamp) < 20) or abs(request.at - int(stamp)) > limit_s:
        raise Refused("signed too long ago, or not at all")


def is_sip(target: str) -> bool:
    """Whether a call goes to a SIP address, not to a number."""
    return target.lower().startswith(("sip:", "sips:"))


def own_number(call: OutboundCall, own: str) -> str:
    """The caller id of a call that we place: a number that it brings, else our own."""
    return call.caller if call.caller.lstrip("+").isdecimal() else own


_NO_PARAMETERS = {"token", "pass", "caller", "callee"}


def told(fields: Mapping[str, str]) -> Announced:
    """What a query says of a call: `caller`, `callee`, and parameters."""

    def number(name: str) -> str:
        value = fields.get(name, "")
        return "+" + value[1:] if value.startswith(" ") else value  # a "+" that was not encoded

    given = {name.lower(): value for name, value in fields.items() if name not in _NO_PARAMETERS}
    return Announced("", number("caller"), number("callee"), given)


class Desk(Protocol):
    """What the application does for a carrier's webhooks."""

    def refusal(self, call: Announced) -> str:
        """Why a new inbound call is turned away: "busy", or "not_found" (nobody lives at that number);
        "" lets it in."""

    def stream_url(self, call: Announced) -> str:
        """Address of the media socket for this call, with a pass that is good for one connection."""

    def ticket(self, call: Announced) -> str:
        """A pass for this call as a UUID, for sockets whose address is not ours to write."""

    def hook_url(self, hook: str, **query: str) -> str:
        """Address of one of the carrier's own webhooks."""

    def progress(self, order: str, progress: CallProgress) -> None:
        """An outbound call rings, or was answered. Any number of times, in any order."""

    def failed(self, order: str, status: int, reason: str) -> None:
        """An outbound call was not answered; `status` as SIP has it. Nothing after an answer."""

    def ended(self, call_id: str, cause: HangupCause) -> None:
        """The carrier says that a call is over; its socket may close later, or never."""

    def report(self, call_id: str, kind: str, data: Mapping[str, str]) -> None:
        """Something worth keeping about a call: amd, recording, left, error, ... Told again, it is kept
        once."""


class Carrier(Protocol):
    """One carrier, as configured."""

    name: str
    capabilities: Capabilities
    hooks: tuple[str, ...] = ()
    """Names of its webhooks; each is served at /NAME/HOOK, by GET and POST."""
    announced: bool = True
    """Its sockets come only after a webhook, with a pass. Else they may come without."""
    distant: bool = True
    """It comes over the internet, to `http.public_url`; else it is a softswitch of one's own."""
    client: RestClient | None = None
    """Its REST interface, for the counters."""
    listens: tuple[str, int] | None = None
    """Host and TCP port of its calls, where they do not come by WebSocket."""
    now: Callable[[], float]
    """Wall clock, seconds since 1970; the desk sets it."""
    subprotocols: tuple[str, ...] = ()
    """WebSocket subprotocols that we agree to."""

    def core(self) -> MediaStreamCore:
        """A new core, for one stream."""
        raise NotImplementedError

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless the carrier has signed this webhook."""
        raise NotImplementedError

    def check_socket(self, request: WebRequest) -> None:
        """Raise Refused unless the carrier has signed this WebSocket upgrade."""
        raise NotImplementedError

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer one of `hooks`. It may come twice, and in any order. Raises Refused."""
        raise NotImplementedError

    def control(self, call: Announced, desk: Desk) -> CallControl:
        """What can be done with this call."""
        raise NotImplementedError

    async def began(self, call: Announced, desk: Desk) -> None:
        """The media of a call is here: begin a recording, say. Runs beside the call."""

    async def place(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Have the carrier call somebody; returns its id of the call. The webhooks that follow carry `order`
        back; one may come before this returns. Raises CallFailed."""
        raise NotImplementedError

    async def serve(self) -> None:
        """What it does all the time, for connections of its own. Cancelled at the end."""

    async def give_up(self, call_id: str) -> bool:
        """End an outbound call that was not answered yet; False: it could not be ended, for all we know, and
        rings on. Never raises for one that is gone."""
        return True

    async def close(self) -> None:
        """Close connections. Idempotent."""
