"""Tokens, TURN credentials and messages, without a socket."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicegw.softphone.messages import (
    BadMessage,
    Bucket,
    Call,
    Candidate,
    Hangup,
    Hello,
    Key,
    Offer,
    Ping,
    Resume,
    parse,
)
from voicegw.softphone.tokens import (
    LIFETIME_S,
    REMEMBERED,
    BadToken,
    Grant,
    TokenBox,
    allowed_flows,
    turn_credentials,
)

GRANT = Grant("https://a.example", ("clinic", "shop"))


def test_a_token_says_what_it_was_made_for_once() -> None:
    box = TokenBox(b"key")
    token = box.issue(GRANT, "n1", 100.0)
    assert box.redeem(token, 101.0) == GRANT
    with pytest.raises(BadToken, match="used before"):
        box.redeem(token, 102.0)
    assert box.redeem(box.issue(GRANT, "n2", 100.0), 100 + LIFETIME_S) == GRANT


def test_a_token_that_is_old_altered_or_of_another_server_is_refused() -> None:
    box = TokenBox(b"key")
    token = box.issue(GRANT, "n1", 100.0)
    with pytest.raises(BadToken, match="expired"):
        box.redeem(token, 101 + LIFETIME_S)
    body, _, signature = token.partition(".")
    others = TokenBox(b"other").issue(GRANT, "n1", 100.0)
    wrong = [others, f"{body}.", f".{signature}", body, "", ".", "ä.ö", f"{body}x.{signature}", token[:-1]]
    for altered in wrong:
        with pytest.raises(BadToken):
            box.redeem(altered, 101.0)
    for at in range(len(body)):
        with pytest.raises(BadToken):
            box.redeem(f"{body[:at]}{'A' if body[at] != 'A' else 'B'}{body[at + 1 :]}.{signature}", 101.0)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(BadToken):
        TokenBox(b"key").redeem(text, 0.0)


def test_used_tokens_are_forgotten_once_they_have_expired_and_a_flood_is_refused() -> None:
    box = TokenBox(b"key")
    for number in range(REMEMBERED):
        box.redeem(box.issue(GRANT, f"n{number}", 0.0), 1.0)
    with pytest.raises(BadToken, match="too many"):
        box.redeem(box.issue(GRANT, "more", 0.0), 1.0)
    later = 2 * LIFETIME_S
    assert box.redeem(box.issue(GRANT, "later", later), later) == GRANT


def test_turn_credentials_follow_coturns_formula() -> None:
    # Checked with: printf '1700003600:anna' | openssl dgst -sha1 -hmac secret -binary | base64
    name, word = turn_credentials("secret", "anna", 3600, 1700000000.9)
    assert (name, word) == ("1700003600:anna", "+p1oq00W0FCRKWcVNr69I0dtbk0=")


def test_only_allowed_flows_may_be_called() -> None:
    assert allowed_flows([], ["a", "b"]) == ("a", "b")
    assert allowed_flows(["b"], ["a", "b"]) == ("b",)
    with pytest.raises(BadToken, match="'c'"):
        allowed_flows(["c"], ["a", "b"])


@pytest.mark.parametrize(
    "data, message",
    [
        ({"type": "hello", "token": "t"}, Hello("t")),
        ({"type": "resume", "resume": "r", "seen": 7}, Resume("r", 7)),
        ({"type": "resume", "resume": "r"}, Resume("r", 0)),
        ({"type": "call", "sdp": "v=0"}, Call("v=0", "")),
        ({"type": "call", "sdp": "v=0", "flow": "clinic"}, Call("v=0", "clinic")),
        ({"type": "offer", "sdp": "v=0"}, Offer("v=0")),
        ({"type": "candidate", "candidate": "candidate:1 1 udp"}, Candidate("1 1 udp")),
        ({"type": "candidate", "candidate": None}, Candidate(None)),
        ({"type": "candidate", "candidate": ""}, Candidate(None)),
        ({"type": "key", "key": "#"}, Key("#")),
        ({"type": "hangup"}, Hangup()),
        ({"type": "ping", "more": [1]}, Ping()),
    ],
)
def test_messages_are_understood(data: dict[str, Any], message: object) -> None:
    assert parse(json.dumps(data)) == message


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[]", "object"),
        ("{}", "None"),
        ('{"type": "dance"}', "'dance'"),
        ('{"type": "hello"}', "token"),
        ('{"type": "hello", "token": 7}', "token"),
        ('{"type": "resume", "resume": "r", "seen": true}', "seen"),
        ('{"type": "resume", "resume": "r", "seen": -1}', "seen"),
        ('{"type": "call", "sdp": ""}', "sdp"),
        ('{"type": "call", "sdp": "v=0", "flow": 1}', "flow"),
        ('{"type": "key", "key": "12"}', "longer"),
        ('{"type": "candidate", "candidate": 5}', "candidate"),
    ],
)
def test_bad_messages_are_named(text: str, complaint: str) -> None:
    with pytest.raises(BadMessage, match=complaint):
        parse(text)


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: (
            st.lists(s) | st.dictionaries(st.sampled_from(["type", "sdp", "key", "candidate", "seen"]), s)
        ),
    )
)
def test_any_json_is_a_message_or_refused(data: object) -> None:
    try:
        parse(json.dumps(data))
    except BadMessage:
        pass


def test_a_bucket_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = Bucket(2, 5, 0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.take(0.5) and not bucket.take(0.5)
    assert sum(bucket.take(100.0) for _ in range(10)) == 5
