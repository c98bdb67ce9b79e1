"""What the dialplan of Asterisk and we tell each other beside the audio, for both of its media sockets.

    /NAME/call     a call is about to come   -> a pass (a UUID), or "busy", or "not_found"
    /NAME/next     where does it go now?     -> what to dial, or nothing

The dialplan asks with `CURL()`, and takes the answer as it is: plain text (docs/carriers.md). So nothing may
be in it that means something to a dialplan.
"""

import re
from collections import OrderedDict

from dialog.types import Transfer
from media.errors import TransferError, Unsupported
from media.leg import HangupCause
from sip.carrier import Announced, Carrier, Desk, Refused, WebAnswer, WebRequest, told
from sip.medialine import CallControl
from sip.webpeer import same_secret

CHANNEL = "uniqueid"  # parameter of a call: Asterisk's own name of the caller's channel
REMEMBERED = 1000  # calls that shall go somewhere, and have not asked yet
# What names of channels, numbers and SIP addresses are made of. Not among it: & (one more channel), comma and
# bar (more arguments), parentheses (the end of the application), $ (variables), quotes, spaces.
DIALLED = re.compile(r"[A-Za-z0-9/@+*#._:;=~%-]+", re.ASCII)


class DialplanCarrier(Carrier):
    """An Asterisk whose dialplan announces calls, and goes on when we leave."""

    hooks = ("call", "next")
    distant = False

    def __init__(self, token: str) -> None:
        """`token`: what requests from other machines must bring; empty: none may."""
        self._token = token
        self._next: OrderedDict[str, str] = OrderedDict()  # channel -> what it shall dial

    def check(self, request: WebRequest) -> None:
        """Raise Refused unless it comes from this machine, or brings the token."""
        if not request.local and not self._is_token(request.query.get("token", "")):
            raise Refused("not from this machine, and without the right token")

    def _is_token(self, given: str) -> bool:
        return bool(self._token) and same_secret(given, self._token)

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """Answer the dialplan."""
        fields = {**request.query, **dict(request.form)}
        if hook == "next":
            return _plain(self._next.pop(fields.get(CHANNEL, ""), ""))
        call = told(fields)
        return _plain(desk.refusal(call) or desk.ticket(call))

    def control(self, call: Announced, desk: Desk) -> CallControl:
        """Of one call."""
        return DialplanControl(self, call)

    def send_on(self, channel: str, target: str) -> None:
        """Tell the dialplan, when it asks, where this call goes."""
        self._next[channel] = target
        while len(self._next) > REMEMBERED:
            self._next.popitem(last=False)


class DialplanControl:
    """Implements `sip.medialine.CallControl` for one call."""

    def __init__(self, carrier: DialplanCarrier, call: Announced) -> None:
        self._carrier, self._call = carrier, call

    async def hangup(self, cause: HangupCause) -> None:
        """Closing the socket does it: the dialplan goes on, and has nowhere to go."""

    async def press(self, digits: str) -> None:
        """Not asked: keys are pressed by sound."""

    async def transfer(self, order: Transfer) -> None:
        """Leave the call to the dialplan, which asks where it goes. Raises TransferError, Unsupported."""
        if not DIALLED.fullmatch(order.target):
            raise TransferError(
                f"{order.target!r} cannot be dialled by Asterisk: letters, digits and /@+*#._:;=~%- alone"
            )
        channel = self._call.parameters.get(CHANNEL, "")
        if not channel:
            raise Unsupported(
                f"{self._carrier.name}: the dialplan has not announced this call with its {CHANNEL}, "
                "so it will not ask where to go"
            )
        self._carrier.send_on(channel, order.target)


def _plain(text: str) -> WebAnswer:
    return WebAnswer(text, "text/plain")
