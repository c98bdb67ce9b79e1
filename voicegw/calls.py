"""Every call of the server: let in or refused, routed, answered, run to its end.

One task a call (the endpoint's, which runs `on_call`). Whatever goes wrong in it ends that call alone;
its final state is told exactly once. A call holds its place from the INVITE on, so that a burst of calls
cannot overrun the limit while they ring.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

from dialog.types import DialogEngine
from media.amd import Config as AmdConfig
from media.callconfig import Engines, SessionConfig
from media.denoise.base import Denoiser
from media.eot.base import EndOfTurn
from media.errors import ProviderError
from media.leg import CallInfo, CallLeg, Direction, HangupCause
from media.observe import CallTap
from media.session import CallSession
from media.stt.base import SpeechToText, SttStream
from media.switchboard import Dialler
from media.tasks import task_scope
from media.tts.base import TextToSpeech
from media.vad.base import VoiceDetector
from sip.endpoint import CallProgress, EarlyCall, IncomingCall, OnProgress
from sip.errors import CallFailed
from voicegw.admission import FAILED, NOT_FOUND, Admission, Refusal
from voicegw.callmedia import sum_up, watch_media
from voicegw.config.model import Limits
from voicegw.ears import DeafEars
from voicegw.greeting import GreetedDialog, LateTap
from voicegw.journal import CallJournal, Journals
from voicegw.livecalls import LiveCall, LiveCalls
from voicegw.logs import call_id_var
from voicegw.metrics import Metrics
from voicegw.routing import Router
from voicegw.whoanswers import screened

log = logging.getLogger(__name__)

HANGUP_S = 5.0  # for the last BYEs when we stop; then the endpoint closes its sockets anyway

NewDialog = Callable[[CallInfo], DialogEngine]
Connect = Callable[[OnProgress], Awaitable[CallLeg]]
"""Gets a call answered: by us, or by whoever is called. Raises CallFailed."""
Answer = Callable[[], Awaitable[CallLeg]]
"""Answers a call that can be heard already. Raises CallFailed."""


@dataclass(frozen=True, slots=True)
class CallParts:
    """What every call is made from."""

    router: Router
    dialogs: Mapping[str, NewDialog]  # by name of the flow
    ears: SpeechToText
    voice: TextToSpeech
    new_vad: Callable[[], VoiceDetector]
    session: SessionConfig
    dialler: Dialler | None = None
    sessions: Mapping[str, SessionConfig] = field(default_factory=dict)  # of flows that need their own
    early: frozenset[str] = frozenset()  # flows that greet before they answer
    eot: EndOfTurn | None = None
    new_denoiser: Callable[[], Denoiser] | None = None
    amd: AmdConfig = AmdConfig()
    voices: Mapping[str, TextToSpeech] = field(default_factory=dict)  # by language, beside `voice`

    def engines(self, ears: SttStream) -> Engines:
        """What one call hears and speaks with."""
        denoiser = None if self.new_denoiser is None else self.new_denoiser()
        return Engines(self.new_vad(), ears, self.voice, self.dialler, self.eot, denoiser, self.voices)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call has ended."""

    cause: HangupCause
    answered: bool = False
    sip_status: int | None = None  # the final answer that refused it


