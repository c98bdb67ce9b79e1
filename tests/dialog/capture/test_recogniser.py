"""What the captures expect is what pocketsphinx can hear: every word in its dictionary, every grammar
accepted by its own parser."""

from pathlib import Path

import pytest

from dialog import jsgf
from dialog.capture.clock import Clock
from dialog.capture.day import Day
from dialog.capture.digits import Number
from dialog.capture.name import Name
from dialog.capture.simple import NO, YES
from dialog.flow.listening import Ears
from dialog.flow.load import load_flow

CLINIC = Path(__file__).parents[3] / "config/flows/clinic.yaml"
GRAMMARS = [
    g
    for capture in (Day(), Clock(), Number(0, 9999), Name(("Smith", "Garcia"), spell=True))
    if (g := capture.hints.grammar)
]


@pytest.fixture(scope="module")
def dictionary() -> frozenset[str]:
    import pocketsphinx

    path = Path(pocketsphinx.get_model_path()) / "en-us/cmudict-en-us.dict"
    return frozenset(line.split()[0].split("(")[0] for line in path.read_text().splitlines() if line)


def test_every_word_of_the_captures_is_known(dictionary: frozenset[str]) -> None:
    words = {word for phrase in (*YES, *NO) for word in phrase.split()}
    for grammar in GRAMMARS:
        words |= jsgf.parse(grammar).words()
    assert not words - dictionary


def test_every_word_of_the_clinic_is_known(dictionary: frozenset[str]) -> None:
    words: set[str] = set()
    for hints in Ears(load_flow(CLINIC)).all_hints:
        words |= {word for text in (*hints.phrases, *hints.sentences) for word in text.split()}
        words |= jsgf.parse(hints.grammar).words() if hints.grammar else set()
    assert len(words) > 250
    assert not words - dictionary


@pytest.mark.real
@pytest.mark.parametrize("grammar", GRAMMARS, ids=lambda g: g.split("grammar ")[1].split(";")[0])
def test_the_recogniser_takes_the_grammar(grammar: str) -> None:
    import pocketsphinx

    decoder = pocketsphinx.Decoder(pocketsphinx.Config(lm=None, loglevel="FATAL"))
    decoder.add_jsgf_string("state", grammar)
    decoder.activate_search("state")
    decoder.start_utt()
    decoder.process_raw(bytes(32_000))
    decoder.end_utt()
