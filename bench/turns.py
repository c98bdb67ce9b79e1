"""How often is a caller cut off, and how long does he wait? End of turn by silence alone, and with the
estimate.

Callers (espeak-ng, three voices) say answers that are complete, and others with a pause of
300 to 900 ms inside. Real: voices, detector, estimate, turn engine. The words come as a streaming
recogniser would give them, 200 ms after they were said, with what the embedded one says of its grammar.

    cut off   share of all answers that were taken for finished inside their pause
    wait      ms from the caller's last sound to the decision that he has finished, in the mean

    .venv/bin/python -m bench.turns
"""

import argparse
import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from dialog.nlu.completeness import by_grammar
from dialog.turn import (
    EndOfSpeech,
    ReplyReady,
    SpeechStarted,
    SpeechStopped,
    Transcript,
    TurnPolicy,
    TurnScore,
)
from dialog.turn_engine import TurnEngine
from dialog.types import Hints
from media.eot import rules
from media.frames import AudioFormat, AudioFrame
from media.tts import espeak
from media.vad import webrtc

VOICES = ("en-us", "en-us+f3", "en-gb")
PAUSES_MS = (300, 500, 700, 900)
LATE_MS = 200  # of a recogniser's partials
LEAD_MS, TAIL_MS = 300, 3000
DAY = Hints(phrases=("tomorrow", "next tuesday", "on friday", "next tuesday at three", "on friday at noon"))
YES_NO = Hints(phrases=("yes", "yes please", "no", "no thank you", "that's right"))
SERVICE = Hints(phrases=("the dentist", "the dentist please", "the doctor", "book an appointment"))

