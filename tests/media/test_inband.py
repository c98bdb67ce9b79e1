"""Keys as tones: all sixteen, short, noisy, off pitch and uneven; and hardly ever in speech."""

import numpy as np
import pytest
from numpy.typing import NDArray

from media.codecs.g711 import PCMU
from media.inband import HIGH, KEYS, LOW, InbandKeys
from tests.callers import VOICES, caller

ALL = "123A456B789C*0#D"
LEVEL = 6000


def press(key: str, ms: int, rate: int, *, off: float = 0.0, twist_db: float = 0.0) -> NDArray[np.float64]:
    """`off`: relative to the right frequency; `twist_db`: low tone over the high one."""
    row = next(n for n, keys in enumerate(KEYS) if key in keys)
    t = np.arange(rate * ms // 1000) / rate
    low = np.sin(2 * np.pi * LOW[row] * (1 + off) * t) * min(1.0, 10 ** (twist_db / 20))
    high = np.sin(2 * np.pi * HIGH[KEYS[row].index(key)] * (1 + off) * t) * min(1.0, 10 ** (-twist_db / 20))
    return LEVEL * (low + high)


def heard(sound: NDArray[np.float64], rate: int = 8000) -> str:
    keys, size = InbandKeys(rate), rate // 50
    pcm = np.clip(sound, -32768, 32767).astype("<i2")
    return "".join(keys.frame(pcm[at : at + size].tobytes()) for at in range(0, len(pcm) - size + 1, size))


def dialled(rate: int, ms: int, seed: int, **how: float) -> NDArray[np.float64]:
    """All keys, as long as the pauses between them, beginning anywhere in a frame."""
    chance = np.random.default_rng(seed)
    parts = [np.zeros(int(chance.integers(0, rate // 50)))]
    for key in ALL:
        parts += [press(key, ms, rate, **how), np.zeros(rate * ms // 1000)]  # type: ignore[arg-type]
    return np.concatenate([*parts, np.zeros(rate // 10)])


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("off", [-0.015, 0.0, 0.015])
@pytest.mark.parametrize("twist_db", [-4.0, 0.0, 8.0])
def test_all_keys_of_40_ms_are_heard_in_noise(rate: int, off: float, twist_db: float) -> None:
    for seed in range(3):
        sound = dialled(rate, 40, seed, off=off, twist_db=twist_db)
        noise = np.random.default_rng(seed).standard_normal(len(sound)) * LEVEL * 10 ** (-15 / 20)
        weaker = 10 ** (-abs(twist_db) / 20)
        assert heard(sound + noise * weaker, rate) == ALL


def test_a_long_press_is_one_key_and_two_presses_are_two() -> None:
    assert heard(np.concatenate([press("5", 2000, 8000), np.zeros(800)])) == "5"
    twice = [press("5", 60, 8000), np.zeros(320), press("5", 60, 8000), np.zeros(800)]
    assert heard(np.concatenate(twice)) == "55"


@pytest.mark.parametrize("off", [-0.05, 0.05])
def test_what_is_too_far_off_is_no_key(off: float) -> None:
    assert heard(dialled(8000, 60, 1, off=off)) == ""


@pytest.mark.parametrize("twist_db", [-12.0, 15.0])
def test_one_tone_alone_is_no_key(twist_db: float) -> None:
    assert heard(dialled(8000, 60, 1, twist_db=twist_db)) == ""


def test_speech_is_no_key() -> None:
    """Over G.711. The whole of it, 25 minutes of recorded prompts, is in `python -m bench.talkoff`."""
    text = "one two three four, please tell me whether we should leave the yellow umbrella at the hotel"
    encode, decode = PCMU.encoder(), PCMU.decoder()
    for voice in VOICES:
        sound = np.frombuffer(decode(encode(caller(text, voice))), "<i2").astype(float)
        assert heard(sound) == ""
