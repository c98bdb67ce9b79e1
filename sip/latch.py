"""Symmetric RTP: send to where the far end's packets come from. A core.

A phone behind NAT writes an address into its SDP that leads nowhere; its packets show the right one.
But whoever can send us a packet first must not get the call (the "RTP bleed" attack sprays packets over
all ports): only the host of the SDP, the host that signals, and networks that the operator trusts are
believed. When a source may be another than the one before:

| when | who may take over |
|---|---|
| before the first packet, and after each new agreement (re-INVITE, UPDATE) | any host that is believed |
| in the first second | the agreed address itself, over whoever came before it |
| later | the same host from another port (a NAT that binds anew), once the old port was silent for 2 s |
| ever | nobody else |
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

PACKETS = 50  # 1 s of audio: early media of a gateway may come from another port than the call's
REBIND_S = 2.0  # of silence, after which a NAT may have given the phone another port

Network = IPv4Network | IPv6Network
Address = tuple[str, int] | tuple[str, int, int, int]  # the latter of IPv6: flow and scope too


class Latch:
    """The far end's address, as agreed and as seen."""

    def __init__(self, signalling_host: str = "", trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)
        self.signalling_host = signalling_host
        """Who signals now, set by the endpoint: another one after a transfer. "": nobody."""
        self._agreed: Address = ("", 0)
        self.packets = 0
        """Packets of the current source; the driver counts them."""
        self.heard_at = 0.0
        """When the last of them came; the driver's too."""
        self.source: Address | None = None
        """Where packets come from; None until the first."""
        self.target: Address = ("", 0)
        """Where to send to."""

    def agree(self, host: str, port: int) -> None:
        """A new agreement: believe the first source again."""
        self._agreed = self.target = (host, port)
        self.source = None
        self.packets = 0

    def accepts(self, source: Address, now: float) -> bool:
        """Whether a packet from `source` belongs to the call. For sources other than `self.source`; `now` in
        seconds of the driver's clock."""
        if not self._may_take_over(source, now):
            return False
        self.source = self.target = source
        self.packets = 0
        return True

    def same_host(self, source: Address) -> bool:
        """Whether `source` is the host that the call's audio comes from, or should."""
        if self.source is not None:
            return source[0] == self.source[0]
        return self._believes(source[0])

    def _may_take_over(self, source: Address, now: float) -> bool:
        if self.source is None:
            return self._believes(source[0])
        if source[:2] == self._agreed[:2] and self.packets <= PACKETS:
            return True
        return source[0] == self.source[0] and now - self.heard_at > REBIND_S

    def _believes(self, host: str) -> bool:
        if host in {self._agreed[0], self.signalling_host}:
            return True
        if not self._trusted:
            return False
        address = ip_address(host)
        return any(address in network for network in self._trusted)
