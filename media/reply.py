"""The bot's turn to speak: acts of the dialog become speech in the playout.

One `Reply` is one task (the speech plane). It runs ahead of the caller's ear by at most `AHEAD_MS`, so
that a barge-in throws little away. What a dialog wants done (transfer, hang-up, keys) is passed on only
after the speech before it was heard; what it wants expected or noted, at once. A reply that fails is
answered with the fallback phrase; when one after the other fails, with a goodbye.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass

from dialog.markup import plain, split
from dialog.types import Act, Hangup, Listen, Note, NoteName, Say, SendDtmf, Transfer
from media.callconfig import Engines, SessionConfig
from media.playout import Playout
from media.resample import Resampler
from media.tts.base import TextToSpeech

AHEAD_MS = 1500  # the next sentence is synthesised when this much speech is left
MARKED_MS = 250  # far ends that confirm what they have played do so about every 200 ms
FAILED_REPLIES = 3  # in a row, after which a call is not worth holding: nothing answers any more


@dataclass(slots=True)
class Milestones:
    """When the steps from the caller's last sound to the bot's first packet happened, in seconds of
    the loop's clock; None until then."""

    spoke_until: float | None = None  # the caller's last sound
    end_of_speech: float | None = None  # decided that he has finished
    turn_ended: float | None = None  # the recogniser's final is there
    first_act: float | None = None  # the dialog's first word
    first_audio: float | None = None  # the voice's first audio
    first_sent: float | None = None  # on the wire

    def steps_ms(self) -> dict[str, float]:
        """Milliseconds by step; a step that did not happen (a typed turn has no speech) is left out."""
        marks = {
            "eot_ms": (self.spoke_until, self.end_of_speech),
            "stt_ms": (self.end_of_speech, self.turn_ended),
            "dialog_ms": (self.turn_ended, self.first_act),
            "tts_ms": (self.first_act, self.first_audio),
            "playout_ms": (self.first_audio, self.first_sent),
            "total_ms": (self.turn_ended if self.spoke_until is None else self.spoke_until, self.first_sent),
        }
        return {
            name: round((end - start) * 1000, 1)
            for name, (start, end) in marks.items()
            if start is not None and end is not None
        }


class Speaker:
    """Turns acts into speech for one call."""

    def __init__(
        self,
        playout: Playout,
        engines: Engines,
        config: SessionConfig,
        on_act: Callable[[Act], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """`on_act` takes every act at the moment it takes effect, `on_error` what made a reply fail."""
        self._playout, self._config = playout, config
        self._voice, self._voices = engines.voice, engines.voices
        self._on_act, self._on_error = on_act, on_error
        self._failures = 0  # in a row
        self._clock = asyncio.get_running_loop().time
        self._heard_more = asyncio.Event()

    def ticked(self) -> None:
        """A packet time has passed: somebody may be waiting for the caller's ear."""
        self._heard_more.set()
        self._heard_more.clear()

    async def perform(self, acts: AsyncGenerator[Act, None], milestones: Milestones) -> None:
        """Speak and do `acts`, in order; apologise if that fails. Cancelling stops dialog and voice, and
        nothing more is written."""
        try:
            await self._perform(acts, milestones)
            self._failures = 0
        except Exception as error:  # the one boundary: a failed reply must not end the call
            self._failures += 1
            self._on_error(error)
            await self._apologise(milestones)

    async def _perform(self, acts: AsyncGenerator[Act, None], milestones: Milestones) -> None:
        utterance = self._playout.begin()
        try:
            async with aclosing(acts):
                async for act in acts:
                    if milestones.first_act is None and isinstance(act, Say):
                        milestones.first_act = self._clock()
                    await self._do(utterance, act, milestones)
        finally:
            self._playout.end(utterance)

    async def _apologise(self, milestones: Milestones) -> None:
        given_up = self._failures >= FAILED_REPLIES
        ends = given_up and not self._config.failed_transfer
        phrase = self._config.goodbye_phrase if ends else self._config.fallback_phrase
        try:
            await self._perform(only(Say(phrase)), milestones)
        except Exception as error:  # the voice itself is gone
            self._on_error(error)
        if given_up:
            target = self._config.failed_transfer
            self._on_act(Transfer(target) if target else Hangup("replies fail"))

    async def heard_all(self) -> None:
        """Wait until the caller has heard everything."""
        await self._until_left(0)
        while self._playout.unconfirmed_ms > MARKED_MS:
            await self._heard_more.wait()

    async def _do(self, utterance: int, act: Act, milestones: Milestones) -> None:
        match act:
            case Say(text, language):
                self._on_act(Say(plain(text), language))
                voice = self._voices.get(language, self._voice)
                for sentence in split(text):
                    await self._say(utterance, sentence, voice, milestones)
            case Listen() | Note():
                self._on_act(act)
            case Transfer() | Hangup() | SendDtmf():
                self._playout.pad(utterance)
                await self._until_left(0)
                self._on_act(act)

    async def _say(self, utterance: int, text: str, voice: TextToSpeech, milestones: Milestones) -> None:
        await self._until_left(AHEAD_MS)
        rate, scale = self._playout.format.rate, self._playout.format.rate / voice.rate
        resampler = Resampler(voice.rate, rate)
        words = plain(text)
        self._playout.piece(utterance, words if words[-1:].isspace() else words + " ")
        async with aclosing(voice.synthesize(text)) as speech:
            async for chunk in speech:
                if chunk.switched is not None:
                    self._on_act(Note(NoteName.SWITCHED, {"kind": "tts", **asdict(chunk.switched)}))
                pcm = resampler.process(chunk.pcm)
                marks = [(word.chars, round(word.sample * scale)) for word in chunk.words]
                self._playout.write(utterance, pcm, marks)
                if milestones.first_audio is None and pcm:
                    milestones.first_audio = self._clock()
        self._playout.write(utterance, resampler.flush())

    async def _until_left(self, ms: int) -> None:
        """Wait until the caller has at most `ms` of speech still to hear, and the bot is not paused."""
        while self._playout.paused or self._playout.left_ms(self._clock()) > ms:
            await self._heard_more.wait()


async def only(*acts: Act) -> AsyncGenerator[Act, None]:
    """A reply that is known beforehand."""
    for act in acts:
        yield act
