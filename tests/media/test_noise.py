"""Comfort noise as RFC 3389 describes it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.noise import ComfortNoise, payload


def level(pcm: bytes) -> float:
    return 20 * np.log10(np.sqrt((np.frombuffer(pcm, "<i2").astype(float) ** 2).mean()) / 32768)


@pytest.mark.parametrize("dbov", [30, 50, 65])
@pytest.mark.parametrize("spectrum", [b"", bytes([200, 90, 140])])
def test_the_noise_is_as_loud_as_it_says(dbov: int, spectrum: bytes) -> None:
    noise = ComfortNoise(1)
    noise.update(payload(dbov) + spectrum)
    assert level(noise.frame(8000)) == pytest.approx(-dbov, abs=1.5)


def test_a_spectrum_colours_it() -> None:
    noise = ComfortNoise(1)
    noise.update(payload(40) + bytes([40]))  # a strong negative coefficient: low frequencies
    power = abs(np.fft.rfft(np.frombuffer(noise.frame(8000), "<i2"))) ** 2
    assert power[:1000].sum() > 5 * power[3000:].sum()


@given(st.binary(max_size=40))
def test_any_payload_gives_frames(data: bytes) -> None:
    noise = ComfortNoise(1)
    noise.update(data)
    assert len(noise.frame(160)) == 320
