"""Telephone events both ways: a press is one digit, whatever is lost, repeated or overtaken."""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.dtmf import DIGITS, DigitMerger, EventReceiver, EventSender, valid_keys

Wire = tuple[int, bytes, bool]  # timestamp, payload, marker


def event(number: int, timestamp: int, duration: int, *, end: bool = False, marker: bool = False) -> Wire:
    return timestamp, struct.pack("!BBH", number, 0x80 * end | 10, duration), marker


def digits(packets: list[Wire]) -> str:
    receiver = EventReceiver()
    found = (receiver.packet(t, payload, marker=marker) for t, payload, marker in packets)
    return "".join(d for d in found if d)


def pressed(keys: str, clock: int = 8000, start: int = 0) -> list[Wire]:
    """What a phone sends for these keys."""
    sender, out, timestamp = EventSender(clock), [], start
    sender.press(keys)
    while sender.busy:
        out += [(p.timestamp, p.payload, p.marker) for p in sender.tick(timestamp)]
        timestamp = timestamp + clock // 50 & 0xFFFFFFFF
    return out


@pytest.mark.parametrize("keys", ["5", "55", "0123456789*#ABCD", "1221"])
def test_what_is_sent_is_what_is_received(keys: str) -> None:
    assert digits(pressed(keys)) == keys


def test_a_press_has_a_marker_first_growing_durations_and_three_ends() -> None:
    packets = pressed("5", start=1000)
    fields = [struct.unpack("!BBH", payload) for _, payload, _ in packets]
    assert {t for t, _, _ in packets} == {1000}
    assert [m for _, _, m in packets] == [True] + [False] * 6
    assert [d for _, _, d in fields] == [160, 320, 480, 640, 800, 800, 800]
    assert [flags >> 7 for _, flags, _ in fields] == [0, 0, 0, 0, 1, 1, 1]
    assert {number for number, _, _ in fields} == {5}


def test_between_two_keys_there_is_a_pause() -> None:
    first, second = sorted({t for t, _, _ in pressed("11")})
    assert second - first == 8 * (100 + 80)


def test_any_packet_of_a_press_will_do() -> None:
    packets = pressed("7")
    for survivor in packets:
        assert digits([survivor]) == "7"


def test_the_same_key_twice_is_two_digits_even_if_all_ends_are_lost() -> None:
    packets = [event(5, 0, 160, marker=True), event(5, 0, 320)]
    packets += [event(5, 1600, 160, marker=True), event(5, 1600, 320)]
    assert digits(packets) == "55"


def test_the_same_key_twice_is_two_digits_even_if_markers_are_lost() -> None:
    packets = [event(5, 0, 160), event(5, 0, 320, end=True), event(5, 1600, 160)]
    assert digits(packets) == "55"


def test_late_ends_of_the_press_before_are_ignored() -> None:
    packets = [event(1, 0, 160), event(2, 1600, 160), event(1, 0, 800, end=True), event(2, 1600, 800)]
    assert digits(packets) == "12"


def test_a_press_longer_than_its_duration_field_is_still_one() -> None:
    # RFC 4733, 2.5.1.3: the next segment begins where the first ends, without marker or E bit between.
    packets = [event(9, 0, 160, marker=True), event(9, 0, 0xFFFF), event(9, 0xFFFF, 160)]
    packets += [event(9, 0xFFFF, 800, end=True)]
    assert digits(packets) == "9"


def test_a_phone_that_moves_the_timestamp_in_mid_press_is_forgiven() -> None:
    packets = [event(4, 160 * n, 160 * (n + 1), marker=n == 0) for n in range(5)]
    assert digits(packets) == "4"


def test_timestamps_may_wrap() -> None:
    assert digits(pressed("12", start=0xFFFFFFFF - 300)) == "12"


def test_flash_hook_and_stubs_are_no_digits() -> None:
    assert digits([event(16, 0, 160), (160, b"", False), (320, b"\5\0", False)]) == ""


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=6), st.booleans()), max_size=30))
def test_any_payload_is_survived(packets: list[Wire]) -> None:
    assert set(digits(packets)) <= set(DIGITS)


@given(st.text(DIGITS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_loss_and_small_reordering_change_nothing(keys: str, chance: random.Random) -> None:
    by_press: dict[int, list[Wire]] = {}
    for packet in pressed(keys):
        by_press.setdefault(packet[0], []).append(packet)
    survivors = []
    for press in by_press.values():
        kept = chance.sample(press, chance.randint(1, len(press)))
        survivors += kept
    assert digits(survivors) == keys


def test_what_is_no_key_is_refused_by_name() -> None:
    assert valid_keys("a#1") == "A#1"
    with pytest.raises(ValueError, match="'X'"):
        EventSender(8000).press("12x")


def test_a_press_that_comes_by_rtp_and_info_counts_once() -> None:
    merger = DigitMerger()
    heard = [
        merger.is_new(way, digit, at)
        for way, digit, at in [
            ("rtp", "1", 0.0),
            ("info", "1", 0.1),
            ("rtp", "1", 0.3),  # pressed again
            ("rtp", "2", 0.4),
            ("info", "1", 0.45),
            ("info", "2", 0.5),
            ("info", "3", 2.0),  # by INFO alone
            ("rtp", "3", 3.5),  # long after: another press
        ]
    ]
    assert heard == [True, False, True, True, False, False, True, True]


def test_a_press_that_comes_by_three_ways_is_one() -> None:
    merger = DigitMerger()
    news = [merger.is_new(way, "5", at) for way, at in (("rtp", 0.0), ("inband", 0.08), ("info", 0.4))]
    assert news == [True, False, False]
    news = [merger.is_new(way, "5", 0.5) for way in ("rtp", "info", "inband")]  # pressed again
    assert news == [True, False, False]