COMPLETE = (
    (YES_NO, "yes please"),
    (YES_NO, "no thank you"),
    (YES_NO, "yes"),
    (SERVICE, "the dentist please"),
    (SERVICE, "book an appointment"),
    (DAY, "next tuesday"),
    (DAY, "next tuesday at three"),
    (DAY, "tomorrow"),
    (Hints(digits=(4, 4)), "one two three four"),
    (Hints(digits=(6, 12)), "four five six seven eight nine"),
    (Hints(), "i have lost my card and need a new one"),
    (Hints(), "when are you open on sunday"),
    (Hints(), "my name is john smith"),
    (Hints(), "i want to speak to somebody"),
)
PAUSED = (
    (Hints(digits=(6, 12)), "four five six", "seven eight nine"),
    (Hints(digits=(8, 8)), "oh one six double two", "four seven one"),
    (Hints(digits=(4, 4)), "one two", "three four"),
    (DAY, "next tuesday", "at three"),
    (DAY, "on friday", "at noon"),
    (SERVICE, "the", "dentist please"),
    (Hints(), "my name is", "john smith"),
    (Hints(), "i need to change my appointment because", "i am ill"),
    (Hints(), "i would like to speak to", "the doctor"),
    (Hints(), "i live in london um", "in baker street"),
    (Hints(), "we are coming on monday and", "on wednesday"),
    (Hints(), "i have lost my card", "and i need a new one"),
    (Hints(), "it is about the bill", "from last week"),
    (Hints(), "can you tell me if", "you are open on sunday"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as it comes over the line."""

    hints: Hints
    pcm: npt.NDArray[np.int16]
    words: tuple[tuple[str, int], ...]  # each with the ms at which it ends
    end_ms: int  # of the last sound


async def speak(text: str, voice: str) -> tuple[npt.NDArray[np.float32], list[int]]:
    """Its samples at 8 kHz, and where each word begins."""
    engine = espeak.create(espeak.Config(voice=voice))
    pcm, marks = bytearray(), []
    async for chunk in engine.synthesize(text):
        marks += [word.sample for word in chunk.words]
        pcm += chunk.pcm
    samples = np.frombuffer(bytes(pcm), np.int16).astype(np.float32)
    await engine.close()
    step = engine.rate / 8000
    thin = np.interp(np.arange(0, len(samples), step), np.arange(len(samples)), samples).astype(np.float32)
    return thin, [round(mark / step) for mark in marks]


@cache
def answer(hints: Hints, first: str, rest: str, voice: str, pause_ms: int) -> Answer:
    """Spoken in one breath and cut at a word, so that the first part does not sound finished by itself."""
    text = f"{first} {rest}".strip()
    samples, marks = asyncio.run(speak(text, voice))
    loud = np.flatnonzero(np.abs(samples) > 200)
    end = int(loud[-1])
    words = text.split()
    if len(marks) != len(words):
        marks = [end * n // len(words) for n in range(len(words))]
    ends = [*marks[1:], end]
    lead, gap, at = LEAD_MS * 8, pause_ms * 8 if rest else 0, len(first.split())
    cut = marks[at] if rest else end
    fade = np.minimum(1, np.arange(len(samples[:cut]))[::-1] / 160).astype(np.float32)
    parts = [np.zeros(lead), samples[:cut] * fade, np.zeros(gap), samples[cut:end], np.zeros(TAIL_MS * 8)]
    line = np.concatenate(parts) + np.random.default_rng(0).standard_normal(sum(map(len, parts))) * 4
    pcm = np.clip(line, -32768, 32767).astype(np.int16)
    shifted = tuple(
        (word, (lead + ends_at + (gap if rest and n >= at else 0)) // 8)
        for n, (word, ends_at) in enumerate(zip(words, ends, strict=True))
    )
    return Answer(hints, pcm, shifted, (lead + end + gap) // 8)


def answers() -> Iterator[Answer]:
    """All of them."""
    for voice in VOICES:
        for hints, text in COMPLETE:
            yield answer(hints, text, "", voice, 0)
        for hints, first, rest in PAUSED:
            for pause_ms in PAUSES_MS:
                yield answer(hints, first, rest, voice, pause_ms)


def partial(said: str, hints: Hints) -> Transcript:
    """What the embedded recogniser would say of its grammar, too."""
    expected = by_grammar(said, hints) if hints.phrases else None
    return Transcript(said, final=False, complete=expected == 1.0, fragment=expected == 0.15)


def ended_at(answer: Answer, policy: TurnPolicy, *, estimate: bool, prosody: float) -> int:
    """When the engine takes the answer for finished."""
    scores: list[float] = []
    stream = rules.create(rules.Config(prosody)).stream(AudioFormat(), scores.append)
    stream.expect(answer.hints, "en")
    engine, detector, said = TurnEngine(policy), webrtc.create(webrtc.Config()), 0
    engine.listen(policy)
    engine.feed(ReplyReady(), 0)
    for n in range(len(answer.pcm) // 160):
        now = (n + 1) * 20
        frame = AudioFrame(answer.pcm[n * 160 : (n + 1) * 160].tobytes(), 8000, n * 160)
        stream.push(frame)
        decisions = engine.tick(now)
        if event := detector.process(frame):
            decisions += engine.feed(event, now)
            match event:
                case SpeechStarted():
                    stream.resumed()
                case SpeechStopped():
                    stream.paused()
        known = sum(end + LATE_MS <= now for _, end in answer.words)
        if known > said:
            said = known
            believed = partial(" ".join(word for word, _ in answer.words[:said]), answer.hints)
            decisions += engine.feed(believed, now)
            stream.partial(believed)
        for score in scores if estimate else ():
            decisions += engine.feed(TurnScore(score), now)
        scores.clear()
        if any(isinstance(d, EndOfSpeech) for d in decisions):
            return now
    raise AssertionError("no end of turn")


def measure(policy: TurnPolicy, *, estimate: bool, prosody: float = 0.3) -> tuple[float, float]:
    """Share cut off, and mean wait in ms of the others."""
    cut, waits, count = 0, [], 0
    for one in answers():
        at = ended_at(one, policy, estimate=estimate, prosody=prosody)
        count += 1
        if at < one.end_ms:
            cut += 1
        else:
            waits.append(at - one.end_ms)
    return cut / count, float(np.mean(waits))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    table = Table(title=f"{sum(1 for _ in answers())} answers, {len(VOICES)} voices")
    for header in ("end of turn by", "cut off", "wait ms"):
        table.add_column(header, justify="right")
    plain = TurnPolicy()
    for ms in (300, 400, 500, 600, 700, 800, 900, 1000):
        fixed = replace(plain, end_silence_ms=ms, complete_silence_ms=ms)
        cut, wait = measure(fixed, estimate=False)
        table.add_row(f"{ms} ms of silence", f"{cut:.1%}", f"{wait:.0f}")
    table.add_section()
    for ms in (500, 700):
        cut, wait = measure(replace(plain, end_silence_ms=ms), estimate=False)
        table.add_row(f"{ms} ms, 300 where the grammar is complete", f"{cut:.1%}", f"{wait:.0f}")
    table.add_section()
    for ms in (400, 500, 600, 700):
        for prosody in (0.0, 0.3):
            cut, wait = measure(replace(plain, end_silence_ms=ms), estimate=True, prosody=prosody)
            table.add_row(f"rules, {ms} ms where in doubt, prosody {prosody}", f"{cut:.1%}", f"{wait:.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
