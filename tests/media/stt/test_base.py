import pytest

from media.stt.base import Recent


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 60])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_so_much_audio_is_kept_whatever_the_packet_time(rate: int, ptime_ms: int) -> None:
    recent = Recent(300, rate)
    size = 2 * rate * ptime_ms // 1000
    for n in range(40):
        recent.push(bytes([n]) * size)
    assert len(recent.pcm) == 2 * rate * 300 // 1000
    assert recent.pcm[-size:] == bytes([39]) * size
    nothing = Recent(0, rate)
    nothing.push(bytes(size))
    assert not nothing.pcm
