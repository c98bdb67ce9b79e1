"""Calls people on behalf of calls in progress: transfers by bridge, conferences, supervisors.

A `media.switchboard.Dialler` on the dial plan of outbound calls: what may be called, and by which way, is
said once, in `outbound.routes`.
"""

import logging
from collections.abc import Mapping

from media.errors import TransferError
from media.leg import CallInfo, CallLeg
from sip.endpoint import OutboundCall, WayOut
from sip.errors import CallFailed, LocalProtocolError
from voicegw.dialplan import DialPlan, NoRoute

log = logging.getLogger(__name__)


class LiveDialler:
    """Open once the ways out are."""

    def __init__(self) -> None:
        self._plan: DialPlan | None = None
        self._ways: Mapping[str, WayOut] = {}

    def open(self, plan: DialPlan, ways: Mapping[str, WayOut]) -> None:
        """From now on calls can be placed."""
        self._plan, self._ways = plan, ways

    def check(self, target: str) -> None:
        """Raises TransferError if nothing leads to `target`."""
        if self._plan is None:
            raise TransferError("calls cannot be placed yet")
        try:
            self._plan.way(target)
        except NoRoute as error:
            raise TransferError(str(error)) from error

    async def place(self, target: str, call: CallInfo, timeout_s: float) -> CallLeg:
        """The leg once it is answered. Raises TransferError: busy, no answer, ..."""
        self.check(target)
        assert self._plan is not None
        way = self._plan.way(target)
        out = self._ways.get(way.name)
        if out is None:
            raise TransferError(f"there is no way out {way.name!r}")
        order = OutboundCall(
            way.target, way.caller or call.caller or "voicegw", ring_timeout_s=timeout_s, trunk=way.trunk
        )
        log.info("calling somebody into a call", extra={"call_id": call.call_id, "pii_to": target})
        try:
            return await out.place(order)
        except CallFailed as error:
            reason = error.cause.name.lower().replace("_", " ")
            raise TransferError(f"{reason} ({error})") from error
        except LocalProtocolError as error:
            raise TransferError(str(error)) from error
