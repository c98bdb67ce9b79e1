"""Finds out who has answered a call that we placed, and lets the dialog begin accordingly.

    detector of speech, ears --> AnswerDetector (media/amd.py) --> ScreenedDialog: greeting | message | answer

It listens with what the call listens with anyway: both are passed through. Nothing is said until it is known
who is there; what is said to us until then answers no question of ours.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol, runtime_checkable

from dialog.breaker import Switched
from dialog.turn import SpeechStarted, SpeechStopped, Transcript
from dialog.types import Act, Answered, AnsweredBy, DialogEngine, DialogInput, Domain, Hints, Note
from media.amd import AnswerDetector, Config
from media.callconfig import Engines
from media.frames import AudioFrame
from media.leg import CallInfo, Direction
from media.stt.base import SttStream
from media.vad.base import VoiceDetector

log = logging.getLogger(__name__)


@runtime_checkable
class Screens(Protocol):
    """A dialog that has something for those who are no persons."""

    @property
    def answered_by(self) -> frozenset[AnsweredBy]:
        """For whom; empty: for nobody."""


def screened(
    dialog: DialogEngine, engines: Engines, config: Config, info: CallInfo, rate: int
) -> tuple[DialogEngine, Engines]:
    """The dialog and engines of a call, which find out who answers where that matters: on calls that we
    placed, for dialogs that tell the difference. `rate` of the line in Hz."""
    wanted = isinstance(dialog, Screens) and dialog.answered_by
    if info.direction is not Direction.OUTBOUND or not wanted:
        return dialog, engines
    listener = Listener(AnswerDetector(config, rate, dialog.domain.language))
    ears = ListeningEars(engines.ears, listener)
    return (
        ScreenedDialog(dialog, listener),
        replace(engines, vad=ListeningVad(engines.vad, listener), ears=ears),
    )


class Listener:
    """Feeds the detector, and wakes whoever waits for it."""

    def __init__(self, detector: AnswerDetector) -> None:
        self.detector = detector
        self._changed = asyncio.Event()

    def frame(self, frame: AudioFrame, event: SpeechStarted | SpeechStopped | None) -> None:
        """One frame, with what the call's own detector made of it."""
        detector = self.detector
        before = (detector.verdict, detector.ready_at)
        match event:
            case SpeechStarted(ago_ms):
                detector.started(ago_ms)
            case SpeechStopped(ago_ms):
                detector.stopped(ago_ms)
        detector.frame(frame)
        if before != (detector.verdict, detector.ready_at):
            self._changed.set()

    def text(self, text: str) -> None:
        """What the far end says."""
        before = self.detector.verdict
        self.detector.text(text)
        if self.detector.verdict != before:
            self._changed.set()

    async def decided(self) -> AnsweredBy:
        """Who it is, once whatever is to be said to it can begin."""
        while True:
            verdict = self.detector.verdict
            if verdict is not None and (verdict.by is AnsweredBy.HUMAN or self.detector.ready_at is not None):
                return verdict.by
            self._changed.clear()
            await self._changed.wait()


class ScreenedDialog:
    """A dialog that begins when it is known to whom. Implements `dialog.types.DialogEngine`."""

    def __init__(self, dialog: DialogEngine, listener: Listener) -> None:
        self._dialog, self._listener = dialog, listener
        self._begun: AnsweredBy | None = None

    @property
    def domain(self) -> Domain:
        """The dialog's."""
        return self._dialog.domain

    async def greet(self) -> AsyncGenerator[Act, None]:
        """The greeting for a person, a message for a machine, an answer for an assistant."""
        async with aclosing(self._begin()) as acts:
            async for act in acts:
                yield act

    async def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        """The dialog's, once it has begun. "Hello?" before, or a machine that turns out to be one: it begins
        again."""
        verdict = self._listener.detector.verdict
        unknown = self._begun is None or (verdict is not None and verdict.by is not self._begun)
        acts = self._begin() if unknown else self._dialog.reply(turn)
        async with aclosing(acts):
            async for act in acts:
                yield act

    def heard(self, text: str, complete: bool) -> None:  # noqa: FBT001 - the port has it so
        """To the dialog."""
        self._dialog.heard(text, complete)

    async def _begin(self) -> AsyncGenerator[Act, None]:
        by = await self._listener.decided()
        verdict = self._listener.detector.verdict
        assert verdict is not None
        yield Note("answered_by", {"who": by.value, "reason": verdict.reason, "after_ms": verdict.at_ms})
        log.info("answered", extra={"by": by.value, "reason": verdict.reason, "after_ms": verdict.at_ms})
        self._begun = by
        greets = by is AnsweredBy.HUMAN
        acts = self._dialog.greet() if greets else self._dialog.reply(Answered(by))
        async with aclosing(acts):
            async for act in acts:
                yield act


class ListeningVad:
    """A `media.vad.base.VoiceDetector` that lets the listener hear."""

    def __init__(self, vad: VoiceDetector, listener: Listener) -> None:
        self._vad, self._listener = vad, listener

    def process(self, frame: AudioFrame) -> SpeechStarted | SpeechStopped | None:
        """As the detector."""
        event = self._vad.process(frame)
        self._listener.frame(frame, event)
        return event


class ListeningEars:
    """A `media.stt.base.SttStream` that lets the listener read."""

    def __init__(self, ears: SttStream, listener: Listener) -> None:
        self._ears, self._listener = ears, listener
        self.push, self.begin, self.finish = ears.push, ears.begin, ears.finish
        self.cancel = ears.cancel

    def expect(self, hints: Hints) -> None:
        """As the ears."""
        self._ears.expect(hints)

    async def __aiter__(self) -> AsyncIterator[Transcript | Switched]:
        async for heard in self._ears:
            if isinstance(heard, Transcript) and heard.text:
                self._listener.text(heard.text)
            yield heard
