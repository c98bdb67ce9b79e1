"""What hosted ears and voices answer when they will not: the error, and whether another try may help."""

from collections.abc import Mapping

from media.errors import ProviderError

RETRYABLE = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
SHOWN = 200  # characters of a service's complaint


class Refused(ProviderError):
    """The service answered with an error."""

    def __init__(self, message: str, *, retryable: bool, wait_s: float = 0.0) -> None:
        """`wait_s`: how long it asks to be left alone."""
        super().__init__(message, retryable=retryable)
        self.wait_s = wait_s


def refusal(name: str, status: int, headers: Mapping[str, str], body: str = "") -> Refused:
    """The error of an HTTP status."""
    text = " ".join(body.split())[:SHOWN]
    message = f"{name}: HTTP {status}" + (f": {text}" if text else "")
    return Refused(message, retryable=status in RETRYABLE, wait_s=_retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers.get("Retry-After", "0")))
    except ValueError:
        return 0.0  # a date: back off as usual
