"""Tokens that let a page's WebSocket in: signed, short-lived, good for one use. A core.

A token says for which origin it was made and which flows it may call, so that the socket needs no cookie and
no state from before.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sip.webpeer import same_secret

LIFETIME_S = 60  # from the page's request to its WebSocket
REMEMBERED = 10_000  # used tokens; more in a minute are refused


class BadToken(Exception):
    """Why somebody is not let in."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows."""

    origin: str  # of the page; "" for our own
    flows: tuple[str, ...]


class TokenBox:
    """Makes and takes tokens. `key` is secret and lives as long as the process."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._used: dict[str, float] = {}  # nonce -> end of its token

    def issue(self, grant: Grant, nonce: str, now: float) -> str:
        """A token. `nonce` is random; `now` in seconds of the clock that `redeem` gets too."""
        payload = [nonce, now + LIFETIME_S, grant.origin, list(grant.flows)]
        body = _encode(json.dumps(payload, separators=(",", ":")).encode())
        return f"{body}.{_encode(self._sign(body))}"

    def redeem(self, token: str, now: float) -> Grant:
        """What it allows, once. Raises BadToken."""
        body, _, signature = token.partition(".")
        if not same_secret(signature, _encode(self._sign(body))):
            raise BadToken("the token is not ours")
        nonce, end, origin, flows = json.loads(_decode(body))
        if now > end:
            raise BadToken("the token has expired")
        self._forget(now)
        if nonce in self._used:
            raise BadToken("the token was used before")
        if len(self._used) >= REMEMBERED:
            raise BadToken("too many calls")
        self._used[nonce] = end
        return Grant(origin, tuple(flows))

    def _sign(self, body: str) -> bytes:
        return hmac.digest(self._key, body.encode("utf-8", "replace"), hashlib.sha256)

    def _forget(self, now: float) -> None:
        """Nonces of tokens that have expired; they stand in order."""
        while self._used and self._used[nonce := next(iter(self._used))] < now:
            del self._used[nonce]


def turn_credentials(secret: str, label: str, lifetime_s: int, now: float) -> tuple[str, str]:
    """User name and password for a TURN server that knows `secret`, good until `now` (Unix time) plus
    `lifetime_s`: the REST scheme (draft-uberti-behave-turn-rest-00, section 2.2), as coturn has it."""
    username = f"{int(now) + lifetime_s}:{label}"
    password = hmac.digest(secret.encode(), username.encode(), hashlib.sha1)
    return username, base64.b64encode(password).decode()


def allowed_flows(wanted: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """`wanted` first; all of them if nothing is wanted. Raises BadToken for a flow that is not allowed."""
    for name in wanted:
        if name not in allowed:
            raise BadToken(f"there is no flow {name!r} here")
    return tuple(wanted) or tuple(allowed)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise BadToken("the token is damaged") from None