class CallManager:
    """Belongs to one event loop."""

    def __init__(self, parts: CallParts, limits: Limits, journals: Journals, metrics: Metrics) -> None:
        self._parts, self._limits, self._journals, self._metrics = parts, limits, journals, metrics
        self.live = LiveCalls()
        self.admission = Admission(limits, self.live, metrics.late)
        metrics.active.set_function(lambda: len(self.live))

    async def on_call(self, incoming: IncomingCall, flow: str | None = None) -> None:
        """Take one call from its INVITE to its end, by the routing table unless the way in has chosen the
        flow. Only cancelling gets out of here."""
        info = incoming.info
        call_id_var.set(info.call_id)
        log.info("call came in", extra={"pii_from": info.caller, "pii_to": info.callee})
        flow = flow or self._parts.router.flow_for(info)
        refusal = self.refusal(flow, info)
        if refusal is not None or flow is None:
            self._reject(incoming, refusal or NOT_FOUND)
            return

        early = incoming if flow in self._parts.early and isinstance(incoming, EarlyCall) else None

        async def connect(_: OnProgress) -> CallLeg:
            if early is None:
                incoming.ring()
            try:
                return await (early.early() if early is not None else incoming.answer())
            except asyncio.CancelledError:  # hung up on, or the server stops
                incoming.reject(503 if self.draining else 480)
                raise

        outcome = await self.conduct(info, flow, connect, incoming.answer if early is not None else None)
        if outcome.answered:
            return
        if outcome.cause is HangupCause.INTERNAL:
            self._reject(incoming, FAILED)
        else:  # the caller gave up, or has no codec of ours
            self._metrics.rejected.labels("gone").inc()

    async def conduct(
        self, info: CallInfo, flow: str, connect: Connect, answer: Answer | None = None
    ) -> Outcome:
        """Run one call that was let in, from here to its end, whoever called whom. With `answer`, `connect`
        gives a call that is heard, but not answered yet. Only cancelling gets out of here: it ends the call,
        whatever its state."""
        task = asyncio.current_task()
        assert task is not None
        call = LiveCall(info, flow, task, asyncio.get_running_loop().time())
        self.live.add(call)
        try:
            return await self._take(call, connect, answer)
        finally:
            self.live.remove(call)
            if not self.live:
                self._metrics.late.forget()

    async def hang_up(self, call_id: str) -> bool:
        """End a call now, in whatever state it is; False if there is none of that id."""
        call = self.live.find(call_id)
        if call is None:
            return False
        if call.leg is not None:
            await call.leg.hangup(HangupCause.NORMAL)
        else:
            call.task.cancel()
        return True

    def refusal(self, flow: str | None, info: CallInfo | None = None) -> Refusal | None:
        """Why no further call can be taken; None: it can. Without `info` it is one that we place."""
        return self.admission.refusal(flow, info)

    @property
    def draining(self) -> bool:
        """While set, no more calls are taken."""
        return self.admission.draining

    @draining.setter
    def draining(self, draining: bool) -> None:
        self.admission.draining = draining

    def new_dialog(self, info: CallInfo, flow: str) -> DialogEngine:
        """A new conversation. Raises KeyError for an unknown flow, ValueError for variables it has not."""
        return self._parts.dialogs[flow](info)

    def has_flow(self, flow: str) -> bool:
        """Whether a flow of that name is loaded."""
        return flow in self._parts.dialogs

    def flow_for(self, info: CallInfo) -> str | None:
        """Name of the flow that talks on a call, by the routing table."""
        return self._parts.router.flow_for(info)

    def _reject(self, incoming: IncomingCall, refusal: Refusal) -> None:
        log.warning("call refused", extra={"reason": refusal.reason, "status": refusal.status})
        self._metrics.rejected.labels(refusal.reason).inc()
        retry = self._limits.retry_after_s if refusal.retry else None
        incoming.reject(refusal.status, refusal.phrase, retry)

    # One call

    async def _take(self, call: LiveCall, connect: Connect, answer: Answer | None) -> Outcome:
        """Connect and run, keeping the journal. Its final state is told here and nowhere else."""
        outcome = Outcome(HangupCause.INTERNAL)
        async with self._journals.open(call.info, call.flow) as journal:
            call.journal = journal
            try:
                outcome = await self._run(connect, answer, call, journal)
            except asyncio.CancelledError:  # we are told to stop
                given_up = call.info.direction is Direction.OUTBOUND and call.answered_at is None
                outcome = Outcome(HangupCause.CANCELLED if given_up else HangupCause.NORMAL)
                raise
            finally:
                now, answered = asyncio.get_running_loop().time(), call.answered_at
                seconds = None if answered is None else now - answered
                self._metrics.ended(call.info.direction, outcome.cause, seconds)
                cause = outcome.cause.name.lower()
                log.info("call ended", extra={"cause": cause, "seconds": round(now - call.epoch, 1)})
                journal.ended(outcome.cause, outcome.sip_status)
        return outcome

    async def _run(
        self, connect: Connect, answer: Answer | None, call: LiveCall, journal: CallJournal
    ) -> Outcome:
        """The boundary of a call: no exception of it gets further."""

        def progressed(progress: CallProgress) -> None:
            call.progress = progress.value
            journal.event("sip", progress=progress.value)

        try:
            dialog = self.new_dialog(call.info, call.flow)
            leg = await connect(progressed)
        except CallFailed as error:
            return Outcome(error.cause, sip_status=error.status or None)
        except Exception as error:
            self._crashed(journal, error)
            return Outcome(HangupCause.INTERNAL)
        call.leg = leg
        if answer is None:
            self._answered(call, journal)
        cause = HangupCause.NORMAL
        try:
            if leg.info.passed and not call.info.passed:  # the carrier has learned something while it rang
                dialog = self.new_dialog(replace(call.info, passed=leg.info.passed), call.flow)
            cause = await self._session(dialog, call, journal, answer)
        except Exception as error:
            cause = HangupCause.INTERNAL
            self._crashed(journal, error)
        finally:
            call.state = "closing"
            await leg.hangup(cause)  # nothing to do unless something went wrong
            sum_up(leg, journal, self._metrics)
        return Outcome(cause, answered=call.answered_at is not None)

    def _answered(self, call: LiveCall, journal: CallJournal) -> None:
        leg = call.leg
        assert leg is not None
        call.state, call.answered_at = "answered", asyncio.get_running_loop().time()
        self._metrics.setup.observe(call.answered_at - call.epoch)
        known = leg.info.carrier_id == call.info.carrier_id
        journal.answered(leg.format.rate, "" if known else leg.info.carrier_id)

    def _crashed(self, journal: CallJournal, error: Exception) -> None:
        log.exception("call crashed")
        self._metrics.crashes.inc()
        journal.event("error", where="call", message=f"{type(error).__name__}: {error}")

    async def _session(
        self, dialog: DialogEngine, call: LiveCall, journal: CallJournal, answer: Answer | None
    ) -> HangupCause:
        leg, parts = call.leg, self._parts
        assert leg is not None
        async with AsyncExitStack() as stack:
            start = await stack.enter_async_context(task_scope())
            start(watch_media(leg, journal), "media watch")
            ears = await self._ears(stack, leg, dialog, journal)
            tap: CallTap | None = journal.tap
            if answer is not None:
                dialog, tap = GreetedDialog(dialog), LateTap(journal)
                start(self._answer(dialog, call, journal, answer), "answer")
            engines = parts.engines(ears)
            dialog, engines = screened(dialog, engines, parts.amd, call.info, leg.format.rate)
            config = parts.sessions.get(call.flow, parts.session)
            session = CallSession(leg, engines, dialog, config, journal, tap)
            call.session = session
            return await session.run()

    async def _answer(
        self, dialog: GreetedDialog, call: LiveCall, journal: CallJournal, answer: Answer
    ) -> None:
        """Answer a call that was heard before, once its greeting is over."""
        await dialog.greeted.wait()
        try:
            await answer()
        except CallFailed as error:  # the caller has given up: the leg says so too
            log.info("greeted in vain", extra={"status": error.status})
            return
        self._answered(call, journal)

    async def _ears(
        self, stack: AsyncExitStack, leg: CallLeg, dialog: DialogEngine, journal: CallJournal
    ) -> SttStream:
        """Ears from the engine; without one the call goes on by keys, which is better than hanging up."""
        try:
            return await stack.enter_async_context(self._parts.ears.stream(leg.format, dialog.domain))
        except ProviderError as error:
            return DeafEars(error)

    # The end

    async def drain(self, limit_s: float, goodbye_s: float) -> None:
        """Take no more calls; wait for those in progress, then say goodbye, then hang up."""
        self.draining = True
        if await self.live.empty(limit_s):
            return
        log.warning("ending calls in progress", extra={"calls": len(self.live)})
        for call in self.live:
            if call.session is not None:
                call.session.say_goodbye()
            else:
                call.task.cancel()
        if not await self.live.empty(goodbye_s):
            await self.stop()

    async def stop(self) -> None:
        """Hang up on everybody now."""
        self.draining = True
        for call in self.live:
            call.task.cancel()
        await self.live.empty(HANGUP_S)
