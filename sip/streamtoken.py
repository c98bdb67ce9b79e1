"""Passes to media sockets: signed, short-lived, good for one connection.

The address of a socket is no secret, so the one that a webhook hands out carries a pass in its path (carriers
drop queries). It names the call, so that it opens the door to that call alone.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from uuid import uuid4

from sip.webpeer import same_secret

LIFETIME_S = 60.0  # carriers connect within a second or two; a call that is bridged first may ring meanwhile
_NONCE, _MAC = 12, 20  # bytes
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class BadToken(Exception):
    """No pass, or none any more; the message says why."""


class StreamTokens:
    """Issues passes and takes each once."""

    def __init__(self, now: Callable[[], float], lifetime_s: float = LIFETIME_S) -> None:
        """`now` in seconds, of any clock that never jumps back."""
        self._now, self._lifetime = now, lifetime_s
        self._key = secrets.token_bytes(32)  # of this process: a call lives and dies in one
        self._open: dict[str, tuple[float, str]] = {}  # nonce -> end of its life, call; the oldest first

    def issue(self, call: str) -> str:
        """A pass for `call`, any string."""
        self._forget()
        nonce = secrets.token_urlsafe(_NONCE)
        self._open[nonce] = (self._now() + self._lifetime, call)
        return f"{nonce}.{self._mac(nonce)}"

    def issue_uuid(self, call: str) -> str:
        """A pass that is a UUID, where no other fits. Random, so it is as hard to guess."""
        self._forget()
        nonce = str(uuid4())
        self._open[nonce] = (self._now() + self._lifetime, call)
        return nonce

    def redeem(self, token: str) -> str:
        """The call that a pass is for; it is used up. Raises BadToken."""
        nonce, _, mac = token.partition(".")
        if not (_UUID.fullmatch(token) or same_secret(mac, self._mac(nonce))):
            raise BadToken("forged")
        known = self._open.pop(nonce, None)
        if known is None:
            raise BadToken("used before, or forgotten")
        expires, call = known
        if self._now() > expires:
            raise BadToken("too old")
        return call

    def _mac(self, nonce: str) -> str:
        mac = hmac.new(self._key, nonce.encode("utf-8", "replace"), hashlib.sha256).digest()[:_MAC]
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def _forget(self) -> None:
        now = self._now()
        while self._open:
            nonce = next(iter(self._open))
            if self._open[nonce][0] >= now:
                return
            del self._open[nonce]
