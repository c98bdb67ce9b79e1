"""What proves to a service who we are (keys in headers and addresses) is said again in no error of ours.

Services repeat requests in their complaints, and libraries write whole addresses into their errors. Whoever
drives a service hides the error of a request by what went out with it, once, where the error leaves him.
"""

import re
from collections.abc import Collection, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

HIDDEN = "***"
_NAMES = re.compile(r"auth|key|token|secret|passw|cookie|credential|signature", re.IGNORECASE)
_SHORTEST = 3  # characters of a secret: shorter ones are placeholders, and part of every other word
_CUT = 4  # characters at the end of a text that has been cut in the middle of a secret


def secrets_of(url: str, headers: Mapping[str, str]) -> frozenset[str]:
    """Of a request: headers and parameters whose names say so, user and password in the address."""
    parts = urlsplit(url)
    named = [*headers.items(), *parse_qsl(parts.query)]
    found = [value for name, value in named if _NAMES.search(name)]
    found += [value.partition(" ")[2] for value in found]  # Authorization: SCHEME value
    found += [parts.username or "", parts.password or ""]
    return frozenset(value for value in found if len(value) >= _SHORTEST)


def scrub(text: str, secrets: Collection[str]) -> str:
    """The text without them, however they are written in it."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = re.sub(_written(secret), HIDDEN, text)
        for size in range(len(secret) - 1, _CUT - 1, -1):
            if (cut := re.search(_written(secret[:size]) + r"\Z", text)) is not None:
                text = text[: cut.start()] + HIDDEN
                break
    return text


Failed = TypeVar("Failed", bound=Exception)


def hide(error: Failed, secrets: Collection[str]) -> Failed:
    """The same error, whose words hold none of them; what it came from is left out of tracebacks."""
    error.args = tuple(scrub(arg, secrets) if isinstance(arg, str) else arg for arg in error.args)
    error.__cause__ = None  # and no context is shown either
    return error


def _written(text: str) -> str:
    """A pattern for a text whose characters may each be encoded for an address."""
    return "".join(_character(char) for char in text)


def _character(char: str) -> str:
    ways = [re.escape(char), f"(?i:{re.escape(''.join(f'%{byte:02X}' for byte in char.encode()))})"]
    return f"(?:{'|'.join([*ways, *([re.escape('+')] if char == ' ' else [])])})"
