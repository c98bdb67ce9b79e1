"""Who may talk to us at all, decided by source address before a byte is parsed."""

from collections import Counter
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network

CACHE = 1024  # addresses whose verdict is remembered; scanners must not grow it without bound


class SourceFilter:
    """Loopback, the configured networks, and peers that we hold a relation with."""

    open = False
    """Everybody is listened to, and whoever is not known has to prove who he is."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Raises ValueError for what is no network."""
        self._networks = tuple(ip_network(n) for n in networks)
        self._held: Counter[str] = Counter()
        self._verdicts: dict[str, bool] = {}

    def allows(self, host: str) -> bool:
        """Whether what this IP address sends is read."""
        return self.open or self.holds(host) or self.known(host)

    def known(self, host: str) -> bool:
        """Whether it is this machine or of the configured networks."""
        verdict = self._verdicts.get(host)
        if verdict is None:
            if len(self._verdicts) >= CACHE:
                self._verdicts.clear()
            verdict = self._verdicts[host] = self._judge(host)
        return verdict

    def holds(self, host: str) -> bool:
        """Whether we talk to this address."""
        return host in self._held

    def hold(self, host: str) -> None:
        """We talk to this address: listen to it until `release`. Counted."""
        self._held[host] += 1

    def release(self, host: str) -> None:
        """The reverse of `hold`."""
        self._held[host] -= 1
        if self._held[host] <= 0:
            del self._held[host]

    def _judge(self, host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address.is_loopback or any(address in network for network in self._networks)


def network(host: str) -> str:
    """What counts as one source."""
    if ":" not in host:
        return host
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Address(int(address) >> 64 << 64))
    return host
