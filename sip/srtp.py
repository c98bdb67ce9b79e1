"""Encrypts and decrypts the packets of one call: SRTP and SRTCP (RFC 3711, 7714) by libsrtp.

Sits between the socket and everything else; its caller tells RTP from RTCP (RFC 5761), once. What is not
authentic, or came before, is counted and goes no further.

pylibsrtp makes the sessions. Packets go to libsrtp's functions by the binding below it, through one room for
all calls: pylibsrtp's own methods, with a room for each direction of each call and a new length for each
packet, take 40 % longer. `tests/sip/test_srtp.py` says what of the binding must stay as it is.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from media.errors import MissingExtra
from sip.sdes import SrtpKeys

WINDOW = 1024  # packets: after a stall many come at once and out of order; RFC 3711, 3.3.2 wants 64 at least
ROOM = 1500  # bytes; longer packets are no audio
TRAILER = 148  # bytes that libsrtp may add: index of SRTCP (4), tag (16), MKI (128)

# srtp_err_status_t of libsrtp's srtp.h, which the binding does not name
OK, UNAUTHENTIC = 0, 7
REPLAYED = (9, 10, 26, 27)  # came before; too old to tell, in the window and in the index

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


class _Room(threading.local):
    """Where a packet is while libsrtp works on it. One a thread: the calls of a loop take turns."""

    def __init__(self) -> None:
        ffi = library()._binding.ffi
        self.packet = ffi.new("char[]", ROOM)
        self.bytes = ffi.buffer(self.packet)
        self.size = ffi.new("int *")


@cache
def _room() -> _Room:
    return _Room()


class Srtp:
    """Of one call. `stats` is the caller's. Belongs to the thread that makes it."""

    __slots__ = ("_bytes", "_functions", "_keys", "_packet", "_receiver", "_sender", "_size", "_stats")

    def __init__(self, keys: SrtpKeys, stats: SrtpStats) -> None:
        """Raises MissingExtra."""
        room = _room()
        self._packet, self._bytes, self._size = room.packet, room.bytes, room.size
        self._functions = library()._binding.lib
        self._keys, self._stats = keys, stats
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
        """RTP -> SRTP. None if it is too long or no RTP: counted, as below."""
        return self._through(self._functions.srtp_protect, self._sender, packet, ROOM - TRAILER)

    def protect_report(self, packet: bytes) -> bytes | None:
        """RTCP -> SRTCP."""
        return self._through(self._functions.srtp_protect_rtcp, self._sender, packet, ROOM - TRAILER)

    def unprotect(self, packet: bytes) -> bytes | None:
        """SRTP -> RTP. None for what is not to be believed: counted, as below."""
        return self._through(self._functions.srtp_unprotect, self._receiver, packet, ROOM)

    def unprotect_report(self, packet: bytes) -> bytes | None:
        """SRTCP -> RTCP."""
        return self._through(self._functions.srtp_unprotect_rtcp, self._receiver, packet, ROOM)

    def _through(
        self, function: Callable[[Any, Any, Any], int], session: Any, packet: bytes, longest: int
    ) -> bytes | None:
        """Work on a copy, in place."""
        length = len(packet)
        if length > longest:
            self._stats.failed += 1
            return None
        room, size = self._bytes, self._size
        room[:length] = packet
        size[0] = length
        status = function(session[0], self._packet, size)
        if status != OK:
            self._count(status)
            return None
        return room[: size[0]]  # type: ignore[no-any-return]

    def _count(self, status: int) -> None:
        if status == UNAUTHENTIC:
            self._stats.unauthentic += 1
        elif status in REPLAYED:
            self._stats.replayed += 1
        else:
            self._stats.failed += 1

    def _session(self, key: bytes, *, sending: bool) -> Any:
        """The handle of a new session, which lives as long as the handle."""
        pylibsrtp = library()
        policy = pylibsrtp.Policy
        kind = policy.SSRC_ANY_OUTBOUND if sending else policy.SSRC_ANY_INBOUND
        chosen = policy(key, kind, 0, getattr(policy, _PROFILES[self._keys.suite]))
        chosen.window_size = WINDOW
        return pylibsrtp.Session(chosen)._srtp
