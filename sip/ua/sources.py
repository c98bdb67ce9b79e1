"""Who sends too much, too often wrong, or guesses passwords: limits and bans for each source address. A core.

Known sources (filter.py) come first; of those this machine and the trunks are never limited: a provider
sends for all callers. A source is an IPv4 address, or the /64 of an IPv6 one, which is what one customer has.

Only what an address has surely sent bans it: what came by TCP or TLS, and wrong answers to a challenge that
was sent there (authority.py). The source of any other datagram may be forged, to have an honest phone banned:
such are dropped beyond the rate, and never lead to a ban.

Memory is bounded: the sources heard of longest ago are forgotten.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sip.ua.counters import SipCounters
from sip.ua.filter import SourceFilter, network
from sip.ua.flow import Flow

SOURCES = 10_000  # remembered, and as many bans
FLOOD = 10  # bursts dropped within the window: whoever sends on like that is banned


@dataclass(frozen=True, slots=True)
class SourceLimits:
    """What one source may do; this machine and the trunks may do more. 0: no limit."""

    requests_per_s: float = 50.0
    """Requests each second over a longer time; more are dropped unread. A call is three: INVITE, ACK, BYE.
    What is no SIP counts as one, and so does a response that nobody waits for."""
    burst: int = 200
    """Requests at once, beyond that rate."""
    max_calls: int = 50
    """Calls at a time, ringing ones included; more get 486."""
    auth_failures: int = 10
    """Wrong passwords within `window_s`, in answer to challenges that were sent there, after which the source
    is banned."""
    malformed: int = 30
    """Messages by TCP or TLS that are no SIP within `window_s`, after which the source is banned. By UDP
    anybody can send such in another's name."""
    window_s: float = 60.0
    """The time in which failures are counted."""
    ban_s: float = 600.0
    """How long a banned source gets no answer at all."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A source that is not listened to."""

    host: str  # an address, or the first one of an IPv6 network
    reason: str
    until: float  # on the clock of whoever asks


class _Record:
    """What is known of one source."""

    __slots__ = ("auth", "dropped", "malformed", "since", "tokens", "updated")

    def __init__(self, tokens: float, now: float) -> None:
        self.tokens, self.updated = tokens, now
        self.since = now  # when the failures began to be counted
        self.auth = self.malformed = self.dropped = 0


class Sources(SourceFilter):
    """The filter, with a memory."""

    def __init__(
        self,
        networks: Iterable[str],
        limits: SourceLimits,
        counters: SipCounters,
        clock: Callable[[], float],
        trusted: Callable[[str], bool] = lambda host: False,
    ) -> None:
        """`clock` in seconds of any origin; `trusted` hosts are never limited. Raises ValueError for what is
        no network."""
        super().__init__(networks)
        self.limits = limits
        self._counters, self._clock, self._trusted = counters, clock, trusted
        self.on_ban: Callable[[Ban], None] = lambda ban: None
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._bans: OrderedDict[str, Ban] = OrderedDict()  # by when they end

    def exempt(self, host: str) -> bool:
        """Whether this source may do what it likes."""
        return host == "::1" or host.startswith("127.") or self._trusted(host)

    def banned(self, host: str) -> bool:
        """Whether nothing of this source is read; counted."""
        if not self._bans:
            return False
        ban = self._bans.get(network(host))
        if ban is None:
            return False
        if ban.until <= self._clock():
            self.lift(host)
            return False
        self._counters.banned += 1
        return True

    def admits(self, flow: Flow) -> bool:
        """Whether one more request that came so is read; counted."""
        limits, host = self.limits, flow.host
        if not limits.requests_per_s or self.exempt(host):
            return True
        record, now = self._record(host), self._clock()
        gained = (now - record.updated) * limits.requests_per_s
        record.tokens, record.updated = min(max(1, limits.burst), record.tokens + gained), now
        if record.tokens >= 1:
            record.tokens -= 1
            return True
        self._counters.throttled += 1
        record.dropped += flow.reliable
        if record.dropped > FLOOD * max(1, limits.burst):
            self._ban(host, "too many requests")
        return False

    def failed_auth(self, host: str) -> None:
        """A wrong password, or a user who does not exist, in answer to a challenge that was sent there."""
        self._counters.auth_failures += 1
        record = self._record(host)
        record.auth += 1
        if 0 < self.limits.auth_failures <= record.auth:
            self._ban(host, "wrong passwords")

    def malformed(self, flow: Flow) -> None:
        """A message that is no SIP."""
        if not flow.reliable:
            return
        record = self._record(flow.host)
        record.malformed += 1
        if 0 < self.limits.malformed <= record.malformed:
            self._ban(flow.host, "messages that are no SIP")

    @property
    def bans(self) -> list[Ban]:
        """Those in force, the ones that end first before the others."""
        now = self._clock()
        while self._bans and next(iter(self._bans.values())).until <= now:
            self._bans.popitem(last=False)
        return list(self._bans.values())

    def lift(self, host: str) -> bool:
        """Listen to a banned source again. False if it was not banned."""
        self._records.pop(network(host), None)
        return self._bans.pop(network(host), None) is not None

    def _record(self, host: str) -> _Record:
        source, now = network(host), self._clock()
        record = self._records.get(source)
        if record is None:
            if len(self._records) >= SOURCES:
                self._records.popitem(last=False)
            record = self._records[source] = _Record(self.limits.burst, now)
        else:
            self._records.move_to_end(source)
        if now - record.since > self.limits.window_s:
            record.since = now
            record.auth = record.malformed = record.dropped = 0
        return record

    def _ban(self, host: str, reason: str) -> None:
        if not self.limits.ban_s or self.exempt(host):
            return
        source = network(host)
        if len(self._bans) >= SOURCES:
            self._bans.popitem(last=False)
        self._bans[source] = Ban(source, reason, self._clock() + self.limits.ban_s)
        self._bans.move_to_end(source)
        self._records.pop(source, None)
        self._counters.bans += 1
        self.on_ban(self._bans[source])
