"""How well the embedded recogniser hears, and what it costs: CPU time, in one process, one core.

Human speech: the recorded prompts of Debian's asterisk-core-sounds-en-wav (one professional speaker,
studio-clean: an upper bound), 80 of those whose text and audio agree, drawn by seed. Callers: flite.
All of it at -26 dBov with faint line noise through G.711 mu-law, in pieces of 40 ms, and each prompt as
the first words of a call (no adaptation to the speaker).

    grammar WER        one grammar of the 80 phrases                              <= 3 %
    rejection EER      grammar of 10 phrases of like length, with and without     <= 6 %
                       the one that is said; by the ratio, as far as it is not
                       rejected for other reasons
    switch             from one prepared grammar of 80 phrases to another         <= 5 ms
    final              CPU after the end of speech                                <= 10 ms
    n-gram WER         n-gram of all usable prompts                               (3 %)
    intents            7 intents x 15 examples; 35 unseen sentences x 3 voices    >= 85 %

    .venv/bin/python -m bench.speech [--quick]
"""

import argparse
import gzip
import random
import re
import statistics
import sys
import time
import wave
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import jiwer
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dialog.nlu.classifier import IntentClassifier
from dialog.types import Domain, Hints
from media.stt.sphinx.config import Config
from media.stt.sphinx.ears import CMUDICT, Ears, Heard
from media.stt.sphinx.errors import DomainError
from media.stt.sphinx.lexicon import Lexicon
from media.stt.sphinx.plan import Thresholds, build
from media.stt.sphinx.words import spoken
from tests.callers import VOICES, caller, over_the_line
from tests.media.stt.intents import EXAMPLES, SENTENCES

SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
PIECE = 640  # bytes: 40 ms at 8 kHz
LEXICON = Lexicon(CMUDICT)


@dataclass(frozen=True, slots=True)
class Clip:
    """Something said, as the far end hears it."""

    text: str
    pcm: bytes


@dataclass(slots=True)
class Cost:
    """CPU and audio so far, in seconds."""

    cpu: float = 0.0
    audio: float = 0.0
    finals: list[float] | None = None

    def line(self) -> str:
        """RTF and finals."""
        finals = sorted(self.finals or [0.0])
        p95 = finals[int(0.95 * (len(finals) - 1))]
        ms = [1000 * x for x in (statistics.mean(finals), p95, finals[-1])]
        return f"RTF {self.cpu / self.audio:.3f}; final {ms[0]:.1f} / {ms[1]:.1f} / {ms[2]:.1f} ms"

    @property
    def final_ms(self) -> float:
        """95th percentile."""
        finals = sorted(self.finals or [0.0])
        return 1000 * finals[int(0.95 * (len(finals) - 1))]


def prompts() -> list[Clip]:
    """Recorded prompts of 2-10 words that CMU's dictionary knows, in the order of the list."""
    if not TEXTS.exists() or not SOUNDS.exists():
        sys.exit("bench.speech needs recorded prompts: apt install asterisk-core-sounds-en{,-wav}")
    found = []
    with gzip.open(TEXTS, "rt", errors="replace") as lines:
        for line in lines:
            match = re.match(r"([a-z0-9/_-]+):\s+(.*)$", line.strip())
            path = SOUNDS / f"{match[1]}.wav" if match else None
            if match is None or path is None or re.search(r"[\[(<]", match[2]) or not path.exists():
                continue
            try:
                words = spoken(match[2].lower().replace("call-fwd", "call forward"))
            except DomainError:
                continue  # long numbers
            if not 2 <= len(words) <= 10 or not all(map(LEXICON.lookup, words)):
                continue
            with wave.open(str(path)) as wav:
                rate = wav.getframerate()
                samples = np.frombuffer(wav.readframes(wav.getnframes()), np.int16).astype(np.float32)
            if 0.15 <= len(samples) / rate / len(words) <= 1.2:  # else text and audio disagree
                found.append(Clip(" ".join(words), over_the_line(samples, rate)))
    return found


def ears_for(hints: Iterable[Hints], config: Config | None = None) -> Ears:
    """Ears for a domain of these states."""
    config = config or Config()
    thresholds = Thresholds(config.reject, config.digits_reject, config.free_reject)
    plan = build(Domain("bench", hints=tuple(hints)), thresholds, LEXICON.dictionary)
    return Ears(plan, config, 8000)


