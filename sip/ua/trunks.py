"""The configured trunks: which one a URI or an address belongs to, and its credentials."""

from typing import cast

from sip.ua.config import Trunk
from sip.ua.digest import Credentials
from sip.ua.flow import TransportName
from sip.ua.grammar import SipUri


class TrunkState:
    """One trunk and what is known of it now."""

    def __init__(self, trunk: Trunk) -> None:
        """Raises RemoteProtocolError if its registrar or proxy is no host."""
        self.trunk = trunk
        self.uri = trunk.uri
        self.hop = SipUri.parse(f"sip:{trunk.proxy}") if trunk.proxy else trunk.uri
        self.credentials = Credentials(trunk.auth_username or trunk.username, trunk.password, trunk.realm)
        self.transport = cast(TransportName, trunk.transport.upper())
        self.hosts: set[str] = set()  # addresses it was last resolved to


class Trunks:
    """All of them."""

    def __init__(self, trunks: tuple[Trunk, ...]) -> None:
        self.states = [TrunkState(trunk) for trunk in trunks]

    def of_uri(self, uri: SipUri) -> TrunkState | None:
        """The trunk whose registrar is the host of this URI. A port in the URI has to fit as well."""
        for state in self.states:
            if state.uri.host == uri.host and (uri.port or 5060) == (state.uri.port or 5060):
                return state
        return None

    def named(self, name: str) -> TrunkState | None:
        """The trunk of that name."""
        return next((s for s in self.states if s.trunk.name == name), None)

    def of_host(self, host: str) -> TrunkState | None:
        """The trunk that has this address."""
        return next((s for s in self.states if host in s.hosts), None)

    def user_names(self) -> set[str]:
        """User parts under which trunks call us."""
        return {s.trunk.username for s in self.states if s.trunk.username}
