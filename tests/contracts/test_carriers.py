"""What every carrier's media stream must do, and must survive (the carriers: tests/contracts/carriers.py)."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.leg import HangupCause
from sip.errors import RemoteProtocolError
from sip.mediacore import Audio, Digit, Message, Started
from sip.medialine import StreamConfig, coders
from tests.clock import run
from tests.contracts.carriers import CASES
from tests.contracts.farend import CarrierCase
from tests.contracts.streams import Stream, stream

every_carrier = pytest.mark.parametrize("case", [case() for case in CASES], ids=lambda case: case.name)


def play(case: CarrierCase, scenario: Callable[[Stream], Awaitable[None]], *, opened: bool = True) -> None:
    """Run a scenario on a virtual clock."""

    async def scene() -> None:
        async with stream(case) as made:
            if opened:
                made.open()
            await scenario(made)

    run(scene())


# The normal course


@every_carrier
def test_sound_goes_both_ways_unchanged(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        decode, encode = coders(case.encoding)
        s.sink.speaks = 25
        await s.line(600)

        assert s.leg.started.result().call_id == case.call_id
        assert s.leg.format.rate == case.encoding.rate
        assert [f.pcm for f in s.sink.frames] == [decode(case.frame)] * 30
        assert [f.pts for f in s.sink.frames] == [n * s.leg.format.samples for n in range(30)]
        tone = encode(b"\x00\x10" * s.leg.format.samples)
        assert b"".join(s.audio()) == tone * 25

    play(case, scenario)


@every_carrier
def test_frames_leave_on_their_beats(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        s.sink.speaks = 50
        await s.line(1000)
        at = [at for at, message in s.wire.sent if case.understand(message).audio]
        gaps = [b - a for a, b in zip(at, at[1:], strict=False)]
        together = case.core().message_frames
        assert len(at) >= 49 // together and all(abs(gap - 0.02 * together) < 1e-6 for gap in gaps)

    play(case, scenario)


@every_carrier
def test_frames_of_one_tick_travel_together_unless_the_carrier_wants_them_single(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        await s.line(40)
        for _ in range(11):  # a lead
            s.sink.say()
        await s.line(40)
        frame = len(coders(case.encoding)[1](bytes(s.leg.format.size)))
        single = case.core().single_frames
        assert [len(sound) // frame for sound in s.audio()] == ([1] * 11 if single else [11])

    play(case, scenario)


@every_carrier
def test_keys(case: CarrierCase) -> None:
    if case.press("5") is None:
        pytest.skip("no keys on this socket")

    async def scenario(s: Stream) -> None:
        for key in "15#*":
            message = case.press(key)
            assert message is not None
            s.leg.receive(message)
        assert s.sink.keys == "15#*"

    play(case, scenario)


@every_carrier
def test_marks_follow_the_sound_and_confirm_it(case: CarrierCase) -> None:
    if not case.capabilities.played:
        pytest.skip("no marks on this socket")

    async def scenario(s: Stream) -> None:
        s.sink.speaks = 25
        await s.line(700)
        marks = s.marks()
        assert len(set(marks)) == len(marks) == 3, "one each 200 ms, and one where the speech ends"
        for name in marks:
            message = case.marked(name)
            assert message is not None
            s.leg.receive(message)
        samples = s.leg.format.samples
        assert s.sink.played == [10 * samples, 20 * samples, 25 * samples]

    play(case, scenario)


@every_carrier
def test_clear_is_sent_and_marks_of_cleared_sound_confirm_nothing(case: CarrierCase) -> None:
    if not case.capabilities.clear:
        pytest.skip("this carrier cannot clear")

    async def scenario(s: Stream) -> None:
        s.sink.speaks = 12
        await s.line(300)
        marks = s.marks()
        s.leg.clear()
        assert s.said()[-1].clear
        for name in marks:
            message = case.marked(name)
            if message is not None:
                s.leg.receive(message)
        assert s.sink.played == [], "they came back because of the clear"

    play(case, scenario)


# The end


@every_carrier
def test_stop_ends_the_call_once(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        message = case.stop()
        if message is not None:
            s.leg.receive(message)
            s.leg.receive(message)
        s.leg.disconnected()
        s.leg.disconnected(clean=False)
        await s.leg.hangup(HangupCause.NORMAL)
        assert s.sink.causes == [HangupCause.NORMAL]

    play(case, scenario)


@every_carrier
@pytest.mark.parametrize("clean, cause", [(True, HangupCause.NORMAL), (False, HangupCause.NETWORK)])
def test_a_socket_that_closes_without_stop_ends_the_call(
    case: CarrierCase, clean: bool, cause: HangupCause
) -> None:
    async def scenario(s: Stream) -> None:
        await s.line(100)
        s.leg.disconnected(clean=clean)
        s.media()
        assert s.sink.causes == [cause] and s.leg.over.is_set()

    play(case, scenario)


@every_carrier
def test_a_far_end_that_says_nothing_more_is_gone(case: CarrierCase) -> None:
    async def scene() -> None:
        async with stream(case, StreamConfig(inactivity_s=3)) as s:
            s.open()
            await s.line(200)
            await asyncio.sleep(2.5)
            assert not s.sink.causes
            await asyncio.sleep(1)
            assert s.sink.causes == [HangupCause.MEDIA_TIMEOUT]

    run(scene())


# Odd things


@every_carrier
def test_sound_before_the_start_is_kept(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        for _ in range(10):
            s.media()
        s.open()
        await s.line(200)
        assert len(s.sink.frames) == 20

    play(case, scenario, opened=False)


@every_carrier
def test_sound_that_comes_before_the_call_is_ready_waits_two_seconds_at_most(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        for message in case.start():
            s.leg.receive(message)
        for _ in range(150):
            s.media()
        s.leg.start(s.sink)
        await s.line(1000)
        assert len(s.sink.frames) + s.leg.stats.received_discarded == 200
        assert 50 <= s.leg.stats.received_discarded <= 52

    play(case, scenario, opened=False)


@every_carrier
@pytest.mark.parametrize("samples", [1, 79, 80, 161, 500, 1600])
def test_pieces_of_any_length_become_packet_times(case: CarrierCase, samples: int) -> None:
    async def scenario(s: Stream) -> None:
        unit = len(case.frame) // s.leg.format.samples
        sound = bytes(range(1, 251)) * 13 * unit
        for at in range(0, len(sound), samples * unit):
            s.media(sound[at : at + samples * unit])
            await asyncio.sleep(samples * unit / len(case.frame) * 0.02)
        await asyncio.sleep(0.5)
        decode, _ = coders(case.encoding)
        heard = b"".join(f.pcm for f in s.sink.frames if any(f.pcm))
        whole = decode(sound)[: len(sound) // len(case.frame) * s.leg.format.size]
        assert heard[: len(whole)] == whole
        assert {len(f.pcm) for f in s.sink.frames} == {s.leg.format.size}

    play(case, scenario)


@every_carrier
def test_ten_seconds_at_once_are_cut_to_the_last_two_and_spread(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        await s.line(100)
        before = len(s.sink.frames)
        for _ in range(500):
            s.media()
        assert len(s.sink.frames) - before <= 5, "not all at once"
        await asyncio.sleep(0.5)
        assert len(s.sink.frames) - before <= 106
        assert s.leg.stats.received_discarded >= 390
        await s.line(100)
        assert not s.sink.causes

    play(case, scenario)


@every_carrier
def test_a_pause_in_the_sound_is_filled_with_silence_so_that_speech_ends(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        await s.line(200)
        await asyncio.sleep(1)
        silence = bytes(s.leg.format.size)
        assert sum(f.pcm == silence for f in s.sink.frames[10:]) >= 42
        pts = [f.pts for f in s.sink.frames]
        assert pts == [n * s.leg.format.samples for n in range(len(pts))]

    play(case, scenario)


@every_carrier
def test_messages_that_carry_numbers_are_put_in_order(case: CarrierCase) -> None:
    core = case.core()
    for message in case.start():
        core.receive(message)
    numbers = [e.chunk for e in core.receive(case.media(case.frame, 7)) if isinstance(e, Audio)]
    if numbers != [7]:
        pytest.skip("this carrier does not count")

    async def scenario(s: Stream) -> None:
        loud = {n: bytes([0x80 + n]) * len(case.frame) for n in range(1, 13)}
        for n in (1, 3, 2, 2, 4, 6, 7, 8, 5, 9, 12, 10, 11):  # 5 comes too late
            s.leg.receive(case.media(loud[n], n))
            await asyncio.sleep(0.02)
        decode, _ = coders(case.encoding)
        order = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]
        assert [f.pcm for f in s.sink.frames] == [decode(loud[n]) for n in order]
        stats = s.leg.stats
        assert (stats.received_late, stats.received_lost) == (2, 1)

    play(case, scenario)


@every_carrier
def test_a_carrier_that_begins_to_count_anew_is_heard_on(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        for n in (*range(1, 151), *range(1, 51)):
            s.leg.receive(case.media(case.frame, n))
            await asyncio.sleep(0.02)
        assert len(s.sink.frames) == 200 and not s.leg.stats.received_late

    play(case, scenario)


@every_carrier
def test_another_streams_sound_is_not_ours(case: CarrierCase) -> None:
    if not case.names_streams:
        pytest.skip("messages of this carrier name no stream")

    async def scenario(s: Stream) -> None:
        await s.line(100)
        s.leg.receive(case.media(case.frame, 6, stream="stream-2"))
        await s.line(100)
        assert len(s.sink.frames) == 10 and s.leg.stats.received_foreign == 1

    play(case, scenario)


@every_carrier
def test_a_second_start_changes_nothing(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        for message in case.start():
            s.leg.receive(message)
        await s.line(100)
        assert len(s.sink.frames) == 5 and not s.sink.causes

    play(case, scenario)


RUBBISH: list[Message] = ["", "{", "[]", "null", '"x"', "{}", '{"event":7}', '{"event":"no such thing"}']
RUBBISH += ["[" * 5000, '{"event":"media"}', '{"event":"media","media":7}', '{"event":"start"}', "\ud800"]
RUBBISH += ['{"event":"media","media":{"payload":"%%%"}}', "9" * 5000, '{"event":"start","start":{}}']


@every_carrier
def test_rubbish_is_counted_and_the_call_goes_on(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        for rubbish in RUBBISH:
            s.leg.receive(rubbish)
            await s.line(20)
        assert len(s.sink.frames) == len(RUBBISH) and not s.sink.causes

    play(case, scenario)


@every_carrier
def test_whoever_talks_rubbish_only_is_hung_up_on(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        for _ in range(60):
            s.leg.receive('{"event":')
        assert s.sink.causes == [HangupCause.INCOMPATIBLE]

    play(case, scenario)


@every_carrier
def test_a_slow_far_end_loses_sound_and_nothing_waits(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        s.sink.speaks = 1000
        await s.line(200)
        s.wire.stuck = True
        before = len(s.wire.sent)
        await s.line(2000)
        assert s.leg.stats.sent_dropped >= 99
        assert len(s.wire.sent) - before <= 1, "a mark at most"
        s.wire.stuck = False
        await s.line(200)
        assert len(b"".join(s.audio())) // len(case.frame) >= 19, "it is heard again at once"

    play(case, scenario)


@every_carrier
def test_two_calls_at_once_share_nothing(case: CarrierCase) -> None:
    async def scene() -> None:
        async with stream(case) as a, stream(case) as b:
            a.open()
            b.open()
            a.sink.speaks = 5
            await a.line(200)
            a.leg.disconnected()
            await b.line(200)
            assert len(a.sink.frames) == sum(any(f.pcm) for f in b.sink.frames) == 10
            assert a.audio() and not b.audio()
            assert a.sink.causes and not b.sink.causes

    run(scene())


@every_carrier
def test_a_call_that_nobody_takes_is_forgotten(case: CarrierCase) -> None:
    async def scenario(s: Stream) -> None:
        s.leg.disconnected()
        assert s.leg.started.cancelled()

    play(case, scenario, opened=False)


# Any input gives events or the one documented error


def feed(case: CarrierCase, messages: list[Message]) -> None:
    core = case.core()
    for message in messages:
        try:
            for event in core.receive(message):
                if isinstance(event, Started):
                    core.audio(bytes(160))
                assert not isinstance(event, Audio) or isinstance(event.payload, bytes)
                assert not isinstance(event, Digit) or event.key in "0123456789*#ABCD"
        except RemoteProtocolError:
            pass


def conversation(case: CarrierCase) -> list[Message]:
    """All that a far end says."""
    messages = [*case.start(), case.media(case.frame, 1), case.press("7"), case.marked("0:160"), case.stop()]
    return [message for message in messages if message is not None]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@every_carrier
@settings(deadline=None)
@given(st.lists(st.text() | st.binary() | json_values.map(repr), max_size=5))
def test_any_messages_give_events_or_the_one_error(case: CarrierCase, messages: list[Message]) -> None:
    feed(case, messages)


@every_carrier
@settings(deadline=None)
@given(data=st.data())
def test_a_damaged_conversation_gives_events_or_the_one_error(case: CarrierCase, data: st.DataObject) -> None:
    """A letter changed, a piece cut out, a member of the JSON replaced: at any place."""
    messages = conversation(case)
    which = data.draw(st.integers(0, len(messages) - 1))
    message = messages[which]
    at = data.draw(st.integers(0, len(message)))
    cut = data.draw(st.integers(0, 20))
    if isinstance(message, str):
        messages[which] = message[:at] + data.draw(st.text(max_size=3)) + message[at + cut :]
    else:
        messages[which] = message[:at] + data.draw(st.binary(max_size=3)) + message[at + cut :]
    feed(case, messages)


@every_carrier
def test_a_conversation_byte_by_byte_gives_events_or_the_one_error(case: CarrierCase) -> None:
    for message in conversation(case):
        feed(case, [message[n : n + 1] for n in range(len(message))])
        feed(case, [message[:n] for n in range(len(message))])
