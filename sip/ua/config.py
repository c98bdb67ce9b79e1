"""Configuration of the SIP user agent. Media (codecs, RTP ports) is `sip.rtpmedia.RtpConfig`."""

import socket
from dataclasses import dataclass
from enum import StrEnum

from sip.sdes import SrtpPolicy
from sip.ua.accounts import Account, Challenge, DigestAlgorithm
from sip.ua.grammar import SipUri
from sip.ua.sources import SourceLimits


class Reach(StrEnum):
    """How far a far end may send a call of ours."""

    NEVER = "never"
    SAME_HOST = "same_host"
    ANYWHERE = "anywhere"


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
    trusted: bool = False
    """Believe who calls through it as it asserts (P-Asserted-Identity), and tell it who really calls, even
    where the caller wants to stay unknown to the called party. For providers with whom that is agreed."""
    transport: str = "udp"
    """udp, tcp or tls. The port is then 5061 unless given, and the certificate must be for the registrar's
    name (sip.tls)."""

    srtp: SrtpPolicy | None = None
    """off, optional or required, where it differs from `rtp.srtp`."""

    def __post_init__(self) -> None:
        _check_transports("transport", (self.transport,))

    @property
    def uri(self) -> SipUri:
        """The registrar as a URI. Raises RemoteProtocolError for what is no host."""
        return SipUri.parse(f"sip:{self.registrar}")


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Encrypted signalling, 1.2 or 1.3. Files are read anew within 15 s of a change, without a restart."""

    port: int = 5061
    """TCP port for TLS, if `transports` has tls. 0: any free one."""
    certificate: str = ""
    """PEM file with our certificate and what leads to its root (fullchain.pem). Needed to be called by TLS;
    shown to peers that we call."""
    key: str = ""
    """PEM file with its private key. Empty: it is in `certificate` too."""
    key_password: str = ""
    """Where the key is encrypted. Write ${NAME} to take it from the environment."""
    ca_file: str = ""
    """PEM file with the authorities to believe. Empty: those of the system."""
    verify_server: bool = True
    """Call only servers whose certificate is valid and for the name that we call. False is for tests: anyone
    on the way can then listen."""
    verify_client: bool = False
    """Take connections only of peers with a certificate from `ca_file`."""


@dataclass(frozen=True, slots=True)
class DnsConfig:
    """How the servers of a domain are found: names in the addresses that we call, and of trunks."""

    srv: bool = True
    """Look for NAPTR and SRV records of names without a port (RFC 3263): providers name several servers by
    them. Without any, and for names without a dot, it is the address that counts."""
    servers: tuple[str, ...] = ()
    """Name servers to ask, with a port if it is not 53: "10.0.0.2", "10.0.0.2:5353". Empty: the system's."""
    timeout_s: float = 2.0
    """For one question; then it counts as unanswered."""
    failover_s: float = 4.0
    """How long a call waits for a sign of life, if there is another server to ask."""
    dead_s: float = 60.0
    """How long a server that did not answer stands behind the others."""


def _check_transports(name: str, values: tuple[str, ...]) -> None:
    for value in values:
        if value.lower() not in {"udp", "tcp", "tls"}:
            raise ValueError(f"{name} must be udp, tcp or tls, not {value!r}")


