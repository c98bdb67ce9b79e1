"""What a service says by HTTP when it will not: why, whether another try may help, and when. A core.

For models, ears and voices alike (media/refusal.py makes their error of it).
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# What may pass by itself; 529 is how some say that they are overloaded.
RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
SHOWN = 300  # characters of a complaint
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{0,12})?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is none."""

    reason: str  # "HTTP 429: slow down"
    retryable: bool
    wait_s: float | None = None  # how long it asks to be left alone; None: it does not say


def refusal(status: int, headers: Mapping[str, str], body: str = "") -> Refusal:
    """Of an HTTP status, headers by any case (aiohttp's are), and what came with it."""
    return Refusal(f"HTTP {status}: {complaint(body)}", status in RETRYABLE, retry_after(headers))


def complaint(body: str) -> str:
    """What a server says is wrong: {"error": {"message": ...}}, {"error": ...}, or its text."""
    text = body
    try:
        found = json.loads(body)
        error = found.get("error", found)
        message = error.get("message", error) if isinstance(error, dict) else error
        if not isinstance(message, dict):  # else nothing that we know: its own words tell most
            text = str(message)
    except (ValueError, AttributeError, RecursionError):
        pass
    return " ".join(text.split())[:SHOWN] or "no reason given"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """RFC 9110, 10.2.3: seconds, or a date, which counts from the server's own (6.6.1): its clock may be
    wrong. A date without that is longer than anybody waits; None: nothing, or nothing that can be read."""
    value = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    until, now = _date(value), _date(headers.get("Date", ""))
    if until is None:
        return None
    return math.inf if now is None else max(0.0, (until - now).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text.strip())
    except (ValueError, TypeError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
