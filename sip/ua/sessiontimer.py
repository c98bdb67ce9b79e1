"""Session timers: both ends notice that a call is dead although no BYE came (RFC 4028).

A core: headers in, an `Interval` out. Whoever refreshes sends UPDATE or re-INVITE at half the interval; the
other end hangs up when nothing came shortly before its end.
"""

from dataclasses import dataclass

from sip.errors import RemoteProtocolError
from sip.ua.grammar import parse_params
from sip.ua.message import Headers, Request, Response

SHORTEST_S = 90  # RFC 4028, 5: no Min-SE lies below
LONGEST_S = 86_400


@dataclass(frozen=True, slots=True)
class TimerPolicy:
    """What we want. `expires_s` 0: we ask for nothing, but keep to what a peer asks for."""

    expires_s: int = 1800
    min_s: int = SHORTEST_S


@dataclass(frozen=True, slots=True)
class Interval:
    """What both ends have agreed on."""

    seconds: int
    ours: bool  # we refresh

    @property
    def refresh_s(self) -> float:
        """When the refresher acts: RFC 4028, 10: at half the interval."""
        return self.seconds / 2

    @property
    def patience_s(self) -> float:
        """When the other end gives up: 10: the smaller of 32 s and a third before the end."""
        return self.seconds - min(32.0, self.seconds / 3)


def ask(headers: Headers, policy: TimerPolicy, refresher: str = "") -> None:
    """Write our wish into a request of ours. `refresher` is ours to name in refreshes only."""
    if policy.expires_s:
        role = f";refresher={refresher}" if refresher else ""
        headers.set("session-expires", f"{max(policy.expires_s, policy.min_s)}{role}")
        headers.set("min-se", str(policy.min_s))


def check(request: Request, policy: TimerPolicy) -> None:
    """Raises RemoteProtocolError (422) for an interval below our minimum."""
    wanted = _expires(request.headers)
    if wanted is not None and wanted[0] < policy.min_s and "timer" in request.headers.tokens("supported"):
        raise RemoteProtocolError(f"session interval {wanted[0]} is too small", 422)


def grant(request: Request, policy: TimerPolicy) -> Interval | None:
    """What we agree to as the one who answers (RFC 4028, 9); None: no timer. After `check`."""
    wanted = _expires(request.headers)
    supported = "timer" in request.headers.tokens("supported")
    if wanted is None and not (policy.expires_s and supported):
        return None
    seconds, refresher = wanted or (policy.expires_s, "")
    if policy.expires_s:
        seconds = min(seconds, max(policy.expires_s, _min_se(request.headers)))
    # Table 2: a peer that knows no timers cannot refresh.
    return Interval(max(seconds, policy.min_s), ours=not supported or refresher == "uas")


def write(response: Response, interval: Interval | None) -> None:
    """Tell the peer what we agreed to, in a 2xx."""
    if interval is None:
        return
    role = "uas" if interval.ours else "uac"
    response.headers.set("session-expires", f"{interval.seconds};refresher={role}")
    if not interval.ours:
        response.headers.add("require", "timer")  # 9: the peer has to refresh


def read(response: Response) -> Interval | None:
    """What the peer agreed to, in a 2xx to our request; None: no timer (RFC 4028, 7.2)."""
    granted = _expires(response.headers)
    if granted is None:
        return None
    return Interval(max(granted[0], SHORTEST_S // 3), ours=granted[1] != "uas")


def raised(response: Response, policy: TimerPolicy) -> TimerPolicy | None:
    """What to ask for after a 422 (RFC 4028, 7.4); None if it tells no higher minimum."""
    minimum = _min_se(response.headers)
    if not policy.min_s < minimum <= LONGEST_S:
        return None
    return TimerPolicy(max(policy.expires_s, minimum), minimum)


def _min_se(headers: Headers) -> int:
    return _number((headers.get("min-se") or "").partition(";")[0].strip()) or 0


def _expires(headers: Headers) -> tuple[int, str] | None:
    """Seconds, and the refresher in lower case or ""."""
    text, _, rest = (headers.get("session-expires") or "").partition(";")
    seconds = _number(text.strip())
    if not seconds:
        return None
    return min(seconds, LONGEST_S), (parse_params(rest).get("refresher") or "").lower()


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
