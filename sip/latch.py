"""Symmetric RTP: send to where the far end's packets come from. A core.

A phone behind NAT writes an address into its SDP that leads nowhere; its packets show the right one.
But whoever can send us a packet first must not get the call: only the host of the SDP, the host that
signals, and networks that the operator trusts are believed, only until some packets have come, and
anew after each re-INVITE.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

PACKETS = 50  # 1 s of audio: early media of a gateway may come from another port than the call's

Network = IPv4Network | IPv6Network
Address = tuple[str, int] | tuple[str, int, int, int]  # the latter of IPv6: flow and scope too


class Latch:
    """The far end's address, as agreed and as seen."""

    def __init__(self, signalling_host: str = "", trusted: Sequence[Network] = ()) -> None:
        self._signalling_host, self._trusted = signalling_host, tuple(trusted)
        self._agreed: Address = ("", 0)
        self.packets = 0
        """Packets of the current source; the driver counts them."""
        self.source: Address | None = None
        """Where packets come from; None until the first."""
        self.target: Address = ("", 0)
        """Where to send to."""

    def agree(self, host: str, port: int) -> None:
        """A new agreement: believe the first source again."""
        self._agreed = self.target = (host, port)
        self.source = None
        self.packets = 0

    def accepts(self, source: Address) -> bool:
        """Whether a packet from `source` belongs to the call. For sources other than `self.source`."""
        if self.source is not None:
            # One correction: the agreed address itself beats whoever came before it.
            if source[:2] != self._agreed[:2] or self.packets > PACKETS:
                return False
        elif not self._believes(source[0]):
            return False
        self.source = self.target = source
        return True

    def _believes(self, host: str) -> bool:
        if host in {self._agreed[0], self._signalling_host}:
            return True
        if not self._trusted:
            return False
        address = ip_address(host)
        return any(address in network for network in self._trusted)
