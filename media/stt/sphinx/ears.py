"""One pair of ears: the decoders that listen to one utterance, side by side.

Each kind of answer has its decoder (grammar, digits, n-gram), and a free loop of phones runs beside
them. How much likelier the sound is as the answer than as any phones at all says whether the answer
was really said: log-likelihood ratio, in pocketsphinx' scaled logarithms, per frame (digits, n-gram) or
per square root of the frames with speech (answers; silence around a word changes nothing there). Nor may
the answer pass over loud frames as silence in which the loop hears phones. Speech that is none of the
answers is thus rejected instead of being forced into the nearest of them.

Nothing of one utterance stays for the next but the cepstral mean (the line's and the speaker's colour
and level), which the caller of this module keeps with the call.
"""

import math
import os
import random
import warnings
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pocketsphinx import Config as DecoderConfig
from pocketsphinx import Decoder, get_model_path

from media.stt.sphinx.config import Config
from media.stt.sphinx.plan import Kind, Plan, Reader
from media.stt.sphinx.wire import OPEN

RATE = 16_000  # Hz of the acoustic model
CMUDICT = Path(get_model_path("en-us/cmudict-en-us.dict"))
NARROWBAND = Path(__file__).parent.parent / "data" / "narrowband-mllr.txt"

_LOOP = "phones"
_SCALE = 1024  # pocketsphinx shifts its scores by 10 bits
_SILENT = frozenset({"<s>", "</s>", "<sil>", "SIL", "[NOISE]", "+NSN+", "[SPEECH]", "+SPN+"})
_LOUD = 0.1  # of the loudest frames: 20 dB
_ABOVE_FLOOR = 3.2  # times the quietest frames: 10 dB
_SILENCE_PROBABILITY = 0.005  # pocketsphinx' default
_FSG_WEIGHT = 6.5  # language weight of grammars, pocketsphinx' default; multiplies log(wip) too


@dataclass(frozen=True, slots=True)
class Heard:
    """A hypothesis."""

    text: str
    confidence: float | None
    rejected: bool
    complete: bool = False
    whole: bool = True  # a partial that could be an answer as it stands
    ratio: float | None = None  # log-likelihood ratio; None: no hypothesis


NOTHING = Heard("", None, rejected=False)


def to_model_rate(pcm: bytes, rate: int) -> bytes:
    """8 kHz: each sample twice. The images above 4 kHz are what the model finds least strange."""
    if rate == RATE:
        return pcm
    narrow = array("h", pcm)
    wide = array("h", bytes(2 * len(pcm)))
    wide[0::2] = narrow
    wide[1::2] = narrow
    return wide.tobytes()


def _draw_noise(seconds: int = 8) -> bytes:
    """The lowest two bits of samples at 16 kHz, at random, and always the same."""
    bits = random.Random(1)
    return array("h", (bits.getrandbits(2) for _ in range(seconds * RATE))).tobytes()


_NOISE = _draw_noise()


def on_a_live_line(pcm: bytes, at: int) -> bytes:
    """16 kHz audio that begins `at` bytes into its utterance, on a faint noise (rms 1.1 of 32768).

    Lines that are digitally silent between words (softphones, gateways) have no noise floor, which the
    model never heard. pocketsphinx' own dither lifts such answers over the threshold too, but draws anew
    for each decoder, from one row of numbers for the whole process: of the same "yes", 1 to 3 % were
    refused by chance. With one noise for all that listen the ratio sways by chance half as much.
    """
    at %= len(_NOISE)
    noise = _NOISE[at : at + len(pcm)]
    while len(noise) < len(pcm):
        noise += _NOISE[: len(pcm) - len(noise)]
    mixed = int.from_bytes(pcm, "little") ^ int.from_bytes(noise, "little")
    return mixed.to_bytes(len(pcm), "little")


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """A path to a file that leaves no trace, even if the process is killed."""
    fd = os.memfd_create("voicegw")
    try:
        with os.fdopen(os.dup(fd), "w") as file:
            file.write(text)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


