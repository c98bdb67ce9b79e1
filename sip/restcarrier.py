"""A carrier whose calls are placed, changed and ended by REST: what all of these do alike.

    place          -> order: the carrier's id of the call, out of its answer      else CallFailed
    leg.hangup     -> end                                                         else it is logged
    leg.transfer   -> hand_over: the carrier sends the caller elsewhere           else TransferError

A carrier's file holds what is its own: where to ask and for what, how it says no (`refusal`), what to do
about that (`hints`).
"""

import logging
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from dialog.types import Transfer
from media.errors import TransferError
from media.leg import HangupCause
from sip.carrier import Announced, Carrier, Desk
from sip.carrierrest import Answer, Ask, CarrierError, RestClient, RestConfig, problem
from sip.endpoint import OutboundCall
from sip.errors import CallFailed, cause_of_status
from sip.medialine import CallControl

log = logging.getLogger(__name__)

RING_S = 30.0  # how long a transfer's target may ring where the order does not say


class RestCarrier(Carrier):
    """One account."""

    vendor = ""
    """The carrier's name in messages."""
    hints: Mapping[str, str] = {}
    """Its code of an error, or an HTTP status -> what to do about it."""
    gone = frozenset({"404"})
    """Codes and HTTP statuses which say that the call is over."""
    statuses: Mapping[str, int] = {}
    """Its code, or an HTTP status -> SIP status of a call that could not be placed, where it says more."""

    def __init__(self, rest: RestConfig) -> None:
        self.client: RestClient = RestClient(self.vendor, rest, self.authorization)

    # A carrier's own

    @abstractmethod
    def authorization(self) -> str:
        """The header `Authorization` of a request."""

    @abstractmethod
    def refusal(self, body: Mapping[str, Any]) -> tuple[str, str]:
        """Code and words of an error, out of the answer's JSON; "" for what is not there."""

    @abstractmethod
    async def order(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """As `place`, but raises CarrierError too."""

    @abstractmethod
    async def end(self, call_id: str) -> bool:
        """End a call, answered or not; False: it is over already. Raises CarrierError, also where the carrier
        cannot do it at all: nobody shall take for over what is not."""

    async def press(self, call_id: str, digits: str) -> None:
        """Press keys, where `capabilities.dtmf_out` says that a request does it. Raises CarrierError."""
        raise CarrierError(f"{self.vendor} presses no keys by request")

    async def hand_over(self, call: Announced, order: Transfer, desk: Desk) -> bool:
        """Send the caller elsewhere; False: he has hung up. Raises CarrierError, TransferError."""
        raise TransferError(f"{self.vendor} hands no calls over")

    # Requests

    async def ask(self, ask: Ask) -> Answer:
        """A request that the carrier grants. Raises CarrierError."""
        answer = await self.client.ask(ask)
        if answer.status >= 300:
            raise problem(self.vendor, answer, *self.refusal(answer.body), self.hints)
        return answer

    async def change(self, ask: Ask) -> bool:
        """A request about a live call; False: it is over already. Raises CarrierError for all else."""
        try:
            await self.ask(ask)
        except CarrierError as error:
            if error.code in self.gone or str(error.status) in self.gone:
                return False
            raise
        return True

    async def create(self, ask: Ask, *where: str) -> str:
        """Place a call; its id, which the answer holds at `where`. Raises CarrierError."""
        answer = await self.ask(ask)
        found: object = answer.body
        for name in where:
            found = found.get(name) if isinstance(found, Mapping) else None
        if not isinstance(found, str):
            raise CarrierError(f"{self.vendor} answered {answer.status} without {where[-1]}", answer.status)
        return found

    # Carrier

    def control(self, call: Announced, desk: Desk) -> CallControl:
        """Of one call."""
        return RestControl(self, call, desk)

    async def place(self, order: str, call: OutboundCall, desk: Desk) -> str:
        """Call somebody."""
        try:
            return await self.order(order, call, desk)
        except CarrierError as error:
            known = self.statuses.get(error.code) or self.statuses.get(str(error.status))
            raise CallFailed(known or _sip_status(error.status), str(error)) from error

    async def give_up(self, call_id: str) -> bool:
        """End a call."""
        try:
            await self.end(call_id)
        except CarrierError as error:
            extra = {"carrier": self.name, "carrier_id": call_id, "error": str(error)}
            log.warning("carrier did not end the call", extra=extra)
            return False
        return True

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()


class RestControl:
    """Implements `sip.medialine.CallControl` for one call of a `RestCarrier`."""

    def __init__(self, carrier: RestCarrier, call: Announced, desk: Desk) -> None:
        self._carrier, self._call, self._desk = carrier, call, desk

    async def hangup(self, cause: HangupCause) -> None:
        """End the call, whatever its document would do next."""
        await self._carrier.give_up(self._call.call_id)

    async def press(self, digits: str) -> None:
        """Press keys."""
        await self._carrier.press(self._call.call_id, digits)

    async def transfer(self, order: Transfer) -> None:
        """Hand the caller over."""
        try:
            if not await self._carrier.hand_over(self._call, order, self._desk):
                raise TransferError("the caller has hung up")
        except CarrierError as error:
            raise TransferError(str(error)) from error


def _sip_status(http: int) -> int:
    """Of a call that could not be placed; 0: the carrier cannot be reached. That it is our request which is
    wrong (404, 405) says nothing of the number that was called."""
    if http in {0, 401, 402, 403}:
        return http
    return 503 if http >= 500 or http == 429 else 500


def cause_of(error: CarrierError) -> HangupCause:
    """Of a call that ends because of this."""
    return cause_of_status(_sip_status(error.status))


def sip_status(given: str, otherwise: int) -> int:
    """A final SIP status of a failed call as a webhook names it, else `otherwise`."""
    return int(given) if given.isdecimal() and len(given) == 3 and 400 <= int(given) < 700 else otherwise


def ring_s(order: Transfer) -> int:
    """How long a transfer's target may ring."""
    return round(order.timeout_s or RING_S)


def forwarding(desk: Desk, order: Transfer) -> str:
    """Address of the webhook `transfer`, which answers with a document that calls the target."""
    return desk.hook_url("transfer", to=order.target, timeout=str(ring_s(order)))


def forwarded(query: Mapping[str, str]) -> tuple[str, int]:
    """What `forwarding` said: the target, and for how long it may ring."""
    given = query.get("timeout", "")
    return query.get("to", ""), int(given) if given.isdecimal() and len(given) < 6 else round(RING_S)
