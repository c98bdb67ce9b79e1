"""What `voicegw bench` says, of real engines and recordings made here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.callers import caller
from voicegw.enginebench import cpu_s, percentile, plain, samples
from voicegw.errors import VoicegwError

pytestmark = pytest.mark.real
MODELS = Path(__file__).parents[1] / "models"


def command(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    code = "from voicegw.cli import main; main()"
    program = [sys.executable, "-c", code, "bench", *arguments]
    return subprocess.run(
        program, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for number, text in enumerate(
        ("Yes, please.", "no thank you", "What are your opening hours?", "goodbye")
    ):
        spoken = " ".join(plain(text))
        wave = np.frombuffer(caller(spoken), "<i2")
        soundfile.write(tmp_path / f"{number}.wav", wave, 8000, subtype="PCM_16")
        (tmp_path / f"{number}.txt").write_text(text if number else "yes please thanks")
    (tmp_path / "alone.wav").touch()
    return tmp_path


def test_word_errors_and_delays_of_each_engine(recordings: Path) -> None:
    whisper = {"engine": "whisper", "model": str(MODELS / "whisper"), "hotwords": False}
    done = command("speech", str(recordings), "--calls", "4", VOICEGW_STT=json.dumps([whisper]))
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("whisper"))
    assert " 8.3 % " in f" {' '.join(row.split())} ", "one word of twelve is missing"
    assert row.split()[-1] == "0" and "final after the end of speech" in done.stdout and "█" in done.stdout


def test_voices_and_language_models(tmp_path: Path) -> None:
    done = command("voice", "--rounds", "1")
    assert done.returncode == 0 and "espeak" in done.stdout and "first sound" in done.stdout
    without = command("llm")
    assert without.returncode == 1 and "set llm" in without.stderr


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(VoicegwError, match="holds no recordings"):
        samples(tmp_path)
    wrong = command("speech", str(tmp_path), "--calls", "0")
    assert wrong.returncode != 0 and "--calls" in wrong.stderr


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert plain("Don’t, please: call 5 o'clock!") == ("don't", "please", "call", "5", "o'clock")
    assert percentile([], 50) == 0 and percentile([1.0, 3.0], 50) == 2


def test_cpu_of_children_counts_while_they_run() -> None:
    code = "import sys\nsum(range(3_000_000))\nprint(flush=True)\nsys.stdin.read()"
    before = cpu_s()
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as child:
        assert child.stdout is not None and child.stdin is not None
        child.stdout.readline()
        assert cpu_s() - before > 0.02
        child.stdin.close()
