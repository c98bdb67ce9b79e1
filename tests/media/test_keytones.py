"""Keys by sound: the right two tones, long enough, no louder than the line allows."""

import numpy as np
import pytest

from media.keytones import key_tones

TONES = {"1": (697, 1209), "5": (770, 1336), "0": (941, 1336), "#": (941, 1477), "D": (941, 1633)}


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("key", TONES)
def test_a_key_is_its_two_tones(key: str, rate: int) -> None:
    samples = np.frombuffer(key_tones(key, rate), "<i2").astype(float)
    assert len(samples) == rate * 180 // 1000
    assert not samples[rate // 10 :].any(), "a pause follows"
    spectrum = np.abs(np.fft.rfft(samples[: rate // 10]))
    strongest = sorted(np.argsort(spectrum)[-2:] * 10)  # bins of 10 Hz
    assert all(abs(found - wanted) <= 10 for found, wanted in zip(strongest, TONES[key], strict=True))
    assert 8000 < np.abs(samples).max() < 32767


def test_several_keys_follow_each_other() -> None:
    assert key_tones("12", 8000) == key_tones("1", 8000) + key_tones("2", 8000)
    with pytest.raises(ValueError, match="X"):
        key_tones("1x", 8000)
