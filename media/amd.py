"""Who has answered a call that we placed: a person, an answering machine, or an assistant that screens calls.
A core: its clock is the audio.

    answer -> "hello?" ............. pause        person: says little and waits (in 1 to 2.5 s)
           -> "you have reached ... after the tone"   machine: talks on (at 2.6 s), or says so
           -> "record your name and reason ..."       assistant: says so
           -> nothing, or neither of them             at 4 s by how much was said

After a machine the right moment for a message is the end of its beep, or of everything it has to say. A
person's verdict is taken back if a machine's phrase comes soon after it.
"""

import re
from collections import deque
from dataclasses import dataclass

import numpy as np

from dialog.types import AnsweredBy
from media.frames import AudioFrame


@dataclass(frozen=True, slots=True)
class Config:
    """Answering machine detection on calls that we place, for flows with `answered_by`."""

    limit_ms: int = 4000
    """Decided by then at the latest. Longer waits lose people: they hear nothing meanwhile."""
    human_ms: int = 1800
    """The longest first words of a person: "Miller's bakery, this is Ann, hello?"."""
    pause_ms: int = 600
    """Silence after these words that means: your turn."""
    machine_ms: int = 2600
    """First words that go on for so long come from a machine."""
    revise_ms: int = 8000
    """So long after the answer a machine's phrase still overrules "a person"."""
    beep_wait_ms: int = 30_000
    """Longest wait for a machine's beep; then the message is spoken anyway."""
    silence_ms: int = 2500
    """Silence of a machine, without a beep, after which the message is spoken."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who it is, how that was found out, and when: ms of audio since the answer."""

    by: AnsweredBy
    reason: str
    at_ms: int


_MACHINE = {
    "en": ("leave a message", "leave your message", "leave me a message", "after the tone", "after the beep",
           "at the tone", "voicemail", "voice mail", "you have reached", "you've reached", "is not available",
           "cannot take your call", "can't take your call", "can't come to the phone", "record your message",
           "mailbox", "please leave"),
    "de": ("nach dem signalton", "nach dem ton", "nach dem piep", "hinterlassen sie", "mailbox",
           "anrufbeantworter", "nicht erreichbar", "nachricht hinterlassen", "zurzeit nicht", "sprachbox"),
    "fr": ("après le bip", "après le signal", "laissez un message", "laissez votre message", "messagerie",
           "n'est pas disponible", "vous êtes bien sur", "répondeur"),
    "es": ("después de la señal", "después del tono", "deje su mensaje", "deje un mensaje", "buzón de voz",
           "no está disponible", "contestador"),
}  # fmt: skip
_SCREENING = {
    "en": ("record your name", "reason for calling", "reason for your call", "who is calling",
           "who's calling", "call assist", "screening service", "state your name", "say your name",
           "stay on the line while"),
    "de": ("ihren namen und den grund", "grund ihres anrufs", "wer ist am apparat", "nennen sie ihren namen"),
    "fr": ("votre nom et la raison", "raison de votre appel", "dites votre nom"),
    "es": ("diga su nombre", "motivo de su llamada", "motivo de la llamada"),
}  # fmt: skip


def phrase_of(text: str, language: str) -> AnsweredBy | None:
    """What a text gives away; an assistant's phrases before a machine's."""
    words = re.sub(r"[^\w' ]+", " ", text.lower().replace("\u2019", "'"))
    plain = f" {' '.join(words.split())} "
    code = language.partition("-")[0].lower()
    for by, table in ((AnsweredBy.SCREENING, _SCREENING), (AnsweredBy.MACHINE, _MACHINE)):
        if any(f" {phrase} " in plain for phrase in table.get(code, ())):
            return by
    return None


