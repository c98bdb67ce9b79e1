"""Where a far end may send a call of ours: the targets of 3xx answers (RFC 3261, 8.1.3.4) and of REFER."""

from collections.abc import Collection

from sip.errors import RemoteProtocolError
from sip.ua.config import Reach, SipConfig
from sip.ua.grammar import Address, SipUri
from sip.ua.message import Response
from sip.ua.trunks import Trunks, TrunkState


def may_reach(reach: Reach, target: SipUri, hosts: Collection[str]) -> bool:
    """Whether the setting lets a peer that goes by `hosts` send us to `target`."""
    if target.scheme not in ("sip", "sips"):
        return False
    return reach is Reach.ANYWHERE or (reach is Reach.SAME_HOST and target.host in hosts)


def contacts(response: Response) -> list[SipUri]:
    """Where a 3xx sends us, the most wanted first. What cannot be read is left out."""
    found: list[tuple[float, SipUri]] = []
    for value in response.headers.values("contact"):
        try:
            address = Address.parse(value)
            uri = address.sip_uri()
        except RemoteProtocolError:
            continue
        found.append((address.weight, uri))
    return [uri for _, uri in sorted(found, key=lambda item: -item[0])]


class Redirects:
    """Of one call: what it was sent to, so that it runs in no circle."""

    def __init__(self, config: SipConfig, target: SipUri) -> None:
        self._config = config
        self._tried = {str(target)}

    def follow(self, response: Response, target: SipUri, trunk: TrunkState | None) -> list[SipUri]:
        """Where a 3xx of `target` sends us, as far as the settings let it."""
        hosts = {target.host}
        if trunk is not None:
            hosts |= {trunk.uri.host, *trunk.hosts}
        found: list[SipUri] = []
        for uri in contacts(response):
            new = str(uri) not in self._tried and len(self._tried) <= self._config.max_redirects
            if new and may_reach(self._config.redirects, uri, hosts):
                self._tried.add(str(uri))
                found.append(uri)
        return found


def trunk_after(trunks: Trunks, trunk: TrunkState | None, target: SipUri) -> TrunkState | None:
    """The trunk of a redirected call: that of the new target, or the same if it sent to one of its hosts."""
    found = trunks.of_uri(target)
    if found is None and trunk is not None and target.host in {trunk.uri.host, *trunk.hosts}:
        return trunk
    return found
