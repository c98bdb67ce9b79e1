"""Encrypts and decrypts the packets of one call: SRTP and SRTCP (RFC 3711, 7714) by libsrtp.

Sits between the socket and everything else; RTP and RTCP are told apart by their type (RFC 5761), as on
the wire. What is not authentic, or came before, is counted and goes no further.
"""

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from media.errors import MissingExtra
from media.rtp import is_rtcp
from sip.sdes import SrtpKeys

WINDOW = 1024  # packets: after a stall many come at once and out of order; RFC 3711, 3.3.2 wants 64 at least
LONGEST = 1340  # bytes of a packet before encryption; libsrtp's binding has room for 1500 with its trailers

_PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": "SRTP_PROFILE_AES128_CM_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32": "SRTP_PROFILE_AES128_CM_SHA1_32",
    "AEAD_AES_128_GCM": "SRTP_PROFILE_AEAD_AES_128_GCM",
    "AEAD_AES_256_GCM": "SRTP_PROFILE_AEAD_AES_256_GCM",
}


@dataclass(slots=True)
class SrtpStats:
    """Packets that went no further."""

    unauthentic: int = 0  # another key, or changed on the way
    replayed: int = 0  # came before, or too old to tell
    failed: int = 0  # no SRTP at all, or too long


@cache
def library() -> ModuleType:
    """The binding. Raises MissingExtra."""
    try:
        import pylibsrtp  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra("srtp", "pylibsrtp") from error
    return pylibsrtp


class Srtp:
    """Of one call. `stats` is the caller's."""

    def __init__(self, keys: SrtpKeys, stats: SrtpStats) -> None:
        """Raises MissingExtra."""
        self._library, self._stats = library(), stats
        self._error: type[Exception] = self._library.Error
        self._keys = keys
        self._sender = self._session(keys.send, sending=True)
        self._receiver = self._session(keys.receive, sending=False)

    @property
    def suite(self) -> str:
        """The cipher, as in SDP."""
        return self._keys.suite

    def rekey(self, keys: SrtpKeys) -> None:
        """From a new agreement on. A direction whose key stays goes on counting where it is: the same key
        must never encrypt two packets of one number (RFC 3711, 9.1)."""
        old, self._keys = self._keys, keys
        if (keys.suite, keys.send) != (old.suite, old.send):
            self._sender = self._session(keys.send, sending=True)
        if (keys.suite, keys.receive) != (old.suite, old.receive):
            self._receiver = self._session(keys.receive, sending=False)

    def protect(self, packet: bytes) -> bytes | None:
        """RTP or RTCP -> SRTP or SRTCP. None if it is too long: counted."""
        try:
            if is_rtcp(packet):
                return self._sender.protect_rtcp(packet)  # type: ignore[no-any-return]
            return self._sender.protect(packet)  # type: ignore[no-any-return]
        except (self._error, ValueError):
            self._stats.failed += 1
            return None

    def unprotect(self, packet: bytes) -> bytes | None:
        """SRTP or SRTCP -> RTP or RTCP. None for what is not to be believed: counted."""
        try:
            if is_rtcp(packet):
                return self._receiver.unprotect_rtcp(packet)  # type: ignore[no-any-return]
            return self._receiver.unprotect(packet)  # type: ignore[no-any-return]
        except (self._error, ValueError) as error:
            self._count(str(error))
            return None

    def _count(self, error: str) -> None:
        if error == "authentication failure":
            self._stats.unauthentic += 1
        elif error.startswith(("replay", "packet index")):
            self._stats.replayed += 1
        else:
            self._stats.failed += 1

    def _session(self, key: bytes, *, sending: bool) -> Any:
        policy = self._library.Policy
        kind = policy.SSRC_ANY_OUTBOUND if sending else policy.SSRC_ANY_INBOUND
        chosen = policy(key, kind, 0, getattr(policy, _PROFILES[self._keys.suite]))
        chosen.window_size = WINDOW
        return self._library.Session(chosen)
