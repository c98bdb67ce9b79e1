"""Noise under the caller's voice."""

from pathlib import Path

import numpy as np
import pytest

from voicegw.phone.noise import Background
from voicegw.phone.script import Noise, NoiseKind
from voicegw.phone.sound import LEVEL_DBOV, write_wav

RATE = 8000


def level_dbov(pcm: bytes) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    return float(20 * np.log10(np.sqrt(np.mean(samples**2)) / 32768))


@pytest.mark.parametrize("kind", NoiseKind)
def test_noise_lies_as_far_below_the_voice_as_was_said(kind: NoiseKind) -> None:
    background = Background(Noise(20, kind), RATE, 1)
    made = b"".join(background.under(bytes(320)) for _ in range(550))
    assert level_dbov(made) == pytest.approx(LEVEL_DBOV - 20, abs=0.5)
    again = Background(Noise(20, kind), RATE, 1)
    assert b"".join(again.under(bytes(320)) for _ in range(550)) == made  # the seed makes it


def test_noise_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "street.wav"
    write_wav(file, [np.full(100, 1000, np.int16)], RATE)  # shorter than a frame: it goes round
    background = Background(Noise(10, file), RATE, 1)
    assert level_dbov(background.under(bytes(320))) == pytest.approx(LEVEL_DBOV - 10, abs=0.1)


def test_a_voice_stays_what_it_is_under_the_noise() -> None:
    voice = (8000 * np.sin(np.arange(160) / 5)).astype("<i2")
    mixed = np.frombuffer(Background(Noise(30, NoiseKind.WHITE), RATE, 1).under(voice.tobytes()), "<i2")
    assert np.abs(mixed.astype(int) - voice).max() < 400