def listen(ears: Ears, state: int, pcm: bytes, cost: Cost) -> Heard:
    """One utterance, the first of its call."""
    start = time.process_time()
    ears.begin(ears.plan.readers[state], None)
    for at in range(0, len(pcm), PIECE):
        ears.hear(pcm[at : at + PIECE])
        ears.partial()
    ended = time.process_time()
    heard, _ = ears.finish()
    now = time.process_time()
    cost.cpu += now - start
    cost.audio += len(pcm) / 16000
    cost.finals = [*(cost.finals or []), now - ended]
    return heard


def word_errors(pairs: list[tuple[str, str]]) -> float:
    """Percent of words."""
    out = jiwer.process_words([said for said, _ in pairs], [heard for _, heard in pairs])
    return 100 * (out.substitutions + out.deletions + out.insertions) / sum(len(s.split()) for s, _ in pairs)


class Report:
    """Rows of name, figure, target, and what else was seen."""

    def __init__(self) -> None:
        self._table = Table(title="Speech recognition, embedded")
        self.missed = 0
        for heading in ("what", "measured", "target", "", "more"):
            self._table.add_column(heading, overflow="fold")

    def row(self, what: str, value: float, unit: str, target: tuple[str, float] | None, more: str) -> None:
        """`target` is ("<=", 3) or (">=", 85), or None where there is none."""
        verdict = ""
        if target is not None:
            met = value <= target[1] if target[0] == "<=" else value >= target[1]
            self.missed += not met
            verdict = "[green]met[/]" if met else "[red]missed[/]"
        wanted = f"{target[0]} {target[1]:g} {unit}" if target else ""
        self._table.add_row(what, f"{value:.1f} {unit}", wanted, verdict, more)

    def show(self) -> None:
        """Print it."""
        Console().print(self._table)


def grammar(report: Report, clips: list[Clip]) -> None:
    """Errors, finals and the switch, with one grammar of all that is said."""
    texts = tuple(dict.fromkeys(clip.text for clip in clips))
    other = Hints(phrases=tuple(f"{text} please" for text in texts))
    ears, cost = ears_for([Hints(phrases=texts), other]), Cost()
    pairs, rejected = [], 0
    for clip in track(clips, "grammar"):
        heard = listen(ears, 0, clip.pcm, cost)
        rejected += heard.rejected
        pairs.append((clip.text, heard.text))
    sentences = 100 * sum(a != b for a, b in pairs) / len(pairs)
    more = f"{len(clips)} human prompts; {sentences:.1f} % of them wrong, {rejected} rejected; {cost.line()}"
    report.row("grammar WER (rejections count as errors)", word_errors(pairs), "%", ("<=", 3), more)
    report.row("final, grammar", cost.final_ms, "ms CPU", ("<=", 10), "95 % are faster; mean, p95, max above")
    switches = []
    for n in range(200):
        start = time.process_time()
        ears.begin(ears.plan.readers[n % 2], None)
        switches.append(1000 * (time.process_time() - start))
        ears.forget()
    report.row(
        "switch of grammars", max(switches), "ms CPU", ("<=", 5), f"mean {statistics.mean(switches):.2f} ms"
    )


def trial_phrases(clip: Clip, texts: list[str], chance: random.Random) -> list[str]:
    """Ten other phrases of like length."""
    length = len(clip.text.split())
    like = [t for t in texts if t != clip.text and abs(len(t.split()) - length) <= 3]
    return chance.sample(like, 10)


def rejection(report: Report, clips: list[Clip], name: str, pick: Callable[..., list[str]]) -> None:
    """Each clip against a grammar that holds it and one that does not."""
    chance, texts = random.Random(0), sorted({clip.text for clip in clips})
    inside: list[float] = []
    outside: list[float] = []
    wrong = passed = 0
    config = replace(Config(), reject=-1.0)  # the other checks stay; the ratio is judged below
    cost = Cost()
    for clip in track(clips, f"rejection, {name}"):
        others = pick(clip, texts, chance)
        ears = ears_for([Hints(phrases=(*others[1:], clip.text)), Hints(phrases=tuple(others))], config)
        for state, ratios in ((0, inside), (1, outside)):
            heard = listen(ears, state, clip.pcm, cost)
            believed = heard.ratio if heard.ratio is not None and not heard.rejected else -1.0
            ratios.append(believed)
            wrong += state == 0 and believed > Config().reject and heard.text != clip.text
            passed += state == 1 and believed > Config().reject
    eer = min(max(share(inside, least), 1 - share(outside, least)) for least in inside + outside)
    refused = 100 * share(inside, Config().reject)
    more = (
        f"{len(clips)} human prompts, in and out; at the default threshold {refused:.1f} % of the right ones"
        f" are refused, {100 * passed / len(clips):.1f} % of the others believed, {wrong} taken for another"
    )
    report.row(f"rejection EER, {name}", 100 * eer, "%", ("<=", 6), more)


