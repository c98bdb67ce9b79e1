"""One call: audio in, decisions, speech out.

Three planes, each with one rule:

- audio: plain calls, no queue, no await    leg -> on_audio -> tap, VAD, ears
                                            leg -> on_tick -> playout -> leg.send
- control: one queue, one reader            `_post` -> `_control` -> turn engine -> decisions
- speech: one task                          `_speak` -> media.reply; `interrupt` cancels it

Everything reported is in milliseconds of the call clock, which the observer keeps.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from functools import partial

from dialog.turn import (
    BargeIn,
    BeginSpeech,
    BotSpeaking,
    CallOverdue,
    Decision,
    DropSpeech,
    Dtmf,
    EndOfSpeech,
    KeysDropped,
    OnHold,
    PauseBot,
    ReplyReady,
    ResumeBot,
    SilenceExpired,
    TurnEnded,
    TurnSource,
)
from dialog.turn_engine import TurnEngine
from dialog.types import (
    Act,
    CallExpired,
    DialogEngine,
    DialogInput,
    Hangup,
    Listen,
    NoInput,
    Say,
    SendDtmf,
    Transfer,
    TransferFailed,
    UserTurn,
)
from media.callconfig import Engines, SessionConfig
from media.company import Company
from media.errors import Unsupported
from media.frames import AudioFrame
from media.happenings import Goodbye, Happening, ReplyDone, Tick
from media.hearing import Hearing
from media.leg import CallLeg, HangupCause
from media.line import LineState
from media.observe import CallObserver, CallTap
from media.playout import Heard, Playout
from media.reply import Milestones, Speaker, only
from media.report import CallReport
from media.switchboard import Switchboard
from media.tasks import task_scope

log = logging.getLogger(__name__)

CROWD = 500  # events that wait to be decided on
EARLY_MS = 10  # half a packet time


class CallSession:
    """One call. It is the leg's sink and owns every task of the call."""

    def __init__(
        self,
        leg: CallLeg,
        engines: Engines,
        dialog: DialogEngine,
        config: SessionConfig,
        observer: CallObserver,
        tap: CallTap | None = None,
    ) -> None:
        self._clock = asyncio.get_running_loop().time
        self._epoch = observer.epoch
        self._leg, self._dialog, self._config, self._tap = leg, dialog, config, tap
        self._report, self._line = CallReport(observer), LineState(leg, config)
        self._hearing = Hearing(engines, config, leg, self._report, self._post)
        self._turns = TurnEngine(config.policy)
        self._playout = Playout(leg.format, leg.lead_ms)
        new_company = partial(Company, leg, observer, tap, self._rest)
        self.board = Switchboard(leg, engines, config.transfer, self._report, new_company)
        self._speaker = Speaker(self._playout, engines, config, self._on_act, self._reply_failed)
        self._events: asyncio.Queue[Happening] = asyncio.Queue()
        self._reply: asyncio.Task[None] | None = None
        self._reply_number = 0
        self._milestones = Milestones()  # of the reply
        self._speech_end = Milestones()  # of the caller's turn that is ending
        self._bot_speaking = False
        self._due: int | None = None  # when the turn engine wants a tick
        self._last = False  # the dialog has been told to say goodbye; the call ends after it
        self._closing = False

    # Audio plane: called for every packet time, returns at once.

    def on_audio(self, frame: AudioFrame) -> None:
        """The caller's next frame."""
        now = self._clock()
        if self._tap is not None:
            self._tap.received(frame.pcm, self._ms(now))
        if (company := self.board.company) is not None:
            company.received(frame.pcm)
        if company is None or company.hears_caller:
            self._hearing.received(frame, now)
        if self._line.received(now):
            self._post(OnHold(active=True))
        # Deadlines fall on the nearest received frame: what they bring about is then on the wire with the
        # next beat, a quarter of a packet time later.
        self._wake(-EARLY_MS)

    def on_tick(self) -> None:
        """Send what is due, and see what has been heard."""
        now = self._clock()
        if self._line.asked(now):
            self._post(OnHold(active=False))
        if self._line.may_speak(now):
            frames, company = self._playout.due(now), self.board.company
            for frame in frames if company is None else ():
                self._leg.send(frame)
            if company is not None:
                company.tick(frames, self._ms(now))
            if frames and (not self._bot_speaking or self._milestones.first_sent is None):
                self._audible(now)
        self._played(now)
        for heard in self._playout.finished(now):
            self._heard(heard)
        if self._bot_speaking and not self._playout.busy:
            self._set_bot_speaking(False)
        self._wake(2 * EARLY_MS)  # where no audio comes
        self._speaker.ticked()

    def _played(self, now: float) -> None:
        company = self.board.company
        for pcm, at in self._playout.played(now):
            self._hearing.played(pcm, at)
            if self._tap is not None and (company is None or not company.bot_rests):
                self._tap.played(pcm, self._ms(at))

    def _wake(self, late_ms: int) -> None:
        """Let the turn engine act on a deadline that passed `late_ms` ago."""
        if self._due is not None and self._now_ms() >= self._due + late_ms:
            self._post(Tick(self._due))
            self._due = None

    def on_dtmf(self, digit: str) -> None:
        """The caller pressed a key; a flood of them costs its own keys."""
        if (company := self.board.company) is not None and company.bot_rests:
            company.caller_key(digit)
        elif self._events.qsize() < CROWD:
            self._post(Dtmf(digit))

    def on_played(self, pts: int) -> None:
        """The far end has played everything before `pts`."""
        self._playout.confirm(pts, self._clock())

    def on_closed(self, cause: HangupCause) -> None:
        """The call is over."""
        self._post(cause)

    def _audible(self, now: float) -> None:
        """A frame was sent after silence, or the first of a reply."""
        if not self._bot_speaking:
            self._set_bot_speaking(True)
        milestones = self._milestones
        if milestones.first_sent is None:
            milestones.first_sent = now
            if milestones.turn_ended is not None:
                self._report.latency(round(self._ms(milestones.turn_ended)), milestones)

    def _set_bot_speaking(self, active: bool) -> None:
        self._bot_speaking = active
        self._post(BotSpeaking(active))

    # Control plane: one reader, so decisions never race.

    async def run(self) -> HangupCause:
        """Run the call until a party hangs up. Whatever goes wrong, no task of the call is left."""
        self._line.began(self._clock())
        self._report.began(self._config.policy, self._leg.lead_ms)
        self._leg.start(self)
        async with task_scope() as start:
            self._start = self.board.start = start
            start(self._hearing.listen(), "ears")
            self._speak(self._dialog.greet(), Milestones())
            try:
                return await self._control()
            finally:
                self._hearing.close()

    def say_goodbye(self) -> None:
        """End the call politely: stop the bot, say that the call ends, hang up."""
        self._post(Goodbye())

    def do(self, act: Act) -> None:
        """Do what somebody else than the dialog decided. The bot is cut."""
        if isinstance(act, Say):
            self._speak(only(act), Milestones())
        else:
            self._cut()
            self._on_act(act)

    def _rest(self, resting: bool) -> None:
        """People talk among themselves, or no longer."""
        if not self._closing:
            self._cut()
            self._post(OnHold(active=resting))

    async def _control(self) -> HangupCause:
        while True:
            event = await self._events.get()
            if isinstance(event, HangupCause):
                self._cut()
                return event
            if not self._closing or isinstance(event, TransferFailed):
                self._handle(event)
                self._due = self._turns.deadline()

    def _handle(self, event: Happening) -> None:
        match event:
            case Tick(due):
                self._decide(self._turns.tick(max(due, self._now_ms())))
            case ReplyDone(number):
                if number == self._reply_number:
                    self._reply_done()
            case BotSpeaking(active):
                if active == self._bot_speaking:  # else it was cut meanwhile
                    self._decide(self._turns.feed(event, self._now_ms()))
            case Hangup(reason):
                self._close(reason)
            case Transfer():
                self._closing = True
                self.board.hand_over(event, self._say_aloud, self._close, self._post)
            case TransferFailed():
                self._closing = False
                self._answer(event)
            case Goodbye():
                self._last = True
                self._cut()
                self._speak(only(Say(self._config.goodbye_phrase)), Milestones())
            case HangupCause():
                raise AssertionError("handled by the reader")
            case _:
                self._report.happened(event)
                self._decide(self._turns.feed(event, self._now_ms()))

    def _decide(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            match decision:
                case BeginSpeech():
                    self._hearing.begin()
                case EndOfSpeech(spoke_until_ms):
                    self._report.end_of_speech(decision)
                    self._speech_end = Milestones(self._epoch + spoke_until_ms / 1000, self._clock())
                    self._hearing.finish()
                case DropSpeech():
                    self._hearing.cancel()
                case BargeIn():
                    self._report.barge_in(decision)
                    self._cut()
                case PauseBot() | ResumeBot():
                    self._report.paused(decision)
                    self._pause(decision)
                case KeysDropped(count):
                    self._report.keys_dropped(count)
                case TurnEnded():
                    self._turn_ended(decision)
                case SilenceExpired(count, last):
                    self._report.no_input(count)
                    self._last = self._last or last
                    self._answer(NoInput(count, self._now_ms(), last))
                case CallOverdue():
                    self._last = True
                    self._cut()
                    self._answer(CallExpired())

    def _turn_ended(self, turn: TurnEnded) -> None:
        ended = self._clock()  # read once: the turn and its latency name the same millisecond
        now = round(self._ms(ended))
        user = UserTurn(
            turn.text, now, turn.source, turn.confidence, turn.rejected, turn.interrupted, turn.continues
        )
        self._report.turn(user)
        milestones = self._speech_end if turn.source is TurnSource.SPEECH else Milestones()
        self._speech_end = Milestones()
        milestones.turn_ended = ended
        self._answer(user, milestones)

    def _answer(self, turn: DialogInput, milestones: Milestones | None = None) -> None:
        self._speak(self._dialog.reply(turn), milestones or Milestones())

    def _reply_done(self) -> None:
        if self._last:
            self._close("goodbye")
        else:
            self._decide(self._turns.feed(ReplyReady(), self._now_ms()))

    def _close(self, reason: str) -> None:
        self._closing = True
        self._report.closing(reason)
        self._playout.resume()  # nobody decides any more whether it was a cough
        self._start(self._hang_up(), "hangup")

    async def _hang_up(self) -> None:
        left_s = self._playout.left_ms(self._clock()) / 1000
        await self._line.hang_up(left_s, self._speaker.heard_all())
        self._post(HangupCause.INTERNAL)

    async def _say_aloud(self, text: str) -> None:
        self._speak(only(Say(text)), Milestones())
        if self._reply is not None:
            await asyncio.wait([self._reply])
        await self._speaker.heard_all()

    # Speech plane: one reply at a time, one way to stop it.

    def _speak(self, acts: AsyncGenerator[Act, None], milestones: Milestones) -> None:
        self._cut()
        self._reply_number += 1
        self._milestones = milestones
        self._reply = self._start(self._perform(acts, self._reply_number), "reply")

    async def _perform(self, acts: AsyncGenerator[Act, None], number: int) -> None:
        await self._speaker.perform(acts, self._milestones)
        self._post(ReplyDone(number))

    def _reply_failed(self, error: Exception) -> None:
        log.error("reply failed", exc_info=error, extra={"call_id": self._leg.info.call_id})
        self._report.error("reply", f"{type(error).__name__}: {error}")

    def _cut(self) -> None:
        """Silence the bot now: its audio first, then the work behind it."""
        now = self._clock()
        heard = None
        if self._playout.busy:
            self._played(now)
            heard = self._playout.cut(now)
            self._leg.clear()
        self._bot_speaking = False
        if self._reply is not None:
            self._reply.cancel()
            self._reply = None
            self._reply_number += 1
        if heard is not None:
            self._heard(heard)

    def _pause(self, decision: PauseBot | ResumeBot) -> None:
        """Silence the bot, but keep what it has to say; or let it go on."""
        if isinstance(decision, ResumeBot):
            self._playout.resume()
            return
        self._playout.pause(self._clock())
        self._leg.clear()

    def _on_act(self, act: Act) -> None:
        self._report.act(act)
        match act:
            case Listen(hints, policy, language):
                answers = None if hints.open or hints.sentences else hints.phrases
                self._decide(self._turns.listen(policy or self._config.policy, language, answers))
                self._hearing.expect(hints, language)
            case SendDtmf(digits):
                try:
                    self._leg.send_dtmf(digits)
                except Unsupported as error:  # nothing of this carrier carries keys
                    self._report.error("dtmf", str(error))
            case Transfer() | Hangup():
                self._post(act)

    def _heard(self, heard: Heard) -> None:
        self._dialog.heard(heard.text, heard.complete)
        self._report.heard(heard, round(self._ms(heard.began_at)))

    def _post(self, event: Happening) -> None:
        self._events.put_nowait(event)

    def _ms(self, at: float) -> float:
        return (at - self._epoch) * 1000

    def _now_ms(self) -> int:
        return round(self._ms(self._clock()))