class Ears:
    """Listens to one utterance at a time: `begin`, `hear` ..., `finish` or `forget`, and again."""

    def __init__(self, plan: Plan, config: Config, rate: int) -> None:
        """8000 Hz gets the adaptation to the telephone band. Raises RuntimeError."""
        self.plan, self._config, self.rate = plan, config, rate
        self._decoders: dict[Kind, Any] = {}
        for kind in {r.kind for index, readers in plan.readers.items() if index != OPEN for r in readers}:
            self._decoder(kind)
        self._loop = self._make()
        self._loop.add_allphone_file(_LOOP, None)
        self._loop.activate_search(_LOOP)
        self._mean = self._loop.get_cmn()  # the model's own
        self._active: list[tuple[Reader, Any]] = []
        self._levels: list[int] = []  # by 10 ms frame: sum of magnitudes
        self._size = 0  # bytes heard of this utterance, at 16 kHz

    def _decoder(self, kind: Kind) -> Any:
        """The decoder for one kind of answer, with all grammars or n-grams of the flow."""
        decoder = self._decoders.get(kind)
        if decoder is not None:
            return decoder
        if kind is Kind.FREE:
            decoder = self._make(lw=self._config.free_weight)
            for search, text in self.plan.models.items():
                with _in_memory(text) as path:
                    decoder.add_lm_file(search, path)
            if self.plan.general:
                decoder.add_lm_file("general", get_model_path("en-us/en-us.lm.bin"))
        else:
            wip = self._config.digits_wip if kind is Kind.DIGITS else self._config.phrase_wip
            # The best path through the lattice of a grammar is the search's own; rescoring it only errs in
            # digits (8 % instead of 1 %) and takes 3 ms, up to 130 ms where their count is open.
            decoder = self._make(wip=wip, bestpath=False)
            for search, text in self.plan.grammars[kind].items():
                decoder.add_jsgf_string(search, text)
        self._decoders[kind] = decoder
        return decoder

    def _make(self, **settings: float) -> Any:
        mllr = str(NARROWBAND) if self._config.mllr and self.rate < RATE else None
        with _in_memory(self.plan.dictionary) as small:
            words = str(CMUDICT) if self.plan.general else small
            # fwdflat is a second pass: 60 ms after the end of speech for 2 % fewer word errors.
            fixed = {"dict": words, "mllr": mllr, "lm": None, "fwdflat": False, "loglevel": "FATAL"}
            return Decoder(DecoderConfig(**fixed, **settings))

    def begin(self, readers: tuple[Reader, ...], mean: str | None) -> None:
        """A new utterance. `mean` is what `finish` left of the call's last one."""
        self._levels, self._size = [], 0
        self._active = [(reader, self._decoder(reader.kind)) for reader in readers]
        for reader, decoder in self._active:
            decoder.activate_search(reader.search)
        for decoder in self._running():
            decoder.set_cmn(mean or self._mean)
            with warnings.catch_warnings():
                # "deprecated and unnecessary" - unless the next utterance is another caller's.
                warnings.simplefilter("ignore", DeprecationWarning)
                decoder.start_stream()
            decoder.start_utt()

    def hear(self, pcm: bytes) -> None:
        """The next audio, whole 10 ms frames, at the rate given to the constructor."""
        samples, step = array("h", pcm), self.rate // 100
        self._levels += [sum(map(abs, samples[at : at + step])) for at in range(0, len(samples), step)]
        wide = on_a_live_line(to_model_rate(pcm, self.rate), self._size)
        self._size += len(wide)
        for decoder in self._running():
            decoder.process_raw(wide)

    def partial(self) -> Heard:
        """The best hypothesis so far; empty while the sound is unlike all answers."""
        return self._judge(partial=True)

    def finish(self) -> tuple[Heard, str]:
        """The final hypothesis, and the cepstral mean for the caller's next utterance."""
        self._loop.end_utt()
        for _, decoder in self._active:
            decoder.end_utt()
        return self._judge(partial=False), self._loop.get_cmn()

    def forget(self) -> None:
        """End the utterance without a result."""
        for decoder in self._running():
            decoder.end_utt()

    def _running(self) -> Iterator[Any]:
        yield self._loop
        for _, decoder in self._active:
            yield decoder

    def _judge(self, *, partial: bool) -> Heard:
        """Complete answers come before free speech, likelier ones before others."""
        loop, frames = self._loop.hyp(), self._loop.n_frames()
        if loop is None or not frames:
            return NOTHING
        background = _log(loop.score)
        voiced = sum(1 for _ in _voiced(self._loop))
        loud = frozenset[int]() if partial else self._loud_phones(frames)
        groups: tuple[list[Heard], list[Heard]] = ([], [])
        for reader, decoder in self._active:
            length = frames if reader.per_frame else math.sqrt(max(1, voiced))
            heard = self._weigh(reader, decoder, background, length, partial=partial)
            if not heard.rejected and self._leaves_out(decoder, loud):
                heard = replace(heard, rejected=True, confidence=0.0)
            groups[reader.kind is Kind.FREE].append(heard)
        for group in groups:
            accepted = [heard for heard in group if not heard.rejected]
            if accepted:
                return max(accepted, key=lambda heard: heard.confidence or 0.0)
        closest = max((*groups[0], *groups[1]), key=lambda heard: heard.confidence or 0.0, default=NOTHING)
        return Heard("", closest.confidence, rejected=True, ratio=closest.ratio)

    def _weigh(
        self, reader: Reader, decoder: Any, background: float, length: float, *, partial: bool
    ) -> Heard:
        hypothesis = decoder.hyp()
        if hypothesis is None or not hypothesis.hypstr:
            return Heard("", 0.0, rejected=True)
        words = hypothesis.hypstr.split()
        score = _log(hypothesis.score) - self._penalties(reader, decoder, len(words))
        ratio = (score - background) / length
        scale = self._config.confidence_scale if reader.per_frame else self._config.answer_scale
        # The ratio sways while words are under way: a partial may be a little unlikelier than a final.
        least = reader.threshold - (scale if partial else 0.0)
        margin = (ratio - reader.threshold) / scale
        confidence = 1 / (1 + math.exp(-max(-60.0, min(60.0, margin))))
        text = hypothesis.hypstr if partial else reader.originals.get(hypothesis.hypstr, hypothesis.hypstr)
        complete = partial and reader.matcher is not None and reader.matcher.complete(words)
        complete = complete and text not in reader.asides
        # Where no sentence survives the search, pocketsphinx gives out the beginning of one.
        whole = reader.matcher is None or reader.matcher.accepts(words)
        if not partial and not whole:
            return Heard(text, 0.0, rejected=True, ratio=ratio)
        return Heard(text, confidence, ratio < least, complete, whole, ratio)

    def _penalties(self, reader: Reader, decoder: Any, words: int) -> float:
        """What the score holds for the number of words and pauses, not for their sound."""
        if reader.kind is Kind.DIGITS:  # as far as it exceeds that of phrases: thresholds stay comparable
            return words * _penalty(self._config.digits_wip / self._config.phrase_wip)
        if reader.per_frame:
            return 0.0
        pauses = sum(1 for segment in decoder.seg() if segment.word == "<sil>")
        return words * _penalty(self._config.phrase_wip) + pauses * _penalty(_SILENCE_PROBABILITY)

    def _loud_phones(self, frames: int) -> frozenset[int]:
        """Frames in which the loop hears phones, and loud ones: noise is full of faint phones."""
        levels = self._levels[:frames]
        if not levels:
            return frozenset()
        ranked = sorted(levels)
        least = max(_LOUD * ranked[len(ranked) * 95 // 100], _ABOVE_FLOOR * ranked[len(ranked) // 10])
        return frozenset(n for n in _voiced(self._loop) if n < len(levels) and levels[n] >= least)

    def _leaves_out(self, decoder: Any, loud: frozenset[int]) -> bool:
        """Whether the hypothesis passes over too many of the `loud` frames."""
        return len(loud.difference(_voiced(decoder))) > self._config.unexplained * len(loud)


def _voiced(decoder: Any) -> Iterator[int]:
    """Frames that the decoder takes for speech."""
    for segment in decoder.seg():
        if segment.word not in _SILENT:
            yield from range(segment.start_frame, segment.end_frame + 1)


def _penalty(probability: float) -> float:
    return _FSG_WEIGHT * math.log(probability) / _SCALE


def _log(score: float) -> float:
    return math.log(max(score, 1e-300))
