"""The opinion score against values that G.107 and its tables give."""

import pytest

from media.quality import CallQuality, StreamQuality, mos


@pytest.mark.parametrize(
    "loss, delay, expected",
    [
        (0, 0, 4.41),  # G.107: R = 93.2
        (0, 150, 4.33),  # R = 89.6: "very satisfied" is 90
        (0, 400, 3.05),
        (5, 50, 3.87),
        (20, 50, 2.57),
        (100, 50, 1.15),
        (100, 2000, 1.0),
    ],
)
def test_the_score_falls_with_loss_and_delay(loss: float, delay: float, expected: float) -> None:
    assert mos(loss, delay) == pytest.approx(expected, abs=0.02)


def test_what_is_not_known_is_left_out() -> None:
    assert CallQuality().fields() == {}
    one_way = CallQuality(StreamQuality(packets=950, lost=50, jitter_ms=3.14159, buffer_ms=40))
    assert one_way.fields() == {
        "received_loss_percent": 5.0,
        "received_jitter_ms": 3.14,
        "received_mos": pytest.approx(3.86, abs=0.02),
        "received_buffer_ms": 40,
    }
    both = CallQuality(StreamQuality(100), StreamQuality(99, 1), 60.0)
    assert set(both.fields()) >= {"sent_loss_percent", "sent_mos", "round_trip_ms"}
