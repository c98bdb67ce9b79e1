import numpy as np

from media.plc import Concealment


def level(pcm: bytes) -> int:
    return int(abs(np.frombuffer(pcm, "<i2").astype(int)).max())


def test_a_missing_frame_repeats_the_last_and_fades_out_within_60_ms() -> None:
    plc = Concealment(320)
    plc.heard(np.full(160, -10_000, "<i2").tobytes())
    assert [level(plc.conceal()) for _ in range(5)] == [7000, 4000, 1500, 0, 0]


def test_before_the_first_frame_and_after_a_change_of_source_there_is_silence() -> None:
    plc = Concealment(320)
    assert plc.conceal() == bytes(320)
    plc.heard(b"\x10\x10" * 160)
    plc.forget()
    assert plc.conceal() == bytes(320)


def test_a_good_frame_starts_the_fading_anew() -> None:
    plc = Concealment(320)
    for _ in range(2):
        plc.heard(np.full(160, 1000, "<i2").tobytes())
        assert level(plc.conceal()) == 700
