"""UDP ports for RTP: even ones (RFC 3550, section 11) of a range that a firewall can be opened for.

A port rests for some seconds after its call, so that late packets of one caller never reach the next.
"""

import socket
from collections import deque

from sip.errors import SipError

REST_S = 10.0  # far ends stop sending well before: BYE is retransmitted for 32 s only if unanswered
EVERYWHERE = frozenset({"0.0.0.0", "::"})
TRIES = 1000  # ports that others may hold before we give up: a second server has hundreds. 6 us each


class PortsExhausted(SipError):
    """All RTP ports are in use: answer 503."""


class RtpPorts:
    """The range, shared by all calls. Times in seconds of any clock."""

    def __init__(self, host: str, first: int, last: int) -> None:
        """Binds on `host`; ports `first` to `last`. Both 0: any port the system gives."""
        self._host = host
        self._any = first == last == 0
        self._free = deque(range(first + first % 2, last + 1, 2))
        self._resting: deque[tuple[float, int]] = deque()  # rested at, port
        if not self._any and not (0 < first <= last < 65536 and self._free):
            raise ValueError(f"no even port between {first} and {last}")

    @property
    def free(self) -> int:
        """How many calls there is room for."""
        return len(self._free) + len(self._resting)

    def bind(self, now: float, *, ipv6: bool | None = None) -> socket.socket:
        """A non-blocking socket on a free port; `ipv6` chooses where all addresses are bound, None: as the
        configuration has it. Raises PortsExhausted."""
        host = self._host
        if ipv6 is not None and host in EVERYWHERE:
            host = "::" if ipv6 else "0.0.0.0"
        if self._any:
            return _socket(host, 0)
        while self._resting and (self._resting[0][0] <= now or not self._free):
            self._free.append(self._resting.popleft()[1])  # rested, or needed after all
        for _ in range(min(TRIES, len(self._free))):
            port = self._free.popleft()
            try:
                return _socket(host, port)
            except OSError:
                self._free.append(port)  # somebody else's for now
        raise PortsExhausted("no free RTP port")

    def bind_next(self, sock: socket.socket) -> socket.socket | None:
        """A non-blocking socket on the port after that of one from `bind`, for RTCP; None if it is taken."""
        host, port = sock.getsockname()[:2]
        try:
            return _socket(host, port + 1)
        except (OSError, OverflowError):
            return None

    def release(self, sock: socket.socket, now: float) -> None:
        """Close a socket from `bind`; its port rests."""
        port = sock.getsockname()[1]
        sock.close()
        if not self._any:
            self._resting.append((now + REST_S, port))


def _socket(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if sock.family is socket.AF_INET6:  # else a port would be taken in the other family too
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
