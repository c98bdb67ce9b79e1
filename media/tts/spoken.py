"""What stands between the dialog's text and an engine: markup, lexicon and normalisation become what the
engine can speak, and its word marks become places in the words that were said.

An engine gets plain words, or SSML tags where it understands some (`media.tts.base.Expressive`); what it does
not understand is done by words (say-as, sub), by silence (break) and by gain (volume), or is left out (rate,
pitch, emphasis, lang, voice; phonemes, for which the lexicon may have a respelling).
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from dialog.lexicon import Lexicon
from dialog.markup import escape, parse, write
from dialog.markuptree import Break, Emphasis, Lang, Node, Phoneme, Prosody, SayAs, Span, Style, Sub, Voice
from dialog.sentences import speakable
from media.errors import ProviderError
from media.tts.base import Expressive, Multilingual, Speech, TextToSpeech, WordMark
from media.tts.cache import CachedVoice
from media.tts.normalise import Spoken, normalise, say_as

_STYLES = {"prosody": Prosody, "phoneme": Phoneme, "emphasis": Emphasis, "lang": Lang, "voice": Voice}


@dataclass(frozen=True, slots=True)
class Run:
    """Words of one style."""

    text: str
    positions: Sequence[int]  # of each character in the words that are said
    styles: tuple[Style, ...]  # outermost first


@dataclass(frozen=True, slots=True)
class Part:
    """What the engine speaks at once."""

    text: str
    positions: Sequence[int]
    marked: bool
    gain_db: float


class SpokenVoice:
    """Implements TextToSpeech, for texts with markup. Closing it closes the engine."""

    def __init__(
        self, voice: TextToSpeech, language: str, lexicon: Lexicon, *, normalised: bool, tags: frozenset[str]
    ) -> None:
        """`normalised`: the engine reads numbers well itself; `tags`: what it understands of SSML."""
        self._voice, self._language, self._lexicon = voice, language, lexicon
        self._normalised, self._tags = normalised, tags

    @property
    def rate(self) -> int:
        """Hz."""
        return self._voice.rate

    @property
    def voice(self) -> TextToSpeech:
        """The one behind."""
        return self._voice

    def in_language(self, language: str) -> TextToSpeech:
        """The same for another language. Raises ProviderError: the engine has one."""
        inner = self._voice.engine if isinstance(self._voice, CachedVoice) else self._voice
        if not isinstance(inner, Multilingual):
            raise ProviderError("the engine has one voice")
        other = inner.in_language(language)
        return SpokenVoice(other, language, self._lexicon, normalised=self._normalised, tags=self._tags)

    async def synthesize(self, text: str) -> AsyncGenerator[Speech, None]:
        """Speak one sentence; word marks are places in `dialog.markup.plain(text)`. Raises ProviderError."""
        at, last = 0, -1  # samples; the last word that has its mark
        for part in self.plan(text):
            if isinstance(part, Break):
                silence = self.rate * part.ms // 1000
                yield Speech(bytes(2 * silence))
                at += silence
                continue
            async with aclosing(self._speak(part)) as speech:
                spoken = 0
                async for chunk in speech:
                    words = _placed(chunk.words, part.positions, at, last)
                    last = words[-1].chars if words else last
                    yield Speech(_louder(chunk.pcm, part.gain_db), words)
                    spoken += len(chunk.pcm) // 2
            at += spoken

    async def ahead(self, text: str) -> None:
        """Make a fixed sentence that may be wanted, where the voice keeps any. Raises ProviderError."""
        if isinstance(self._voice, CachedVoice):
            for part in self.plan(text):
                if isinstance(part, Part):
                    await self._voice.ahead(part.text, marked=part.marked)

    async def close(self) -> None:
        """Close the engine."""
        await self._voice.close()

    def plan(self, text: str) -> list[Part | Break]:
        """What the engine is given, in order."""
        runs = list(self._runs(parse(text).nodes, (), 0))
        parts: list[Part | Break] = []
        waiting: list[Run | Break] = []
        gain = 0.0
        for run in runs:
            if isinstance(run, Break) and "break" not in self._tags:
                parts += self._part(waiting, gain)
                parts.append(run)
                waiting = []
                continue
            if isinstance(run, Run) and "prosody" not in self._tags and (louder := _gain(run.styles)) != gain:
                parts += self._part(waiting, gain)
                waiting, gain = [], louder
            waiting.append(run)
        return [*parts, *self._part(waiting, gain)]

    def _speak(self, part: Part) -> AsyncGenerator[Speech, None]:
        if part.marked and isinstance(self._voice, Expressive):
            return self._voice.perform(part.text)
        return self._voice.synthesize(part.text)

    # Words

    def _runs(self, nodes: Sequence[Node], styles: tuple[Style, ...], at: int) -> Iterator[Run | Break]:
        for node in nodes:
            match node:
                case str():
                    yield from self._words(node, styles, at)
                    at += len(node)
                case Break():
                    yield node
                case Span(style, children):
                    yield from self._runs(children, (*styles, style), at)
                    at += len(parse(write(children)).words)

    def _words(self, text: str, styles: tuple[Style, ...], at: int) -> Iterator[Run]:
        language = next((s.code for s in reversed(styles) if isinstance(s, Lang)), self._language)
        positions = range(at, at + len(text))
        match styles[-1] if styles else None:
            case SayAs(what):
                yield self._run(say_as(text, what, language), at, styles)
            case Sub(alias):
                yield Run(alias, [at] * len(alias), styles)
            case Phoneme():
                yield Run(text, positions, styles)
            case _:
                for piece, entry in self._lexicon.apply(text, phonemes="phoneme" in self._tags):
                    yield from self._entry(piece, entry, styles, at, language)
                    at += len(piece)

    def _entry(
        self, piece: str, entry: "Phoneme | Sub | None", styles: tuple[Style, ...], at: int, language: str
    ) -> Iterator[Run]:
        match entry:
            case Sub(alias):
                yield Run(alias, [at] * len(alias), styles)
            case Phoneme():
                yield Run(piece, range(at, at + len(piece)), (*styles, entry))
            case _:
                spoken = Spoken(piece, range(len(piece))) if self._normalised else normalise(piece, language)
                yield self._run(spoken, at, styles)

    @staticmethod
    def _run(spoken: Spoken, at: int, styles: tuple[Style, ...]) -> Run:
        return Run(spoken.text, [at + position for position in spoken.positions], styles)

    # Tags

    def _part(self, runs: list[Run | Break], gain_db: float) -> list[Part | Break]:
        said = "".join(run.text for run in runs if isinstance(run, Run))
        if not speakable(said):
            return [run for run in runs if isinstance(run, Break)]
        marked = any(isinstance(run, Break) or self._understood(run) for run in runs)
        text, positions = [], list[int]()
        for run in runs:
            before, inside, after = self._tagged(run) if marked else ("", run, "")
            last = positions[-1] if positions else 0
            if isinstance(inside, Break):
                written = f'<break time="{inside.ms}ms"/>'
                places = [last] * len(written)
            else:
                written, places = _escaped(inside) if marked else (inside.text, list(inside.positions))
            first = places[0] if places else last
            text.append(f"{before}{written}{after}")
            positions += [first] * len(before) + places + [places[-1] if places else last] * len(after)
        return [Part("".join(text), positions, marked, gain_db)]

    def _understood(self, run: Run) -> list[tuple[str, Style]]:
        return [
            (tag, style)
            for style in run.styles
            for tag, kind in _STYLES.items()
            if tag in self._tags and isinstance(style, kind)
        ]

    def _tagged(self, run: Run | Break) -> tuple[str, Run | Break, str]:
        """Opening tags, the run, closing tags."""
        if isinstance(run, Break):
            return "", run, ""
        opening = closing = ""
        for _, style in self._understood(run):
            begin, _, end = write([Span(style, ("\0",))]).partition("\0")
            opening, closing = opening + begin, end + closing
        return opening, run, closing


def _escaped(run: Run) -> tuple[str, list[int]]:
    text, positions = [], list[int]()
    for char, position in zip(run.text, run.positions, strict=True):
        written = escape(char)
        text.append(written)
        positions += [position] * len(written)
    return "".join(text), positions


def _gain(styles: tuple[Style, ...]) -> float:
    return sum(style.volume_db for style in styles if isinstance(style, Prosody))


def _louder(pcm: bytes, gain_db: float) -> bytes:
    if not gain_db:
        return pcm
    samples = np.frombuffer(pcm, "<i2") * 10 ** (gain_db / 20)
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def _placed(
    words: tuple[WordMark, ...], positions: Sequence[int], at: int, last: int
) -> tuple[WordMark, ...]:
    """One mark a word: what is said in several words is one where it was written as one."""
    marks: list[WordMark] = []
    for word in words:
        chars = positions[min(word.chars, len(positions) - 1)]
        if chars > last:
            last = chars
            marks.append(replace(word, chars=chars, sample=at + word.sample))
    return tuple(marks)
