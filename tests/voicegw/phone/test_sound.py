import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.tools import need
from voicegw.errors import VoicegwError
from voicegw.phone.sound import Sound, find_voice, read_sound, write_wav


def tone(ms: int, rate: int = 8000, peak: float = 8000) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * 440 * np.arange(rate * ms // 1000) / rate)).astype(np.int16)


def test_audible_finds_the_sound_between_silences() -> None:
    silence = np.zeros(1600, np.int16)
    sound = Sound(np.concatenate([silence, tone(500), silence]), 8000)
    assert sound.ms == 900
    assert sound.audible() == (200, 700)
    assert sound.trimmed().ms == 500
    for empty in (Sound(silence, 8000), Sound(silence[:0], 8000), Sound(silence[:10], 8000)):
        assert empty.audible() == (0, 0)
        assert len(empty.trimmed().samples) == 0 and empty.levelled() is empty


@pytest.mark.parametrize("peak", [200, 8000, 32000])
def test_level_is_that_of_a_phone(peak: float) -> None:
    levelled = Sound(tone(500, peak=peak), 8000).levelled()
    assert 20 * np.log10(np.sqrt(np.mean(levelled.samples.astype(float) ** 2)) / 32768) == pytest.approx(
        -24, abs=0.3
    )


def test_rates_are_converted() -> None:
    sound = Sound(tone(500, 22050), 22050).at(8000)
    assert (sound.rate, sound.ms) == (8000, 500)
    assert sound.at(8000).samples is sound.samples


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_files_are_read_and_mixed(tmp_path: Path, channels: int, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    soundfile.write(str(file), np.stack([tone(100, 16000)] * channels, axis=1), 16000)
    sound = read_sound(file)
    assert (sound.rate, sound.ms) == (16000, 100)
    assert np.array_equal(sound.samples, tone(100, 16000))


def test_stereo_is_written_with_the_shorter_side_filled_up(tmp_path: Path) -> None:
    write_wav(tmp_path / "out.wav", [tone(100), tone(50)], 8000)
    data, rate = soundfile.read(str(tmp_path / "out.wav"), dtype="int16")
    assert rate == 8000 and data.shape == (800, 2)
    assert np.array_equal(data[:, 0], tone(100)) and not data[400:, 1].any()


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_text("not a sound")
    for name in ("bad.wav", "none.wav"):
        with pytest.raises(VoicegwError, match=f"{name} cannot be read as sound"):
            read_sound(tmp_path / name)
    with pytest.raises(VoicegwError, match=r"out.wav cannot be written"):
        write_wav(tmp_path / "none" / "out.wav", [tone(10)], 8000)


@pytest.mark.parametrize("voice", ["espeak", "espeak:en-gb"])
def test_espeak_is_a_voice_for_callers(voice: str) -> None:
    check_voice(voice)


@pytest.mark.real
@pytest.mark.parametrize("voice", ["", "slt", "rms"])
def test_flite_is_a_voice_for_callers(voice: str, needs_flite: None) -> None:
    check_voice(voice)


@pytest.fixture
def needs_flite() -> None:
    need("flite")


def check_voice(voice: str) -> None:
    sound = asyncio.run(find_voice(voice)("good morning"))
    assert 400 < sound.ms < 1500
    first, last = sound.audible()
    assert first <= 10 and last >= sound.ms - 30


def test_unknown_voices_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(VoicegwError, match="apt install flite, or use espeak"):
        find_voice("slt")
    assert find_voice("") is not None  # espeak then


@pytest.mark.real
def test_a_voice_that_flite_lacks_is_named(needs_flite: None) -> None:
    with pytest.raises(VoicegwError, match=r"no voice 'nobody'; flite has .*slt"):
        find_voice("nobody")
