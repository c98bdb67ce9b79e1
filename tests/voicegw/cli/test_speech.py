"""`voicegw say` and `voicegw transcribe` as a user runs them, with the engines that come along."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.callers import caller, write_wav

pytestmark = pytest.mark.real


def voicegw(*args: str) -> tuple[int, bytes, str]:
    run = subprocess.run(
        [sys.executable, "-c", "from voicegw.cli import main; main()", *args],
        capture_output=True,
        check=False,
        timeout=120,
    )
    return run.returncode, run.stdout, run.stderr.decode()


def test_say_writes_a_file_that_can_be_played(tmp_path: Path) -> None:
    code, out, err = voicegw("say", "Good morning, how can I help you?", "-o", str(tmp_path / "a.wav"))
    assert (code, out) == (0, b"")
    assert "7 words" in err and "a.wav" in err
    data, rate = soundfile.read(str(tmp_path / "a.wav"), dtype="int16")
    assert rate == 22050 and 1.5 < len(data) / rate < 4
    assert np.abs(data.astype(int)).max() > 5000


def test_say_as_a_caller_hears_it_to_a_pipe() -> None:
    code, out, _ = voicegw("say", "Good morning", "--phone", "--voice", "en-gb", "-o", "-")
    assert code == 0
    samples = np.frombuffer(out[44:], "<i2")
    assert out[:4] == b"RIFF" and int.from_bytes(out[24:28], "little") == 8000
    assert len(np.unique(np.abs(samples.astype(int)))) <= 128  # the levels of G.711


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("say", "..."), 2, "holds nothing to say"),
        (("say", "hello", "--voice", "klingon"), 1, "no voice 'klingon'"),
        (("say", "hello", "-o", "/nowhere/a.wav"), 1, "/nowhere/a.wav cannot be written"),
        (("transcribe", "none.wav"), 1, "none.wav cannot be read as sound"),
        (("transcribe", __file__), 1, "cannot be read as sound"),
        (("transcribe", "a.wav", "--phrases-file", "none.txt"), 1, "none.txt cannot be read"),
        (("transcribe", "a.wav", "--flow", "none.yaml"), 2, "none.yaml:1: cannot be read"),
        (("transcribe", "a.wav", "--flow", "x.yaml", "--phrase", "yes"), 2, "leave out phrases"),
    ],
)
def test_mistakes_are_one_sentence(args: tuple[str, ...], code: int, message: str) -> None:
    found, _, err = voicegw(*args)
    assert found == code
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three answers on one line, the second of them unexpected."""
    file = tmp_path_factory.mktemp("answers") / "answers.wav"
    texts = ("yes please", "my favourite colour is purple", "no thank you")
    write_wav(file, b"".join(caller(text, lead_ms=600, tail_ms=800) for text in texts))
    return file


def test_transcribe_understands_what_is_expected_and_marks_the_rest(answers: Path, tmp_path: Path) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("# answers\nYes please\nno thank you\n\nnext tuesday\n")
    code, out, err = voicegw("transcribe", str(answers), "--phrases-file", str(phrases), "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [u["text"] for u in found] == ["yes please", "", "no thank you"]
    assert [u["rejected"] for u in found] == [False, True, False]
    assert 600 < found[0]["start_ms"] < 1000 < found[0]["end_ms"] < found[1]["start_ms"]


def test_transcribe_prints_lines_with_times(answers: Path) -> None:
    code, out, _ = voicegw("transcribe", str(answers), "--phrase", "yes please", "--phrase", "no thank you")
    lines = out.decode().splitlines()
    assert code == 0 and len(lines) == 3
    assert "yes please" in lines[0] and "(rejected)" in lines[1] and " s  " in lines[0]


def test_transcribe_takes_one_channel_of_a_recording(answers: Path, tmp_path: Path) -> None:
    data, rate = soundfile.read(str(answers), dtype="int16")
    file = tmp_path / "stereo.wav"
    soundfile.write(str(file), np.stack([np.zeros_like(data), data], axis=1), rate)
    assert (
        voicegw("transcribe", str(file), "--channel", "1", "--phrase", "yes please", "--json")[1] == b"[]\n"
    )
    found = json.loads(
        voicegw("transcribe", str(file), "--channel", "2", "--phrase", "yes please", "--json")[1]
    )
    assert found[0]["text"] == "yes please"
    code, _, err = voicegw("transcribe", str(file), "--channel", "3")
    assert code == 1 and "has no channel 3, only 2" in err


@pytest.mark.parametrize("name", ["say", "transcribe"])
def test_help_has_examples(name: str) -> None:
    code, out, _ = voicegw(name, "--help")
    assert code == 0 and f"voicegw {name} ".encode() in out and b"Examples:" in out
