"""When a certificate in a PEM file is valid: the two dates of RFC 5280, 4.1.2.5, nothing else. A core.

Whether it is trusted is OpenSSL's business; this tells operators in time that it runs out.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME, _VERSION = 0x30, 0x17, 0x18, 0xA0
SOON_S = 7 * 86_400  # automatic renewal (30 days before the end) has then failed for three weeks


@dataclass(frozen=True, slots=True)
class Validity:
    """From when to when, in seconds since 1970."""

    not_before: float
    not_after: float

    def fault(self, now: float) -> str | None:
        """What an operator should know, at this wall-clock time."""
        if now < self.not_before:
            return f"the certificate is valid only from {_day(self.not_before)} on"
        if now >= self.not_after:
            return f"the certificate has expired on {_day(self.not_after)}"
        if now >= self.not_after - SOON_S:
            return f"the certificate expires on {_day(self.not_after)}"
        return None


def validity(pem: bytes) -> Validity:
    """Of the first certificate in a PEM file. Raises ValueError if there is none that can be read."""
    match = _PEM.search(pem)
    if match is None:
        raise ValueError("no certificate in PEM form")
    try:
        der = base64.b64decode(match[1])
    except binascii.Error as e:
        raise ValueError(f"bad base64 in the certificate: {e}") from None
    _, certificate, _ = _element(der)
    _, signed, _ = _element(certificate)
    tag, _, rest = _element(signed)
    if tag == _VERSION:  # absent in version 1
        _, _, rest = _element(rest)  # the serial number
    for _ in ("signature", "issuer"):
        _, _, rest = _element(rest)
    tag, dates, _ = _element(rest)
    if tag != _SEQUENCE:
        raise ValueError("not a certificate")
    tag_from, not_before, dates = _element(dates)
    tag_to, not_after, _ = _element(dates)
    return Validity(_time(tag_from, not_before), _time(tag_to, not_after))


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag and content of the first element, and what follows it."""
    if len(der) < 2:
        raise ValueError("the certificate is cut off")
    length, start = der[1], 2
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(der[2:start])
    if len(der) < start + length:
        raise ValueError("the certificate is cut off")
    return der[0], der[start : start + length], der[start + length :]


def _time(tag: int, text: bytes) -> float:
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError("the certificate has no dates")
    digits = text.decode("ascii", "replace")
    if tag == _UTC_TIME:  # RFC 5280, 4.1.2.5.1: two digits of the year; 50 and above are of the last century
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