@dataclass(frozen=True, slots=True)
class SipConfig:
    """The user agent's sockets, peers and limits."""

    host: str = "127.0.0.1"
    """Address to bind: one of this machine, or 0.0.0.0 (all IPv4) or :: (all, IPv4 too). By default only
    programs on this machine can call: opening a SIP port to a network is a decision."""
    port: int = 5060
    """UDP and TCP port. 0: any free one (both transports get the same)."""
    transports: tuple[str, ...] = ("udp", "tcp")
    """Any of udp, tcp and tls; the last needs `tls.certificate`."""
    tls: TlsConfig = TlsConfig()
    public_host: str = ""
    """Address that the world reaches us by, when it is not that of the socket (NAT). Goes into Via,
    Contact and SDP for every peer but this machine itself. Empty: the socket's address."""
    user: str = "bot"
    """User part of our address: sip:bot@host:port."""
    allow: tuple[str, ...] = ()
    """Networks whose calls are taken: "192.0.2.0/24", "10.1.2.3". This machine, the trunks and whoever
    we are calling are allowed anyway. All others get no answer: an open SIP port is scanned within
    minutes, and every answer invites more."""
    dns: DnsConfig = DnsConfig()
    per_source: SourceLimits = SourceLimits()
    trunks: tuple[Trunk, ...] = ()
    """Providers and PBXs; see below."""
    user_agent: str = "voicegw"
    """What the User-Agent and Server headers say."""
    max_calls: int = 500
    """Calls at once, ringing ones included; more are refused with 503. The last resort behind the
    application's own admission."""
    max_message_bytes: int = 65_535
    """Longest message taken on TCP and TLS; on UDP a datagram cannot be longer."""
    max_connections: int = 256
    """TCP and TLS connections at once, those in their TLS handshake included, of which the oldest gives way
    to a newer connection; more are closed."""
    max_transactions: int = 20_000
    """Transactions at once; requests beyond get 503. One takes about 3 KB for 32 seconds."""
    ring_limit_s: float = 180.0
    """A ringing call that the application has not decided about by then gets 480. Proxies give up
    after 180 s (RFC 3261, timer C)."""
    transfer_timeout_s: float = 60.0
    """How long to wait for the result of a transfer: the target has to ring and answer."""
    accounts: tuple[Account, ...] = ()
    """Softphones that register here by password; see below."""
    realm: str = "voicegw"
    """What the password is for, as phones show it; also a domain by which accounts call each other."""
    challenge: Challenge = Challenge.NEVER
    """Who is asked for a password (of `accounts`) before a call is taken: never, strangers (whoever is not in
    `allow`), everybody (but the trunks). With strangers or everybody the port answers anybody: phones can
    register from any network, and scanners learn that there is a SIP server. Wrong passwords lead to a ban
    (per_source)."""
    digest_algorithms: tuple[DigestAlgorithm, ...] = (DigestAlgorithm.MD5,)
    """How passwords may be proven, the preferred way first: MD5, SHA-256. MD5 is what all phones know; many
    that do not know SHA-256 give up when they are offered both, so offer it where all of yours do."""
    session_expires_s: int = 1800
    """Session timer (RFC 4028): a call whose far end has vanished is ended within this time. Carriers refuse
    values below their minimum, which we then take. 0: only where the far end wants one."""
    min_se_s: int = 90
    """Shortest session timer that we accept, 90 or more; shorter ones get 422."""
    redirects: Reach = Reach.SAME_HOST
    """Which 3xx answers to our calls are followed: never, same_host (another number at the host or trunk that
    was called), anywhere. Whoever is called decides where the call goes then, and what it costs."""
    max_redirects: int = 5
    """Addresses tried after redirects, in all, for one call."""
    refer: Reach = Reach.NEVER
    """Which transfers are taken that a far end asks us for (REFER): never, same_host (targets at its own
    host or trunk), anywhere. The call goes on with the target; calls cost money."""
    keepalive_s: float = 25.0
    """Interval of keep-alives towards trunks: UDP bindings of home routers live 30 s. 0: none."""

    def __post_init__(self) -> None:
        _check_transports("transports", self.transports)
        if "tls" in {t.lower() for t in self.transports} and not self.tls.certificate:
            raise ValueError("transports has tls, which needs a certificate: set tls.certificate")
        if self.min_se_s < 90 or 0 < self.session_expires_s < self.min_se_s:
            raise ValueError("min_se_s must be 90 or more, and session_expires_s 0 or not below it")
        names = [name for account in self.accounts for name in account.names]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"accounts: {', '.join(sorted(twice))} is given twice")
        if self.challenge is not Challenge.NEVER and not self.accounts:
            raise ValueError("challenge asks for passwords, but there are no accounts")
        if not self.digest_algorithms or not self.realm:
            raise ValueError("digest_algorithms and realm must not be empty")

    @property
    def families(self) -> tuple[socket.AddressFamily, ...]:
        """Of the addresses that we can reach."""
        if self.host == "::":
            return socket.AF_INET, socket.AF_INET6
        return (socket.AF_INET6,) if ":" in self.host else (socket.AF_INET,)
