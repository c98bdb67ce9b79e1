"""The caller: speaks when the bot is silent, listens when it speaks, and writes down what happened.

Its clock is the line: one frame comes from the far end each packet time, speech or not. Everything
else waits for the clock (`_until`), so that a scripted call runs the same on a virtual one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from dialog.turn import SpeechStarted, SpeechStopped
from media.frames import AudioFrame
from media.keytones import key_tones
from media.leg import CallLeg, HangupCause
from media.vad import webrtc
from voicegw.phone.noise import Background
from voicegw.phone.report import UTTERANCE_GAP_MS, CallRecord, Line, Span
from voicegw.phone.script import (
    Answer,
    HangUp,
    KeyWay,
    OnTurn,
    OverBot,
    Pause,
    Play,
    Press,
    Say,
    Script,
    Standing,
    Step,
    WaitBot,
    WaitSilence,
    When,
)
from voicegw.phone.sound import Samples, Sound

log = logging.getLogger(__name__)

KEY_MS = 180  # a key and the pause after it, as our stacks press them
HANGOVER_MS = 120  # the detector's; pauses are counted here
MOST_ANSWERS = 40  # of a caller who answers whatever he is asked: then bot and caller talk in circles

Sounds = Mapping[Say | Play, Sound]
Asks = Callable[[str], Awaitable[Standing]]
"""Where the call with this Call-ID stands."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to tell the user while the call runs."""

    at_ms: int
    what: Literal["bot", "line", "dtmf", "problem", "closed"]
    text: str = ""  # the words, the file, the keys; the problem; who hung up
    ms: int = 0  # how long it lasted


@runtime_checkable
class PressesByInfo(Protocol):
    """A leg that can be told to press keys by INFO."""

    keys_by_info: bool


class _Over(Exception):
    """The call has ended while the script still had something to do."""


