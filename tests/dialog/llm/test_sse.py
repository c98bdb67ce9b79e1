import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog.llm.sse import LONGEST, ServerEvent, SseDecoder, SseError

STREAM = (
    b": hello\n\nevent: ping\ndata: {}\n\ndata: one\r\ndata:two\r\n\r\nid: 7\nretry: 5\ndata\n\n"
    + "data: ü🙂\r\r".encode()
    + b"event: lost\n\ndata: unfinished"
)
EVENTS = [
    ServerEvent("ping", "{}"),
    ServerEvent("message", "one\ntwo"),
    ServerEvent("message", ""),
    ServerEvent("message", "ü🙂"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_events_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    decoder = SseDecoder()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [e for a, b in zip(edges, edges[1:], strict=False) for e in decoder.feed(STREAM[a:b])]
    assert found == EVENTS


@given(st.binary(max_size=300))
def test_any_bytes_give_events_or_nothing(data: bytes) -> None:
    decoder = SseDecoder()
    for byte in data:
        list(decoder.feed(bytes([byte])))


def test_a_line_or_an_event_without_end_is_refused() -> None:
    with pytest.raises(SseError, match="line"):
        list(SseDecoder().feed(b"data: " + b"x" * LONGEST))
    decoder = SseDecoder()
    with pytest.raises(SseError, match="event"):
        for _ in range(3):
            list(decoder.feed(b"data: " + b"x" * (LONGEST // 2) + b"\n"))
