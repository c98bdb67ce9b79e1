"""Messages between the parent and a worker."""

from hypothesis import given
from hypothesis import strategies as st

from media.workers.wire import Splitter, message, pack, unpack


@given(
    st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=40)), max_size=8),
    st.integers(1, 30),
)
def test_messages_survive_any_cut(messages: list[tuple[int, int, bytes]], step: int) -> None:
    stream = b"".join(message(*m) for m in messages)
    splitter = Splitter()
    assert [
        m for at in range(0, len(stream), step) for m in splitter.feed(stream[at : at + step])
    ] == messages


def test_requests_of_a_header_and_a_body() -> None:
    assert unpack(pack({"rate": 8000, "é": None}, b"\0\1\2")) == ({"rate": 8000, "é": None}, b"\0\1\2")
    assert unpack(pack({})) == ({}, b"")
