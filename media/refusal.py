"""What hosted ears and voices answer when they will not, as the error that they raise."""

from collections.abc import Mapping

from dialog import refusal as http
from media.errors import ProviderError


class Refused(ProviderError):
    """The service answered with an error."""

    def __init__(self, message: str, *, retryable: bool, wait_s: float = 0.0) -> None:
        """`wait_s`: how long it asks to be left alone."""
        super().__init__(message, retryable=retryable)
        self.wait_s = wait_s


def refusal(name: str, status: int, headers: Mapping[str, str], body: str = "") -> Refused:
    """The error of an HTTP status."""
    found = http.refusal(status, headers, body)
    return Refused(f"{name}: {found.reason}", retryable=found.retryable, wait_s=found.wait_s or 0.0)
