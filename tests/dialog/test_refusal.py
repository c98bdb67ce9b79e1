"""What a service says when it will not, read in one place for models, ears and voices."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialog.refusal import SHOWN, complaint, refusal, retry_after

NOW = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    "headers, wait",
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": " 0.05 "}, 0.05),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:03 GMT", "Date": NOW}, 3.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:03 -0000", "Date": NOW}, 3.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:27:00 GMT", "Date": NOW}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:03 GMT"}, math.inf),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:03 GMT", "Date": "today"}, math.inf),
    ],
)
def test_how_long_a_service_asks_to_be_left_alone(headers: dict[str, str], wait: float | None) -> None:
    assert retry_after(headers) == wait


@pytest.mark.parametrize(
    "body, said",
    [
        ("", "no reason given"),
        ('{"error": {"message": "you may not"}}', "you may not"),
        ('{"error": "plain"}', "plain"),
        ('{"detail": {"status": "quota"}}', '{"detail": {"status": "quota"}}'),
        ("<html>\n  gateway </html>", "<html> gateway </html>"),
        ("[]", "[]"),
        ("[" * 100_000, "[" * SHOWN),
    ],
)
def test_what_a_service_complains_of(body: str, said: str) -> None:
    assert complaint(body) == said


def test_what_may_pass_by_itself() -> None:
    busy, never = refusal(529, {"Retry-After": "1"}, "overloaded"), refusal(401, {})
    assert (busy.reason, busy.retryable, busy.wait_s) == ("HTTP 529: overloaded", True, 1.0)
    assert (never.reason, never.retryable, never.wait_s) == ("HTTP 401: no reason given", False, None)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_refusal_can_be_read(after: str, date: str, body: str) -> None:
    found = refusal(503, {"Retry-After": after, "Date": date}, body)
    assert found.wait_s is None or found.wait_s >= 0
    assert found.reason.startswith("HTTP 503: ")
