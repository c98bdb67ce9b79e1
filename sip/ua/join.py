"""Joins two calls of ours: whoever talks on one talks to whoever talks on the other, and both far ends leave.

The end of an attended transfer by a phone whose both calls go through us. The two legs exchange descriptions
and send their audio to each other within this machine; what they signal is handed across.
"""

import re
from typing import TYPE_CHECKING

from media.errors import Unsupported
from media.leg import HangupCause
from sip.errors import CallFailed, RemoteProtocolError
from sip.rtpleg import RtpLeg
from sip.rtpports import EVERYWHERE

if TYPE_CHECKING:
    from sip.ua.session import Session

_CONNECTION = re.compile(r"(?m)^c=IN (IP4|IP6) \S+")


class Wire:
    """What one leg signals through when the other is its far end (`sip.rtpleg.Signalling`)."""

    over = False

    def __init__(self, far: RtpLeg) -> None:
        self._far = far

    def hangup(self, cause: HangupCause) -> None:
        """The other side hears that we have left."""
        self.over = True
        self._far.ended(cause)

    async def transfer(self, target: str) -> None:
        """There is no phone that could be asked to call somebody."""
        raise Unsupported("the far end is a call of ours")

    def send_info_dtmf(self, digit: str, duration_ms: int) -> None:
        """A key."""
        self._far.info_dtmf(digit)


def join(session: "Session", other: "Session") -> None:
    """Raises CallFailed (488) if they have no codec of one rate: both calls then go on."""
    leg, far = session.leg, other.leg
    assert leg is not None and far is not None
    try:
        host = session.stack.media.config.host
        answer = far.answer(_near(leg.offer(), host))
        leg.accept(_near(answer, host))
    except RemoteProtocolError as e:
        leg.abandon_offer()
        raise CallFailed(e.status, str(e)) from e
    for one in (leg, far):
        one.latch.signalling_host = ""
    session.leg = other.leg = None
    session.line.session, other.line.session = Wire(far), Wire(leg)
    other.hangup(HangupCause.NORMAL)


def _near(description: str, bound: str) -> str:
    """The description with the address that our sockets are `bound` to, this machine's loopback where that is
    all of them: what the world calls us may not lead here."""

    def address(match: re.Match[str]) -> str:
        loopback = "127.0.0.1" if match[1] == "IP4" else "::1"
        return f"c=IN {match[1]} {loopback if bound in EVERYWHERE else bound}"

    return _CONNECTION.sub(address, description)
