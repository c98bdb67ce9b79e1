"""Concealment: the voice goes on, fades, and real audio joins without a step."""

import numpy as np
import pytest

from media.plc import Concealment


def level(pcm: bytes) -> int:
    return int(abs(np.frombuffer(pcm, "<i2").astype(int)).max())


def voice(rate: int, frames: int, pitch: float = 120.0) -> list[bytes]:
    """A vowel: harmonics of one pitch."""
    t = np.arange(rate // 50 * frames) / rate
    sound = sum(np.sin(2 * np.pi * pitch * k * t + k) / k for k in range(1, 12)) * 5000
    pcm = sound.astype("<i2").tobytes()
    size = rate // 25
    return [pcm[i : i + size] for i in range(0, len(pcm), size)]


def learned(rate: int = 8000, frames: int = 5) -> Concealment:
    plc = Concealment(rate // 25, rate)
    for frame in voice(rate, frames):
        plc.heard(frame)
    return plc


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("pitch", [80, 120, 210, 330])
def test_a_vowel_goes_on_as_it_would_have(rate: int, pitch: float) -> None:
    plc = Concealment(rate // 25, rate)
    frames = voice(rate, 8, pitch)
    for frame in frames[:5]:
        plc.heard(frame)
    made, real = (np.frombuffer(p, "<i2").astype(float) for p in (plc.conceal(), frames[5]))
    correlation = (made * real).sum() / np.sqrt((made**2).sum() * (real**2).sum())
    assert correlation > 0.75
    assert level(plc.conceal()) < 1.2 * level(frames[5])


def test_it_fades_to_silence_within_80_ms() -> None:
    plc = learned()
    levels = [level(plc.conceal()) for _ in range(6)]
    assert levels == sorted(levels, reverse=True)
    assert levels[1] > 0.5 * levels[0] and levels[4:] == [0, 0]
    assert not plc.fading


def test_real_audio_joins_without_a_step() -> None:
    rate = 8000
    plc, frames = Concealment(320, rate), voice(rate, 8)
    for frame in frames[:5]:
        plc.heard(frame)
    out = np.frombuffer(frames[4] + plc.conceal() + plc.heard(frames[6]), "<i2").astype(int)
    usual = abs(np.diff(np.frombuffer(b"".join(frames), "<i2").astype(int))).max()
    assert abs(np.diff(out)).max() < 1.6 * usual


def test_before_the_first_frames_and_after_a_change_of_source_there_is_silence() -> None:
    plc = Concealment(320, 8000)
    assert plc.conceal() == bytes(320)
    plc = learned()
    plc.forget()
    assert plc.conceal() == bytes(320)
    assert plc.heard(b"\x10\x10" * 160) == b"\x10\x10" * 160
