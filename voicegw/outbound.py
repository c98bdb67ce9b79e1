"""Outbound calls: ordered by `voicegw dial` or the API, placed, tried again, reported.

    DialOrder -> Dialer.dial -> Dial -- attempt --> CallManager.conduct -- way.place --> leg -> session
                 (or DialRefused)  '-- wait, next attempt                (journal, store, metrics as inbound)

One task an order. Its id is that of its first attempt; each attempt is a call of its own in the store, later
ones linked by `retry_of`. Whatever happens, an order has one final state, told once, by the end of its task.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from media.leg import CallInfo, CallLeg, Direction, HangupCause
from media.tasks import Start
from sip.endpoint import CallProgress, OnProgress, OutboundCall, WayOut
from voicegw.calls import CallManager, Outcome
from voicegw.config.outbound import OutboundConfig, RetryPolicy
from voicegw.dialplan import DialPlan, NoRoute, Way
from voicegw.logs import call_id_var

log = logging.getLogger(__name__)

KEPT = 1000  # orders whose end can still be asked for

StatusReport = Callable[[str, Mapping[str, Any]], None]
"""Takes the callback URL and one change of state. Returns at once, never raises."""


class DialRefused(Exception):
    """The order is not taken; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class DialOrder:
    """Whom to call, and what for. Checked by `Dialer.dial`."""

    target: str  # a number as people write it, or a SIP address
    flow: str = ""  # "": by the routing table, as for a call to this number
    variables: Mapping[str, str] = field(default_factory=dict)  # of the flow
    caller: str = ""
    display_name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # X-... only
    ring_timeout_s: float = 0.0  # 0: as configured
    anonymous: bool = False  # the called party shall not learn who calls
    retry: RetryPolicy | None = None
    callback: str = ""  # URL


@dataclass(slots=True, eq=False)
class Dial:
    """One order under way, or just over."""

    id: str
    order: DialOrder
    way: Way
    flow: str
    state: str = "dialing"  # dialing, ringing, early-media, answered, waiting, ended
    attempts: list[str] = field(default_factory=list)  # ids of the calls
    outcome: Outcome | None = None
    task: "asyncio.Task[None] | None" = None

    def json(self) -> dict[str, Any]:
        """For the API and the callbacks."""
        view: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "to": self.way.number,
            "flow": self.flow,
            "way": self.way.trunk or self.way.name,
            "attempts": list(self.attempts),
        }
        if self.outcome is not None:
            view |= {"cause": self.outcome.cause.name.lower(), "answered": self.outcome.answered}
            view["sip_status"] = self.outcome.sip_status
        return view


@dataclass(frozen=True, slots=True)
class DialParts:
    """What orders are carried out with."""

    plan: DialPlan
    ways: Mapping[str, WayOut]  # by name
    start: Start  # owns the tasks of the orders
    report: StatusReport = lambda url, change: None


