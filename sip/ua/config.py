"""Configuration of the SIP user agent. Media (codecs, RTP ports) is `sip.rtpmedia.RtpConfig`."""

from dataclasses import dataclass

from sip.ua.grammar import SipUri


@dataclass(frozen=True, slots=True)
class Trunk:
    """A provider or PBX that we call through, and that calls us."""

    name: str
    """How logs and metrics call it."""
    registrar: str
    """Its host, with a port if it is not 5060: "sip.example.com" or "10.0.0.5:5070"."""
    username: str = ""
    """User part of our address there; also the digest user name unless auth_username is set."""
    password: str = ""
    """For digest challenges. Write ${NAME} to take it from the environment."""
    auth_username: str = ""
    """Digest user name where it differs from username."""
    realm: str = ""
    """Answer only challenges of this realm. Empty: any."""
    register: bool = True
    """Register there, so that it calls us. False for trunks that know our address."""
    expires_s: int = 600
    """Wanted lifetime of the registration in seconds, 60-86400. Short: a lost one heals sooner."""
    proxy: str = ""
    """Outbound proxy as host or host:port, where requests go instead of the registrar."""
    transport: str = "udp"
    """udp or tcp."""

    @property
    def uri(self) -> SipUri:
        """The registrar as a URI. Raises RemoteProtocolError for what is no host."""
        return SipUri.parse(f"sip:{self.registrar}")


@dataclass(frozen=True, slots=True)
class SipConfig:
    """The user agent's sockets, peers and limits."""

    host: str = "127.0.0.1"
    """Address to bind: one of this machine, or 0.0.0.0 (all IPv4) or :: (all IPv6). By default only
    programs on this machine can call: opening a SIP port to a network is a decision."""
    port: int = 5060
    """UDP and TCP port. 0: any free one (both transports get the same)."""
    transports: tuple[str, ...] = ("udp", "tcp")
    """udp, tcp or both."""
    public_host: str = ""
    """Address that the world reaches us by, when it is not that of the socket (NAT). Goes into Via,
    Contact and SDP for every peer but this machine itself. Empty: the socket's address."""
    user: str = "bot"
    """User part of our address: sip:bot@host:port."""
    allow: tuple[str, ...] = ()
    """Networks whose calls are taken: "192.0.2.0/24", "10.1.2.3". This machine, the trunks and whoever
    we are calling are allowed anyway. All others get no answer: an open SIP port is scanned within
    minutes, and every answer invites more."""
    trunks: tuple[Trunk, ...] = ()
    """Providers and PBXs; see below."""
    user_agent: str = "voicegw"
    """What the User-Agent and Server headers say."""
    max_calls: int = 500
    """Calls at once, ringing ones included; more are refused with 503. The last resort behind the
    application's own admission."""
    max_message_bytes: int = 65_535
    """Longest message taken on TCP; on UDP a datagram cannot be longer."""
    max_connections: int = 256
    """TCP connections at once; more are closed."""
    max_transactions: int = 20_000
    """Transactions at once; requests beyond get 503. One takes about 3 KB for 32 seconds."""
    ring_limit_s: float = 180.0
    """A ringing call that the application has not decided about by then gets 480. Proxies give up
    after 180 s (RFC 3261, timer C)."""
    transfer_timeout_s: float = 60.0
    """How long to wait for the result of a transfer: the target has to ring and answer."""
    keepalive_s: float = 25.0
    """Interval of keep-alives towards trunks: UDP bindings of home routers live 30 s. 0: none."""
