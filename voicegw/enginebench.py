"""How well and how fast the configured engines are, on the user's own recordings and this machine.

Ears hear recordings as a call does: 20 ms at a time in real time, several calls at once. CPU is that of the
whole process tree, so worker processes count.
"""

import asyncio
import os
import resource
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

from dialog.llm.base import Finished, LanguageModel, LlmRequest, Message, Role, Text
from dialog.turn import Transcript
from dialog.types import Domain, Hints
from media.errors import ProviderError
from media.frames import AudioFormat, AudioFrame
from media.stt.base import SpeechToText, SttStream
from media.tasks import task_scope
from media.tts.base import TextToSpeech
from voicegw.errors import VoicegwError
from voicegw.phone.sound import Sound, read_sound

RATE = 8000  # Hz, as on the telephone
PTIME_S = 0.02
FINAL_S = 15.0  # longer than anybody waits
SENTENCES = (
    "Hello, how can I help you?",
    "Your appointment is on Tuesday, the third of May, at half past nine.",
    "One moment, please, I will look that up for you.",
    "The total is forty-two euros and fifty cents, is that right?",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One recording and what is said in it."""

    name: str
    sound: Sound
    words: tuple[str, ...]


@dataclass(slots=True)
class EarsResult:
    """Of one engine with so many calls at once."""

    engine: str
    calls: int
    errors: int = 0  # words wrong, missing or too many
    words: int = 0
    finals_ms: list[float] = field(default_factory=list)  # from the end of speech
    partials_ms: list[float] = field(default_factory=list)  # from its beginning to the first partial
    failed: int = 0  # recordings that no final came for
    audio_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def word_error_rate(self) -> float:
        """0 is perfect; above 1 where more is heard than was said."""
        return self.errors / self.words if self.words else 0.0


def samples(folder: Path) -> list[Sample]:
    """Every sound file of the folder that has a .txt of its name. Raises VoicegwError if there is none."""
    found = []
    for path in sorted(folder.rglob("*")):
        text = path.with_suffix(".txt")
        if path.suffix.lower() in {".wav", ".flac", ".ogg"} and text.is_file():
            words = plain(text.read_text(encoding="utf-8"))
            found.append(Sample(path.name, read_sound(path, None).at(RATE), words))
    if not found:
        raise VoicegwError(f"{folder} holds no recordings: NAME.wav with NAME.txt beside it")
    return found


def plain(text: str) -> tuple[str, ...]:
    """Words without case and punctuation, as word error rates are counted."""
    kept = "".join(char if char.isalnum() or char in "'’" else " " for char in text.lower())
    return tuple(kept.replace("’", "'").split())


async def measure_ears(
    name: str, engine: SpeechToText, what: Sequence[Sample], calls: int, on_done: Callable[[], None]
) -> EarsResult:
    """Play all recordings, `calls` at a time. Raises ProviderError if the engine cannot be used at all."""
    result = EarsResult(name, calls)
    waiting = iter(what)
    await engine.prepare(Domain("bench"))
    before = cpu_s()

    async def call() -> None:
        for sample in waiting:
            await _hear(engine, sample, result)
            on_done()

    async with asyncio.TaskGroup() as group:
        for _ in range(calls):
            group.create_task(call())
    result.cpu_s = cpu_s() - before
    return result


async def _hear(engine: SpeechToText, sample: Sample, result: EarsResult) -> None:
    loop = asyncio.get_running_loop()
    result.audio_s += sample.sound.ms / 1000
    result.words += len(sample.words)
    heard: tuple[str, ...] = ()
    try:
        async with engine.stream(AudioFormat(RATE), Domain("bench")) as stream, task_scope() as start:
            stream.expect(Hints())
            found: asyncio.Queue[tuple[float, Transcript | ProviderError]] = asyncio.Queue()
            start(_read(stream, found), "read")
            stream.begin()
            began = loop.time()
            await _play(stream, sample.sound)
            stream.finish()
            ended = loop.time()
            async with asyncio.timeout(FINAL_S):
                heard = await _final(found, began, ended, result)
    except (ProviderError, TimeoutError):
        result.failed += 1
    result.errors += Levenshtein.distance(sample.words, heard)


async def _final(
    found: "asyncio.Queue[tuple[float, Transcript | ProviderError]]",
    began: float,
    ended: float,
    result: EarsResult,
) -> tuple[str, ...]:
    """The words of the final; when it and the first partial came."""
    first = True
    while True:
        at, transcript = await found.get()
        if isinstance(transcript, ProviderError):
            raise transcript
        if transcript.final:
            result.finals_ms.append(max(0.0, at - ended) * 1000)
            return plain(transcript.text)
        if first:
            result.partials_ms.append((at - began) * 1000)
            first = False


async def _read(stream: SttStream, found: "asyncio.Queue[tuple[float, Transcript | ProviderError]]") -> None:
    """What is understood, at the moment it is."""
    loop = asyncio.get_running_loop()
    try:
        async for transcript in stream:
            if isinstance(transcript, Transcript):
                found.put_nowait((loop.time(), transcript))
    except ProviderError as error:
        found.put_nowait((loop.time(), error))


async def _play(stream: SttStream, sound: Sound) -> None:
    """In real time, on absolute deadlines."""
    loop = asyncio.get_running_loop()
    size, start = int(RATE * PTIME_S), loop.time()
    pcm = sound.samples.astype("<i2")
    for number, at in enumerate(range(0, len(pcm) - size + 1, size)):
        stream.push(AudioFrame(pcm[at : at + size].tobytes(), RATE, at))
        await asyncio.sleep(max(0.0, start + (number + 1) * PTIME_S - loop.time()))


@dataclass(slots=True)
class VoiceResult:
    """Of one voice."""

    engine: str
    first_ms: list[float] = field(default_factory=list)  # from a sentence to its first sound
    audio_s: float = 0.0
    took_s: float = 0.0
    cpu_s: float = 0.0


async def measure_voice(name: str, engine: TextToSpeech, rounds: int) -> VoiceResult:
    """Speak some sentences, one after the other. Raises ProviderError."""
    loop = asyncio.get_running_loop()
    result = VoiceResult(name)
    await _speak(engine, SENTENCES[0])  # what only the first sentence pays for
    before = cpu_s()
    for sentence in SENTENCES * rounds:
        began = loop.time()
        first, seconds = await _speak(engine, sentence)
        result.first_ms.append((first - began) * 1000)
        result.audio_s += seconds
        result.took_s += loop.time() - began
    result.cpu_s = cpu_s() - before
    return result


async def _speak(engine: TextToSpeech, text: str) -> tuple[float, float]:
    """When the first sound came, and seconds of audio."""
    loop = asyncio.get_running_loop()
    first, size = 0.0, 0
    async with aclosing(engine.synthesize(text)) as speech:
        async for chunk in speech:
            first = first or loop.time()
            size += len(chunk.pcm)
    return first, size / 2 / engine.rate


@dataclass(slots=True)
class ModelResult:
    """Of one language model."""

    engine: str
    first_ms: list[float] = field(default_factory=list)
    tokens: int = 0
    writing_s: float = 0.0
    cpu_s: float = 0.0


async def measure_model(name: str, engine: LanguageModel, rounds: int) -> ModelResult:
    """Hold a short conversation. Raises LlmError."""
    loop = asyncio.get_running_loop()
    result = ModelResult(name)
    system = Message(Role.SYSTEM, "You answer the telephone of a clinic. Be brief: one or two sentences.")
    await engine.prepare(LlmRequest([system]))
    talk, before = [system], cpu_s()
    for number in range(rounds):
        talk.append(Message(Role.USER, f"What do I bring to appointment number {number + 1}?"))
        began, first, answer = loop.time(), 0.0, ""
        async with aclosing(engine.generate(LlmRequest(talk, max_tokens=80))) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, Text):
                    first = first or loop.time()
                    answer += chunk.text
                elif isinstance(chunk, Finished) and chunk.usage is not None:
                    result.tokens += chunk.usage.completion
        result.first_ms.append(((first or loop.time()) - began) * 1000)
        result.writing_s += loop.time() - (first or began)
        talk.append(Message(Role.ASSISTANT, answer))
    result.cpu_s = cpu_s() - before
    return result


def percentile(values: Sequence[float], percent: float) -> float:
    """0 of nothing."""
    return float(np.percentile(values, percent)) if len(values) else 0.0


def cpu_s() -> float:
    """Of this process and of its children, those that still run included."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    return total + sum(_running_s(pid) for pid in _children(os.getpid()))


def _children(parent: int) -> list[int]:
    try:
        text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    except OSError:
        return []
    return [pid for child in map(int, text.split()) for pid in (child, *_children(child))]


def _running_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
