"""What somebody hears who waits."""

import wave
from pathlib import Path

import numpy as np
import pytest

from media.errors import MediaError
from media.music import music


def level(pcm: bytes) -> float:
    return float(np.sqrt((np.frombuffer(pcm, "<i2").astype(float) ** 2).mean()))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_tune_goes_on_for_ever_without_a_click_or_a_gap(rate: int) -> None:
    tune = music("music", rate)
    frames = [tune.frame() for _ in range(50 * 18)]
    assert {len(frame) for frame in frames} == {rate // 25}
    assert min(map(level, frames)) > 150 and max(map(level, frames)) < 6000
    sound = np.frombuffer(b"".join(frames), "<i2").astype(int)
    assert abs(np.diff(sound)).max() < 6000


def test_a_ringing_tone_rings_one_second_in_five() -> None:
    ring = music("ringing", 8000)
    loud = [level(ring.frame()) > 500 for _ in range(500)]
    assert sum(loud) in range(98, 103)


def test_silence_is_silent_and_files_loop(tmp_path: Path) -> None:
    assert music("silence", 8000).frame() == bytes(320)
    path = tmp_path / "hold.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setparams((2, 2, 8000, 0, "NONE", ""))
        wav.writeframes(np.repeat(np.arange(1, 241, dtype="<i2"), 2).tobytes())
    hold = music(str(path), 8000)
    sound = np.frombuffer(b"".join(hold.frame() for _ in range(3)), "<i2")
    assert sound.tolist() == [*range(1, 241), *range(1, 241)]


def test_what_is_no_sound_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"nowhere\.wav"):
        music(str(tmp_path / "nowhere.wav"), 8000)
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(MediaError, match="no WAV file"):
        music(str(tmp_path / "text.wav"), 8000)