class AnswerDetector:
    """Of one call. Feed it with every frame and text from the answer on."""

    def __init__(self, config: Config, rate: int, language: str = "en") -> None:
        """`rate` of the frames, in Hz."""
        self._config, self._language = config, language
        self._beep = BeepDetector(rate)
        self.verdict: Verdict | None = None
        self.ready_at: int | None = None
        """When a message for a machine, or an answer to an assistant, can begin."""
        self._now = 0.0  # ms of audio
        self._began: float | None = None  # of the utterance that is being spoken
        self._ended: float | None = None  # of the last one
        self._spoken = 0.0  # in all, without the one that is being spoken
        self._utterances = 0

    @property
    def now_ms(self) -> int:
        """Audio so far."""
        return round(self._now)

    def started(self, ago_ms: int) -> None:
        """The far end began to speak so long ago."""
        if self._began is None:
            self._began = max(0.0, self._now - ago_ms)
            self._utterances += 1

    def stopped(self, ago_ms: int) -> None:
        """It fell silent so long ago."""
        if self._began is not None:
            self._ended = max(self._began, self._now - ago_ms)
            self._spoken += self._ended - self._began
            self._began = None

    def text(self, text: str) -> None:
        """What it has said so far, as the recogniser believes."""
        by = phrase_of(text, self._language)
        known = self.verdict
        if by is None or (known is not None and known.by is not AnsweredBy.HUMAN):
            return
        if known is None or self._now <= self._config.revise_ms:
            self._decide(by, "phrase")

    def frame(self, frame: AudioFrame) -> None:
        """The next frame; decisions fall on frames."""
        self._now += 1000 * len(frame.pcm) / 2 / frame.rate
        beeped = self._beep.process(frame.pcm)
        if self.verdict is None:
            self._judge()
        elif self.ready_at is None and self.verdict.by is not AnsweredBy.HUMAN:
            self._wait(beeped=beeped and self.verdict.by is AnsweredBy.MACHINE)

    def _judge(self) -> None:
        config, now = self._config, self._now
        speaking = now - self._began if self._began is not None else 0.0
        if speaking >= config.machine_ms:
            self._decide(AnsweredBy.MACHINE, "long greeting")
        elif self._paused() >= config.pause_ms and self._utterances == 1 and self._spoken <= config.human_ms:
            self._decide(AnsweredBy.HUMAN, "short greeting")
        elif now >= config.limit_ms:
            said = self._spoken + speaking
            long = said > config.human_ms
            reason = "much said" if long else "little said" if said else "nothing said"
            self._decide(AnsweredBy.MACHINE if long else AnsweredBy.HUMAN, reason)

    def _wait(self, *, beeped: bool) -> None:
        """For the moment in which a machine or assistant listens."""
        assert self.verdict is not None
        config, waited = self._config, self._now - self.verdict.at_ms
        machine = self.verdict.by is AnsweredBy.MACHINE
        silence = config.silence_ms if machine else config.pause_ms
        quiet_since = max(self._ended or 0.0, self._beep.heard_at_ms)
        quiet = self._began is None and self._now - quiet_since >= silence
        if beeped or (quiet and not self._beep.sounding) or waited >= config.beep_wait_ms:
            self.ready_at = round(self._now)

    def _paused(self) -> float:
        return self._now - self._ended if self._ended is not None and self._began is None else 0.0

    def _decide(self, by: AnsweredBy, reason: str) -> None:
        self.verdict = Verdict(by, reason, round(self._now))


LOWEST, HIGHEST, STEP = 380, 2200, 20  # Hz; beeps of machines lie between 400 and 2100
WINDOW_MS = 40
PURE = 0.7  # share of the power in one tone; speech has 0.3, two DTMF tones 0.5 each
QUIET = 10 ** (-35 / 20) * 32768  # rms
SHORTEST_MS, LONGEST_MS = 120, 4000
STEADY = 30.0  # Hz; a beep keeps its pitch, a vowel does not


class BeepDetector:
    """A machine's beep: one steady tone, found by a bank of Goertzel filters."""

    def __init__(self, rate: int) -> None:
        """`rate` in Hz."""
        self._rate, self._size = rate, rate * WINDOW_MS // 1000
        frequencies = np.arange(LOWEST, HIGHEST + 1, STEP)
        # Goertzel's filter gives the power at one frequency; for all windows at once it is a product.
        angles = 2 * np.pi * np.outer(frequencies, np.arange(self._size)) / rate
        taper = np.hanning(self._size)
        self._bank = np.concatenate((np.cos(angles), np.sin(angles))) * taper
        # Of a pure tone: its power at its own frequency, by its energy in the window.
        self._frequencies, self._gain = frequencies, float(taper.sum() ** 2 / (2 * self._size))
        self._pending = bytearray()
        self._pitches: deque[float] = deque()
        self._now = 0.0  # ms
        self.heard_at_ms = 0.0
        """When the last tone ended."""

    @property
    def sounding(self) -> bool:
        """Whether a tone is on."""
        return bool(self._pitches)

    def process(self, pcm: bytes) -> bool:
        """Whether a beep has just ended."""
        self._pending += pcm
        ended = False
        while len(self._pending) >= 2 * self._size:
            window = np.frombuffer(bytes(self._pending[: 2 * self._size]), "<i2").astype(np.float64)
            del self._pending[: 2 * self._size]
            self._now += WINDOW_MS
            ended |= self._window(window)
        return ended

    def _window(self, window: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> bool:
        pitch = self._pitch(window)
        if pitch is not None and (not self._pitches or abs(pitch - self._pitches[0]) <= STEADY):
            self._pitches.append(pitch)
            self.heard_at_ms = self._now
            return False
        length_ms = len(self._pitches) * WINDOW_MS
        self._pitches.clear()
        if pitch is not None:
            self._pitches.append(pitch)
        return SHORTEST_MS <= length_ms <= LONGEST_MS

    def _pitch(self, window: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> float | None:
        """The tone's frequency if there is nothing else."""
        energy = float((window**2).sum())
        if energy < QUIET**2 * self._size:
            return None
        half = len(self._frequencies)
        parts = self._bank @ window
        power = parts[:half] ** 2 + parts[half:] ** 2
        best = int(power.argmax())
        if power[best] < PURE * energy * self._gain:
            return None
        return float(self._frequencies[best])
