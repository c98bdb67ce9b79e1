"""Settings of calls from web pages."""

import re
from dataclasses import dataclass

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d{1,5})?|https?://\[[0-9a-f:.]+\](:\d{1,5})?")
_STUN = re.compile(r"stuns?:[^\s/?]+")
_TURN = re.compile(r"turns?:[^\s/?]+(\?transport=(udp|tcp))?")


@dataclass(frozen=True, slots=True)
class WebRtcConfig:
    """The softphone in the browser: the page at / and the script that other pages may embed."""

    enabled: bool = True
    """Serve it. Needs `pip install voicegw[webrtc]`."""
    flows: tuple[str, ...] = ()
    """Names of flows that may be called from the page, the first one by default. Empty: all."""
    origins: tuple[str, ...] = ()
    """Web pages that may embed the softphone, such as https://www.example.com. Browsers at other pages
    are refused."""
    embed_flows: tuple[str, ...] = ()
    """Flows that embedded softphones may call: strangers use them. Empty: those of `flows`."""
    hosts: tuple[str, ...] = ()
    """Addresses of this machine that media uses. Empty: all of them but loopback."""
    first_port: int = 0
    """First UDP port for media, one a call and address; 0 in both: any port the system gives."""
    last_port: int = 0
    """Last UDP port for media."""
    public_host: str = ""
    """IP address that the world reaches this machine by, where it has only
    private ones (a cloud's 1:1 NAT)."""
    stun: tuple[str, ...] = ()
    """STUN servers for browsers, such as stun:stun.example.com:3478. Only browsers behind NAT that call each
    other need them; a server that the world reaches needs none."""
    turn: tuple[str, ...] = ()
    """TURN servers for browsers whose firewall lets no UDP out: turn:turn.example.com:3478 and
    turns:turn.example.com:443?transport=tcp."""
    turn_secret: str = ""
    """The secret shared with the TURN server (coturn: use-auth-secret, static-auth-secret). Browsers get
    credentials made of it that end by themselves."""
    turn_lifetime_s: int = 7200
    """How long such credentials are good for: longer than any call, since relays ask again in mid-call."""
    relay_only: bool = False
    """Browsers must use TURN: their addresses stay unknown to this server. Mostly a test of TURN."""
    max_calls: int = 50
    """Browser calls at once. Encryption and Opus take about five times the CPU of a SIP call."""
    connect_s: float = 20.0
    """How long a browser may take to get through to us with its media."""
    resume_s: float = 25.0
    """How long a call waits for a browser whose network is gone. Browsers give up after 30."""

    def __post_init__(self) -> None:
        """Raises ValueError."""
        for name, urls, form in (("stun", self.stun, _STUN), ("turn", self.turn, _TURN)):
            for url in urls:
                if not form.fullmatch(url):
                    raise ValueError(
                        f"{url!r} is no URL of a {name.upper()} server, such as {name}:host:3478"
                    )
        for origin in self.origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin, such as https://www.example.com (no path)")
        if self.turn and not self.turn_secret:
            raise ValueError("turn needs turn_secret, the secret shared with the TURN server")
        if self.relay_only and not self.turn:
            raise ValueError("relay_only needs turn")
        if self.resume_s < 2:
            raise ValueError("resume_s must be 2 or more: a second without audio is nothing unusual")
        if bool(self.first_port) != bool(self.last_port) or self.first_port > self.last_port:
            raise ValueError("first_port and last_port name a range, or are both 0")