class PhoneSession:
    """One call. Implements `media.leg.LegSink`."""

    def __init__(
        self,
        leg: CallLeg,
        on_happening: Callable[[Happening], None] = lambda happening: None,
        background: Background | None = None,
        asks: Asks | None = None,
    ) -> None:
        """`background` is heard whenever no key is pressed."""
        self._leg, self._background, self._asks = leg, background, asks
        self._tell = on_happening
        self._ears = webrtc.create(webrtc.Config(hangover_ms=HANGOVER_MS))
        self._clock = asyncio.Event()  # a frame came, or the call is over
        self._now = 0  # ms of line time
        self._line: list[bytes] = []  # frames to say, last first
        self._said, self._received = bytearray(), bytearray()
        self._bot_since: int | None = None  # start of the span being heard
        self._answers = 0  # lines that no step of the script stands for
        self._untold = 0  # index of the first span that the user has not been told of
        self._closed: HangupCause | None = None
        self._hanging_up = False
        self.record = CallRecord()

    # The line

    def on_audio(self, frame: AudioFrame) -> None:
        """The far end, and our clock."""
        self._received += frame.pcm
        self._now = round(1000 * frame.end / frame.rate)
        match self._ears.process(frame):
            case SpeechStarted(ago_ms):
                self._bot_since = self._now - ago_ms
            case SpeechStopped(ago_ms):
                self._bot_stopped(self._now - ago_ms)
        if self._bot_since is None and self._now - self._silent_since() > UTTERANCE_GAP_MS:
            self._tell_utterance()
        self._wake()

    def on_tick(self) -> None:
        """Say the next frame, if there is something to say."""
        size, position = self._leg.format.size, len(self._received)
        pcm = self._line.pop() if self._line else b""
        if self._background is not None:
            pcm = self._background.under(pcm or bytes(size))
        if len(self._said) < position:
            self._said += bytes(position - len(self._said))
        self._said[max(0, position - size) :] = pcm or bytes(size)
        if pcm:
            self._leg.send(AudioFrame(pcm, self._leg.format.rate, max(0, position - size) // 2))

    def on_dtmf(self, digit: str) -> None:
        """The bot presses keys."""
        self.record.dtmf += digit
        self._tell(Happening(self._now, "dtmf", digit))

    def on_played(self, pts: int) -> None:
        """A phone line has no buffer to confirm."""

    def on_closed(self, cause: HangupCause) -> None:
        """The call is over."""
        self._closed = cause
        if self._bot_since is not None:
            self._bot_stopped(self._now)
        self._tell_utterance()
        record = self.record
        record.total_ms, record.cause = self._now, cause.name
        record.hangup = record.hangup or ("caller" if self._hanging_up else "bot")
        self._tell(Happening(self._now, "closed", record.hangup))
        self._wake()

    # The script

    async def perform(self, script: Script, sounds: Sounds) -> CallRecord:
        """Live through the call. `sounds` are at the leg's rate. Cancelling leaves the call as it is:
        `hang_up` follows."""
        self._leg.start(self)
        try:
            for step in script.steps:
                await self._step(script, step, sounds)
            if not self._hanging_up:
                await self._linger(script)
                await self.hang_up("caller")
        except _Over:
            steps = sum(isinstance(step, Say | Play | Press) for step in script.steps)
            unsaid = steps - (len(self.record.lines) - self._answers)
            if unsaid:
                self._problem(f"the bot ended the call before {unsaid} of our lines")
        return self.record

    @property
    def rate(self) -> int:
        """Hz of what is said and heard."""
        return self._leg.format.rate

    async def hang_up(self, who: Literal["caller", "timeout"]) -> None:
        """End the call, unless it has ended."""
        if self._closed is None:
            self._hanging_up, self.record.hangup = True, who
            await self._leg.hangup(HangupCause.NORMAL)

    def stereo(self) -> tuple[Samples, Samples]:
        """What we said, what we heard."""
        length = len(self._received)
        said = bytes(self._said[:length]).ljust(length, b"\0")
        return np.frombuffer(said, "<i2"), np.frombuffer(bytes(self._received), "<i2")

    def heard(self, span: Span) -> Samples:
        """The audio of a stretch of the call."""
        rate = self._leg.format.rate
        return self.stereo()[1][max(0, span.start_ms) * rate // 1000 : span.end_ms * rate // 1000]

    async def _step(self, script: Script, step: Step, sounds: Sounds) -> None:
        match step:
            case Say(text, when) | Press(text, when):
                await self._wait_for(when, script, text)
            case Play(file, when):
                await self._wait_for(when, script, file.name)
            case HangUp(when):
                await self._wait_for(when, script, "hangup")
        match step:
            case Say(text):
                await self._speak("say", text, sounds[step])
            case Play(file):
                await self._speak("wav", file.name, sounds[step])
            case Press(digits, by=by):
                await self._press(digits, by or script.keys_by)
            case WaitBot():
                if not await self._until(lambda: self._bot_since is not None, script.patience_ms):
                    self._problem(f"the bot said nothing within {script.patience_ms} ms")
            case WaitSilence(ms):
                await self._until(lambda: self._silent_for() >= ms)
            case Pause(ms):
                await self._until(lambda: False, ms)
            case HangUp():
                await self.hang_up("caller")
            case Answer():
                await self._answer(script, step, sounds)

    async def _answer(self, script: Script, answer: Answer, sounds: Sounds) -> None:
        assert self._asks is not None, "a script with an Answer needs somebody who knows the question"
        for _ in range(MOST_ANSWERS):
            await self._wait_for(OnTurn(), script, "an answer")
            standing = await self._asks(self._leg.info.carrier_id)
            if (line := answer.to(standing)) is not None:
                self._answers += 1
                await self._speak("say", line.text, sounds[line])
            elif not await self._until(partial(self._spoken_since, self._now), script.patience_ms):
                self._problem(f"the bot waits at {standing.node or '?'!r}, and we have no answer to that")
                return
        self._problem(f"the bot was not content with {MOST_ANSWERS} answers")

    async def _wait_for(self, when: When, script: Script, text: str) -> None:
        since = self.record.lines[-1].end_ms if self.record.lines else 0
        match when:
            case OnTurn(silence_ms):
                if not await self._until(lambda: self._spoken_since(since), script.patience_ms):
                    self._problem(f"the bot said nothing within {script.patience_ms} ms before {text!r}")
                enough = script.turn_silence_ms if silence_ms is None else silence_ms
                await self._until(lambda: self._silent_for() >= enough)
            case OverBot(after_ms):
                if not await self._until(lambda: self._speaks(since, after_ms), script.patience_ms):
                    self._problem(
                        f"the bot did not speak for {after_ms} ms, so nothing was there to interrupt"
                    )

    async def _speak(self, kind: Literal["say", "wav"], text: str, sound: Sound) -> None:
        first, last = sound.audible()
        # on_tick says the first frame in the place of the frame that comes next.
        start, over_bot = self._now, self._bot_since is not None
        line = Line(kind, text, start + first, start + last, over_bot)
        self.record.lines.append(line)
        self._line = _frames(sound.samples.astype("<i2").tobytes(), self._leg.format.size)
        await self._until(lambda: not self._line)
        self._tell(Happening(line.start_ms, "line", text, last - first))

    async def _press(self, digits: str, by: KeyWay) -> None:
        start, over_bot = self._now, self._bot_since is not None
        if by is KeyWay.INBAND:
            self._line = _frames(key_tones(digits, self._leg.format.rate), self._leg.format.size)
        else:
            if isinstance(self._leg, PressesByInfo):
                self._leg.keys_by_info = by is KeyWay.INFO
            self._leg.send_dtmf(digits)
        length = KEY_MS * len(digits)
        # Who waits for one key only answers while it is still held down.
        line = Line("dtmf", digits, start, start + length - KEY_MS, over_bot)
        self.record.lines.append(line)
        await self._until(lambda: False, length)
        self._tell(Happening(line.start_ms, "line", f"[{digits}]", length))

    async def _linger(self, script: Script) -> None:
        """Hear the last answer out. Where the bot is to hang up, it is given the time."""
        since = self.record.lines[-1].end_ms if self.record.lines else 0
        answered = await self._until(lambda: self._spoken_since(since), script.patience_ms)
        timed = script.expect.latency_ms is not None or script.expect.median_latency_ms is not None
        if timed and not answered:
            self._problem(f"the bot said nothing within {script.patience_ms} ms after our last line")
        silence = max(script.linger_ms, script.patience_ms if script.expect.hangup == "bot" else 0)
        await self._until(lambda: self._silent_for() >= silence)

    async def _until(self, ready: Callable[[], bool], limit_ms: int | None = None) -> bool:
        """Wait for line time to bring something about. Raises _Over when the call ends first."""
        deadline = None if limit_ms is None else self._now + limit_ms
        while not ready():
            if self._closed is not None:
                raise _Over
            if deadline is not None and self._now >= deadline:
                return False
            await self._clock.wait()
        return True

    def _wake(self) -> None:
        self._clock.set()
        self._clock.clear()

    # The bot, as heard

    def _bot_stopped(self, at_ms: int) -> None:
        if self._bot_since is not None:
            self.record.bot.append(Span(self._bot_since, at_ms))
        self._bot_since = None

    def _silent_since(self) -> int:
        return self.record.bot[-1].end_ms if self.record.bot else 0

    def _silent_for(self) -> int:
        return 0 if self._bot_since is not None else self._now - self._silent_since()

    def _spoken_since(self, ms: int) -> bool:
        return self._bot_since is not None or self._silent_since() > ms

    def _speaks(self, since: int, for_ms: int) -> bool:
        """Whether the bot speaks now, and began to at least `for_ms` ago; pauses for breath aside."""
        if self._bot_since is None:
            return False
        return self._now - _began(self._bot_since, self.record.bot, since) >= for_ms

    def _tell_utterance(self) -> None:
        spans = self.record.bot[self._untold :]
        self._untold = len(self.record.bot)
        if spans:
            start, end = spans[0].start_ms, spans[-1].end_ms
            self._tell(Happening(start, "bot", ms=end - start))

    def _problem(self, text: str) -> None:
        self.record.problems.append(text)
        self._tell(Happening(self._now, "problem", text))


def _frames(pcm: bytes, size: int) -> list[bytes]:
    """Last first."""
    pcm += bytes(-len(pcm) % size)
    return [pcm[at : at + size] for at in range(0, len(pcm), size)][::-1]


def _began(began: int, spans: Sequence[Span], since: int) -> int:
    """When the utterance whose latest span began then did, after `since`."""
    for span in reversed(spans):
        if began - span.end_ms > UTTERANCE_GAP_MS or span.end_ms <= since:
            break
        began = span.start_ms
    return began
