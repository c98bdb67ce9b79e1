"""Arguments of commands, made safe.

A command's arguments are split by FreeSWITCH at characters that callers can choose: line ends (refused by
`EslProtocol.command`), commas and braces of originate variables, quotes, blanks.
"""

import re
from collections.abc import Mapping

from sip.errors import LocalProtocolError

_TOKEN = re.compile(r"[A-Za-z0-9_.+*#:;=@/\\\-\[\]?&%!~$]+")
_NUMBER = re.compile(r"[0-9A-Za-z+*#._\-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9_.\-]+")
UNSAFE = re.compile(r"[\x00-\x1f\x7f,'\"|^{}\[\]<>\\`$()]")


def safe(text: str, limit: int = 256) -> str:
    """A text that comes from outside, without what would end or split a value."""
    return UNSAFE.sub("", text)[:limit].strip()


def word(text: str) -> str:
    """One argument without blanks or quotes. Raises LocalProtocolError."""
    if not _TOKEN.fullmatch(text):
        raise LocalProtocolError(f"not one word: {text!r}")
    return text


def name(text: str) -> str:
    """The name of a gateway, profile, queue or variable. Raises LocalProtocolError."""
    if not _NAME.fullmatch(text):
        raise LocalProtocolError(f"not a name: {text!r}")
    return text


def number(text: str) -> str:
    """What is dialled: digits, + * #, or the user part of a SIP address. Raises LocalProtocolError."""
    if not _NUMBER.fullmatch(text):
        raise LocalProtocolError(f"not a number: {text!r}")
    return text


def variables(values: Mapping[str, str]) -> str:
    """``{a=1,b='x y'}`` for originate and bridge. Values are quoted where they hold blanks and escaped where
    they hold commas; raises LocalProtocolError for what no quoting saves."""
    parts = []
    for key, value in values.items():
        if any(mark in value for mark in "\r\n\0'{}[]<>^|"):
            raise LocalProtocolError(f"a variable's value cannot hold this: {key}={value!r}")
        text = value.replace("\\", "\\\\").replace(",", "\\,")
        parts.append(f"{name(key)}='{text}'" if " " in text else f"{name(key)}={text}")
    return "{" + ",".join(parts) + "}" if parts else ""


def execute(
    application: str, argument: str = "", *, job: str, lock: bool = True
) -> tuple[dict[str, str], str]:
    """Headers and body of a `sendmsg` that runs an application after those before it. `job` comes back as
    Application-UUID. With `lock` whatever comes next waits until it is done; without, the next application
    starts inside it (as music during a bridge should). The argument travels as the body: there it may hold
    what it likes."""
    headers = {
        "call-command": "execute",
        "execute-app-name": name(application),
        "event-uuid": job,
    }
    if lock:
        headers["event-lock"] = "true"
    if argument:
        headers["content-type"] = "text/plain"
    return headers, argument