def share(ratios: list[float], least: float) -> float:
    """Of ratios that are refused if `least` is asked."""
    return sum(r <= least for r in ratios) / len(ratios)


def short_phrases(_clip: Clip, _texts: list[str], _chance: random.Random) -> list[str]:
    """What most questions of a flow expect; no prompt says it."""
    return [
        "yes",
        "yes please",
        "no",
        "that is wrong",
        "operator",
        "goodbye",
        "start over",
        "book",
        "cancel",
        "maybe",
    ]


def n_gram(report: Report, clips: list[Clip], everything: list[Clip]) -> None:
    """Free speech over a domain's sentences."""
    ears, cost = ears_for([Hints(sentences=tuple({clip.text for clip in everything}))]), Cost()
    pairs = [(clip.text, listen(ears, 0, clip.pcm, cost).text) for clip in track(clips, "n-gram")]
    report.row(
        "n-gram WER", word_errors(pairs), "%", None, f"of all {len(everything)} usable prompts; {cost.line()}"
    )
    report.row("final, n-gram", cost.final_ms, "ms CPU", ("<=", 10), "")


def intents(report: Report, voices: tuple[str, ...]) -> None:
    """Unseen sentences by flite: recognised with an n-gram of the examples, then classified."""
    classifier = IntentClassifier.train(EXAMPLES)
    ears, cost = ears_for([Hints(sentences=tuple(s for texts in EXAMPLES.values() for s in texts))]), Cost()
    pairs, right = [], dict.fromkeys(voices, 0)
    for voice in voices:
        for intent, sentence in track(SENTENCES, f"intents, {voice}"):
            heard = listen(ears, 0, caller(sentence, voice), cost).text
            found = classifier.classify(heard)
            right[voice] += bool(found) and found[0].name == intent
            pairs.append((sentence, heard))
    by_voice = ", ".join(f"{voice} {100 * n / len(SENTENCES):.0f}" for voice, n in right.items())
    more = f"{by_voice}; WER {word_errors(pairs):.1f} %; {cost.line()}"
    report.row("intents", 100 * sum(right.values()) / len(pairs), "%", (">=", 85), more)


def digits(report: Report, voices: tuple[str, ...]) -> None:
    """Strings of 4, 6 and 8 digits by flite."""
    chance, names = random.Random(5), spoken("zero one two three four five six seven eight nine")
    hints = [Hints(digits=(4, 4)), Hints(digits=(6, 6)), Hints(digits=(8, 8)), Hints(digits=(3, 10))]
    ears, cost = ears_for(hints), Cost()
    known, unknown = [], []
    for voice in voices:
        for state, count in enumerate((4, 6, 8)):
            for _ in range(4):
                text = " ".join(chance.choice(names) for _ in range(count))
                pcm = caller(text, voice)
                known.append((text, listen(ears, state, pcm, cost).text))
                unknown.append((text, listen(ears, 3, pcm, cost).text))
    more = f"{len(known)} strings by flite; {cost.line()}"
    report.row("digits of known count, WER", word_errors(known), "%", None, more)
    report.row("digits, 3 to 10, WER", word_errors(unknown), "%", None, "")


def main(argv: list[str] | None = None) -> int:
    """Returns how many targets were missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the prompts, one voice: 20 s")
    quick = parser.parse_args(argv).quick
    everything = prompts()
    order = np.random.default_rng(1).permutation(len(everything))[: 20 if quick else 80]
    clips = [everything[i] for i in sorted(order)]
    voices = VOICES[:1] if quick else VOICES
    report = Report()
    grammar(report, clips)
    rejection(report, clips, "phrases of like length", trial_phrases)
    rejection(report, clips, "short phrases", short_phrases)
    n_gram(report, clips, everything)
    intents(report, voices)
    digits(report, voices)
    report.show()
    return report.missed


if __name__ == "__main__":
    sys.exit(main())
