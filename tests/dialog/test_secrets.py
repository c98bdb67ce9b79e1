"""Keys of requests, and errors that hold none of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog.secrets import hide, scrub, secrets_of


@pytest.mark.parametrize(
    "url, headers, secrets",
    [
        ("https://x/y?model=m&key=abc&lang=en", {}, {"abc"}),
        ("wss://user:pass@x/y", {}, {"user", "pass"}),
        ("https://x/y?api%5Fkey=a%2Bb", {}, {"a+b"}),
        ("https://x", {"Authorization": "Token abcd"}, {"Token abcd", "abcd"}),
        (
            "https://x",
            {"xi-api-key": "abcd", "Content-Type": "text/plain", "X-ConnectionId": "1234"},
            {"abcd"},
        ),
        ("https://x", {"Authorization": "Bearer "}, {"Bearer "}),
        ("https://x?key=a", {"X-Key": ""}, set()),  # a placeholder, and nothing
    ],
)
def test_what_is_secret_of_a_request(url: str, headers: dict[str, str], secrets: set[str]) -> None:
    assert secrets_of(url, headers) == secrets


@pytest.mark.parametrize(
    "text, scrubbed",
    [
        ("no a+b/ä c.", "no ***."),
        ("no a%2Bb%2F%C3%A4%20c.", "no ***."),
        ("no a%2bb/ä+c.", "no ***."),
        ("cut: a+b/", "cut: ***"),
        ("not cut: a+b", "not cut: a+b"),
        ("a+b/ä ca+b/ä c", "******"),
    ],
)
def test_a_secret_is_found_however_it_is_written(text: str, scrubbed: str) -> None:
    assert scrub(text, ["a+b/ä c"]) == scrubbed


def test_the_longer_secret_goes_first() -> None:
    assert scrub("Bearer abc def", ["abc", "Bearer abc"]) == "*** def"


def test_an_error_keeps_its_kind_and_loses_where_it_came_from() -> None:
    with pytest.raises(OSError) as raised:
        try:
            raise ValueError("abc")
        except ValueError as error:
            raise hide(OSError(5, "no abc"), ["abc"]) from error
    error = hide(raised.value, ["abc"])
    assert error is raised.value and error.args == (5, "no ***")
    assert error.__cause__ is None and error.__suppress_context__


@given(st.text(min_size=3, max_size=12), st.text(max_size=20), st.text(max_size=20))
def test_whatever_the_secret_it_is_gone(secret: str, before: str, after: str) -> None:
    if secret not in before + "***" + after:
        assert secret not in scrub(before + secret + after, [secret]).replace("***", "")
