"""DTMF in INFO bodies: application/dtmf-relay (``Signal=5``, ``Duration=160``) and application/dtmf."""

import re

RELAY = "application/dtmf-relay"
PLAIN = "application/dtmf"
KEYS = "0123456789*#ABCD"
_SIGNAL = re.compile(r"signal\s*=\s*(\S+)", re.IGNORECASE)


def digit_of(content_type: str, body: bytes) -> str | None:
    """The key that was pressed; None if the body does not say."""
    text = body.decode("ascii", "replace").strip()
    if content_type not in (RELAY, PLAIN):
        return None
    if match := _SIGNAL.search(text):
        text = match[1]
    elif content_type == RELAY:
        return None
    text = text.upper()
    if len(text) == 1 and text in KEYS:
        return text
    # RFC 2833's numbers, as some gateways write them: 10 is *, 11 is #, 12-15 are A-D.
    if text.isascii() and text.isdigit() and 10 <= int(text[:3]) <= 15:
        return KEYS[int(text)]
    return None


def body_of(digit: str, duration_ms: int) -> bytes:
    """The body of an INFO of type application/dtmf-relay."""
    return f"Signal={digit}\r\nDuration={duration_ms}\r\n".encode()
