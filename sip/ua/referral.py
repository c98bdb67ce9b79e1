"""A transfer that we ask for: REFER out, and what the NOTIFYs tell of it (RFC 3515); attended with
Replaces (RFC 3891)."""

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from media.errors import TransferError, TransferRefused, Unsupported
from sip.errors import RemoteProtocolError
from sip.ua.grammar import SipUri
from sip.ua.layer import ServerTransaction
from sip.ua.message import Request, reply

if TYPE_CHECKING:
    from sip.ua.session import Session

_FRAGMENT = re.compile(rb"SIP/2\.0 ([1-6]\d\d)", re.IGNORECASE)
_NUMBER = re.compile(r"[+0-9*#A-Za-z._\-]+")
LEFT = 200  # the far end hung up after it took the REFER: it is with the target


class Referral:
    """One transfer under way."""

    def __init__(self, session: "Session", target: str, replaces: str = "") -> None:
        """`replaces`: value of the Replaces header that the far end shall call with. Raises TransferError
        if the target is neither a URI nor a number."""
        self._session = session
        self._uri = target_uri(target, session.dialog.target)
        if replaces:
            self._uri += f"?Replaces={quote(replaces, safe='')}"
        self._result: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def run(self, timeout_s: float) -> None:
        """Returns when the target has answered. Raises TransferError or Unsupported."""
        session = self._session
        headers = {
            "refer-to": f"<{self._uri}>",
            "referred-by": f"<{session.dialog.local.uri}>",
            "contact": session.stack.exchange.contact(await session.way()),
        }
        response = await session.ask("REFER", headers)
        if response is None:
            raise TransferRefused("the far end does not answer the REFER")
        if response.status in (405, 501):
            raise Unsupported(f"the far end knows no transfer ({response.status})")
        if response.status >= 300:
            raise TransferRefused(f"refused: {response.status} {response.reason}")
        try:
            async with asyncio.timeout(timeout_s):
                status = await self._result
        except TimeoutError:
            raise TransferError(f"no result within {timeout_s:g} s") from None
        if status >= 300:
            raise TransferError(f"the target did not answer: {status}")

    def notified(self, request: Request) -> None:
        """A NOTIFY of this transfer."""
        match = _FRAGMENT.match(request.body.strip())
        status = int(match[1]) if match else 0
        if status >= 200:
            self._done(status)
        elif (request.headers.get("subscription-state") or "").lower().startswith("terminated"):
            self._done(487)  # ended without a result

    def left(self) -> None:
        """The far end has hung up."""
        self._done(LEFT)

    def _done(self, status: int) -> None:
        if not self._result.done():
            self._result.set_result(status)


def target_uri(target: str, remote: str) -> str:
    """A URI as it is; a number at the far end's host."""
    try:
        if target.lower().startswith(("sip:", "sips:", "tel:")):
            SipUri.parse(target)
            return target
        if _NUMBER.fullmatch(target):
            return str(SipUri(SipUri.parse(remote).host, target))
    except RemoteProtocolError:
        pass
    raise TransferError(f"neither a SIP address nor a number: {target!r}")


def receive_notify(session: "Session", request: Request, transaction: ServerTransaction) -> None:
    """A NOTIFY of the far end: how its call to our target goes."""
    event = (request.headers.get("event") or "").partition(";")[0].strip().lower()
    if event != "refer" or session.referral is None:
        session.stack.refuse(request, transaction, 481)  # RFC 6665, 4.1.3: no such subscription
        return
    session.stack.exchange.respond(transaction, reply(request, 200))
    session.referral.notified(request)
