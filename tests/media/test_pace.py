"""Sound in less or more time: the pitch stays, nothing clicks."""

import numpy as np
import pytest

from media.pace import longer, quiet, shorter
from tests.media.test_plc import voice


def steps(pcm: bytes) -> int:
    return int(abs(np.diff(np.frombuffer(pcm, "<i2").astype(int))).max())


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("pitch", [110, 220])
def test_a_voice_loses_or_gains_one_period(rate: int, pitch: float) -> None:
    first, second = voice(rate, 2, pitch)
    sound, less = shorter(first, second, rate)
    assert len(sound) == 2 * (2 * rate // 50 - less)
    periods = less * pitch / rate
    assert abs(periods - round(periods)) < 0.1 and 1 <= round(periods) <= 3
    assert steps(sound) < 1.3 * steps(first + second)
    sound, more = longer(first, rate)
    assert len(sound) == 2 * (rate // 50 + more) and 0.0025 * rate <= more <= 0.01 * rate
    assert steps(sound) < 1.3 * steps(first)


def test_a_pause_loses_or_gains_a_frame() -> None:
    noise = np.random.default_rng(1).integers(-100, 100, (2, 160)).astype("<i2")
    first, second = (frame.tobytes() for frame in noise)
    assert quiet(first) and not quiet(voice(8000, 1)[0])
    assert shorter(first, second, 8000)[1] == 160
    assert longer(first, 8000)[1] == 160