class Dialer:
    """Takes orders. Belongs to one loop."""

    def __init__(self, config: OutboundConfig, manager: CallManager, parts: DialParts) -> None:
        self._config, self._manager = config, manager
        self._plan, self._ways, self._start, self._report = parts.plan, parts.ways, parts.start, parts.report
        self._dials: dict[str, Dial] = {}  # by id, the oldest first

    def __len__(self) -> int:
        return sum(dial.outcome is None for dial in self._dials.values())

    def find(self, call_id: str) -> Dial | None:
        """The order of that id; also by the id of one of its attempts."""
        found = self._dials.get(call_id)
        return found or next((d for d in self._dials.values() if call_id in d.attempts), None)

    def dial(self, order: DialOrder) -> Dial:
        """Take an order: its first attempt begins at once. Raises DialRefused."""
        try:
            way = self._plan.way(order.target)
        except NoRoute as error:
            raise DialRefused(400, str(error)) from error
        if way.name not in self._ways:
            raise DialRefused(400, f"there is no way out {way.name!r}")
        flow = self._flow(order, way)
        dial = Dial(secrets.token_hex(8), order, way, flow)
        try:
            self._manager.new_dialog(self._info(dial, dial.id), flow)
        except ValueError as error:
            raise DialRefused(400, str(error)) from error
        self._admit(flow)
        self._dials[dial.id] = dial
        self._forget()
        dial.task = self._start(self._run(dial), f"dial {dial.id}")
        # Here and nowhere else: a task that is cancelled before its first step runs no `finally`.
        dial.task.add_done_callback(lambda _: self._ended(dial))
        return dial

    def cancel(self, dial: Dial) -> bool:
        """Give an order up, whatever its state; a call that was answered is hung up on. False: it is over."""
        if dial.task is None or dial.outcome is not None:
            return False
        dial.task.cancel()
        return True

    async def hang_up(self, call_id: str) -> bool:
        """End a call, ours or anybody's, by its id. False if there is none that lives."""
        dial = self.find(call_id)
        if dial is not None and dial.outcome is None and not self._is_answered(dial):
            return self.cancel(dial)
        return await self._manager.hang_up(
            dial.attempts[-1] if dial is not None and dial.attempts else call_id
        )

    def drain(self) -> None:
        """The server stops: nothing that waits is tried again."""
        for dial in self._dials.values():
            if dial.state == "waiting":
                self.cancel(dial)

    # One order

    async def _run(self, dial: Dial) -> None:
        """The boundary of an order: a bug in one must not touch another."""
        try:
            dial.outcome = await self._attempts(dial)
        except Exception:
            log.exception("outbound call failed")
            dial.outcome = Outcome(HangupCause.INTERNAL)

    async def _attempts(self, dial: Dial) -> Outcome:
        policy = dial.order.retry or self._config.retry
        attempt = 0
        while True:
            attempt += 1
            outcome = await self._attempt(dial, attempt)
            again = not outcome.answered and outcome.cause.name.lower() in policy.causes
            if not again or attempt >= policy.attempts or self._manager.draining:
                return outcome
            wait_s = policy.wait_after(attempt)
            extra = {"cause": outcome.cause.name.lower(), "wait_s": wait_s}
            log.info("call will be tried again", extra=extra)
            self._became(dial, "waiting", **extra)
            await asyncio.sleep(wait_s)

    async def _attempt(self, dial: Dial, number: int) -> Outcome:
        refusal = self._manager.refusal(dial.flow) if number > 1 else None
        if refusal is not None:  # no room just now: counts as an attempt that met congestion
            return Outcome(HangupCause.CONGESTION, sip_status=refusal.status)
        call_id = dial.id if number == 1 else f"{dial.id}-{number}"
        dial.attempts.append(call_id)
        call_id_var.set(call_id)
        info = self._info(dial, call_id, number)
        log.info("call goes out", extra={"pii_from": info.caller, "pii_to": info.callee, "attempt": number})
        self._became(dial, "dialing")

        async def connect(progressed: OnProgress) -> CallLeg:
            def on_progress(progress: CallProgress) -> None:
                progressed(progress)
                if progress in (CallProgress.RINGING, CallProgress.EARLY_MEDIA):
                    self._became(dial, progress.value)

            leg = await self._ways[dial.way.name].place(self._call(dial, info), on_progress)
            self._became(dial, "answered")
            return leg

        return await self._manager.conduct(info, dial.flow, connect)

    def _info(self, dial: Dial, call_id: str, number: int = 1) -> CallInfo:
        order, way = dial.order, dial.way
        return CallInfo(
            call_id,
            order.caller or way.caller or self._config.caller or OutboundCall(way.target).caller,
            way.number,
            way.name,
            secrets.token_hex(12) if way.name == "sip" else "",
            Direction.OUTBOUND,
            variables=order.variables,
            attempt=number,
            retry_of=dial.id if number > 1 else "",
        )

    def _call(self, dial: Dial, info: CallInfo) -> OutboundCall:
        order = dial.order
        return OutboundCall(
            dial.way.target,
            info.caller,
            order.display_name,
            order.headers,
            order.ring_timeout_s or self._config.ring_timeout_s,
            info.call_id,
            info.carrier_id,
            order.anonymous,
            trunk=dial.way.trunk,
        )

    def _ended(self, dial: Dial) -> None:
        """The task is over, whatever ended it."""
        if dial.outcome is None:  # cancelled
            answered = self._is_answered(dial)
            dial.outcome = Outcome(HangupCause.NORMAL if answered else HangupCause.CANCELLED, answered)
        self._became(dial, "ended")

    def _became(self, dial: Dial, state: str, **more: Any) -> None:
        if dial.state == state == "ringing":
            return  # again and again, as some far ends say it
        dial.state = state
        if dial.order.callback:
            self._report(dial.order.callback, {**dial.json(), **more})

    def _is_answered(self, dial: Dial) -> bool:
        return dial.state == "answered"

    # Taking orders

    def _flow(self, order: DialOrder, way: Way) -> str:
        if order.flow:
            if not self._manager.has_flow(order.flow):
                raise DialRefused(400, f"there is no flow {order.flow!r}")
            return order.flow
        flow = self._manager.flow_for(CallInfo("", "", way.number, way.name))
        if flow is None:
            raise DialRefused(400, "say which flow: the routing table has none for this number")
        return flow

    def _admit(self, flow: str) -> None:
        refusal = self._manager.refusal(flow)
        if refusal is not None:
            raise DialRefused(503, f"no call can be placed now: {refusal.phrase.lower()}")
        going = sum(call.info.direction is Direction.OUTBOUND for call in self._manager.live)
        starting = sum(not dial.attempts and dial.outcome is None for dial in self._dials.values())
        if going + starting >= self._config.max_calls:
            raise DialRefused(503, f"outbound.max_calls ({self._config.max_calls}) calls are under way")
        if sum(dial.state == "waiting" for dial in self._dials.values()) >= self._config.max_waiting:
            raise DialRefused(503, f"outbound.max_waiting ({self._config.max_waiting}) calls wait already")

    def _forget(self) -> None:
        """Keep the memory of what is over within bounds; the store has it all."""
        if len(self._dials) <= KEPT:
            return
        for call_id in [d.id for d in self._dials.values() if d.outcome is not None][
            : len(self._dials) - KEPT
        ]:
            del self._dials[call_id]
