"""ICE as aioice does it, on the addresses and ports that the configuration allows.

We are the controlled side and gather host candidates only: a server is reached at its own address, or at
`public_host`. Browsers behind NAT find us from there, by TURN if need be (RFC 8445, section 5.1.1).
"""

import asyncio
import logging
import random

from aioice import Candidate, Connection
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol

from sip.errors import RemoteProtocolError
from sip.webrtc.config import WebRtcConfig
from sip.webrtc.sdp import MAX_CANDIDATES

log = logging.getLogger(__name__)

PORT_TRIES = 20
COMPONENT = 1  # RTP and RTCP share one (RFC 5761)


class IceAgent(Connection):
    """One generation of candidates: a restart makes a new agent (RFC 8445, section 9)."""

    def __init__(self, config: WebRtcConfig, user: str, password: str) -> None:
        """The browser's ICE user name and password."""
        super().__init__(ice_controlling=False)
        self._config = config
        self.remote_username, self.remote_password = user, password
        self._candidates, self._ended = 0, False

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[Candidate]:
        """Called by `gather_candidates` with all addresses of this machine but loopback."""
        candidates = []
        for address in self._config.hosts or addresses:
            protocol = await self._bind(address)
            if protocol is None:
                continue
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            self._protocols.append(protocol)
            candidates.append(protocol.local_candidate)
        return candidates

    async def _bind(self, address: str) -> StunProtocol | None:
        """A socket on this address; None where that cannot be (it is being removed, all ports are taken)."""
        loop, first, last = asyncio.get_running_loop(), self._config.first_port, self._config.last_port
        for _ in range(PORT_TRIES if first else 1):
            port = random.randint(first, last) if first else 0
            try:
                _, protocol = await loop.create_datagram_endpoint(
                    lambda: StunProtocol(self), local_addr=(address, port)
                )
            except OSError as error:
                log.debug("no media socket", extra={"address": address, "port": port, "error": str(error)})
                continue
            return protocol
        return None

    def descriptions(self) -> list[str]:
        """Our candidates as in SDP, under the public address where there is one."""
        public = self._config.public_host
        found: dict[str, None] = {}
        for candidate in self.local_candidates:
            text = candidate.to_sdp()
            if public and (":" in public) == (":" in candidate.host):
                text = text.replace(f" {candidate.host} ", f" {public} ", 1)
            found[text] = None
        return list(found)

    async def remote(self, text: str | None) -> None:
        """A candidate of the browser, as in SDP without "candidate:"; None: there are no more. Raises
        RemoteProtocolError."""
        if self._ended:
            return
        if text is None:
            self._ended = True
            await self.add_remote_candidate(None)
            return
        self._candidates += 1
        if self._candidates > MAX_CANDIDATES:
            raise RemoteProtocolError(f"more than {MAX_CANDIDATES} candidates")
        try:
            candidate = Candidate.from_sdp(text)
        except ValueError:
            raise RemoteProtocolError(f"bad candidate {text[:100]!r}") from None
        # Names (mDNS) need not be resolved: the browser's check tells its address.
        usable = candidate.transport.lower() == "udp" and not candidate.host.endswith(".local")
        if usable and candidate.component == COMPONENT and candidate.port:
            try:
                await self.add_remote_candidate(candidate)
            except ValueError:
                raise RemoteProtocolError(f"bad candidate {text[:100]!r}") from None
