"""The resampler: lengths that add up, a tone that keeps its pitch and level."""

import numpy as np
import pytest

from media.resample import Resampler

RATES = [(8000, 16000), (16000, 8000), (22050, 8000), (22050, 16000), (24000, 8000)]


def tone(rate: int, hz: int = 700, seconds: float = 1.0) -> bytes:
    return (np.sin(np.arange(int(rate * seconds)) * 2 * np.pi * hz / rate) * 10_000).astype("<i2").tobytes()


def chunks(pcm: bytes, size: int) -> list[bytes]:
    return [pcm[i : i + size] for i in range(0, len(pcm), size)]


@pytest.mark.parametrize("source, target", RATES)
@pytest.mark.parametrize("size", [2, 320, 641 * 2])
def test_the_length_is_exact_however_it_is_cut(source: int, target: int, size: int) -> None:
    stream = Resampler(source, target)
    seconds = 0.1 if size == 2 else 1.0
    pcm = tone(source, seconds=seconds)
    out = b"".join(map(stream.process, chunks(pcm, size))) + stream.flush()
    assert abs(len(out) // 2 - round(len(pcm) // 2 * target / source)) <= 1


@pytest.mark.parametrize("source, target", RATES)
def test_cutting_changes_nothing_but_the_dither(source: int, target: int) -> None:
    pcm = tone(source)
    whole, cut = Resampler(source, target), Resampler(source, target)
    one = np.frombuffer(whole.process(pcm) + whole.flush(), "<i2").astype(int)
    many = np.frombuffer(b"".join(map(cut.process, chunks(pcm, 2 * source // 50))) + cut.flush(), "<i2")
    assert len(one) == len(many)
    assert abs(one - many).max() <= 2


@pytest.mark.parametrize("source, target", RATES)
def test_a_tone_keeps_pitch_and_level(source: int, target: int) -> None:
    stream = Resampler(source, target)
    out = np.frombuffer(stream.process(tone(source)) + stream.flush(), "<i2").astype(float)
    t = np.arange(len(out))[len(out) // 4 : -len(out) // 4]
    basis = np.stack([np.sin(t * 2 * np.pi * 700 / target), np.cos(t * 2 * np.pi * 700 / target)])
    fitted, *_ = np.linalg.lstsq(basis.T, out[t], rcond=None)
    noise = out[t] - fitted @ basis
    assert 9_800 < np.hypot(*fitted) < 10_200
    assert 10 * np.log10((out[t] ** 2).mean() / (noise**2).mean()) > 40


def test_what_narrowband_cannot_carry_is_removed() -> None:
    stream = Resampler(16000, 8000)
    out = np.frombuffer(stream.process(tone(16000, 6000)) + stream.flush(), "<i2").astype(float)
    assert np.sqrt((out[500:-500] ** 2).mean()) < 100  # 36 dB under the tone: no alias


def test_equal_rates_pass_through() -> None:
    stream = Resampler(8000, 8000)
    assert stream.process(b"\1\2") == b"\1\2"
    assert stream.flush() == b""


@pytest.mark.parametrize("source, target", RATES)
def test_what_it_holds_back_stays_under_120_ms(source: int, target: int) -> None:
    # The library works in blocks. Synthesis is faster than life, so that its next chunk follows at once.
    stream = Resampler(source, target)
    frame = bytes(2 * (source // 50))
    held = [(n + 1) * (source // 50) / source for n in range(100)]
    got = 0
    for n in range(100):
        got += len(stream.process(frame)) // 2
        held[n] -= got / target
    assert max(held) < 0.12
