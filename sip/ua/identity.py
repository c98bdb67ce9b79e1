"""Who calls, as far as it can be believed: From, P-Asserted-Identity, Privacy, Diversion, History-Info.

Of headers that strangers may write, numbers and names are cut to a length and stripped of what is no text.
"""

from urllib.parse import unquote

from media.leg import CallInfo, Direction
from sip.errors import RemoteProtocolError
from sip.ua.accounts import Account
from sip.ua.grammar import Address, SipUri
from sip.ua.message import Request, readable
from sip.ua.trunks import Trunks, TrunkState

# Not passed on with the call: addresses of hops, secrets, and what describes the body.
PRIVATE = ("via", "route", "record-route", "authorization", "proxy-authorization", "content-")
ASSERTED = ("p-asserted-identity", "remote-party-id")
MARKS = ("x-privacy", "x-diverted-from", "x-account")  # said by us; nobody else is believed
LONGEST = 512  # characters of one header's value that reach the application
MOST = 64  # headers of one call that do
NUMBER = 128  # characters of a number or user name


def call_info(
    trunks: Trunks, trunk: TrunkState | None, request: Request, call_id: str, account: Account | None = None
) -> CallInfo:
    """Who calls whom. A registered trunk calls our user name there; the number is then in the To. What a
    trusted trunk asserts, or `account` has proven, counts more than the From, which anybody may write (RFC
    3325). Raises RemoteProtocolError (403) for what the account may not call."""
    callee = user_of(request.uri)
    if callee in trunks.user_names():
        callee = user_of(request.to.uri) or callee
    trusted = trunk is not None and trunk.trunk.trusted
    headers = passed_on(request, trusted=trusted)
    sip_call_id = readable(request.call_id)
    caller = (_asserted(request) if trusted else "") or user_of(request.from_.uri)
    if account is not None:
        if not account.permits(callee):
            raise RemoteProtocolError(f"{account.user} may not call this", 403)
        caller = account.extensions[0] if account.extensions else account.user
        headers["x-account"] = account.user
    # Under names of their own: a caller must not set what the flow keeps for itself, such as a target.
    passed = {name.replace("-", "_"): value for name, value in headers.items() if name.startswith("x-")}
    return CallInfo(call_id, caller, callee, "sip", sip_call_id, Direction.INBOUND, headers, passed=passed)


def passed_on(request: Request, *, trusted: bool) -> dict[str, str]:
    """Headers for the application, names in lower case. `x-privacy` says whether the caller wants to stay
    unknown (RFC 3323), `x-diverted-from` who was called first (RFC 5806, RFC 7044), `x-account` who has
    proven to call: these are ours."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        if name.startswith(PRIVATE) or (name in ASSERTED and not trusted):
            continue
        text = clean(value)
        if name in headers:
            headers[name] = f"{headers[name]}, {text}"[:LONGEST]
        elif len(headers) < MOST:
            headers[name] = text
    for name in MARKS:
        headers.pop(name, None)
    privacy = request.headers.tokens("privacy") - {"none"}
    if privacy or user_of(request.from_.uri).lower() == "anonymous":
        headers["x-privacy"] = "yes"
    if diverted := diverted_from(request):
        headers["x-diverted-from"] = diverted
    return headers


def diverted_from(request: Request) -> str:
    """The number that was called first, before somebody diverted the call; "" if nothing says so."""
    # RFC 5806: the latest diversion stands first, so the first one last.
    for value in reversed(request.headers.values("diversion")):
        if user := _user_in(value):
            return user
    # RFC 7044: the first entry is the original target; one entry alone was not diverted.
    history = request.headers.values("history-info")
    return _user_in(history[0]) if len(history) > 1 else ""


def _asserted(request: Request) -> str:
    for value in request.headers.values("p-asserted-identity"):
        if user := _user_in(value):
            return user
    return ""


def _user_in(value: str) -> str:
    try:
        return user_of(Address.parse(value).uri.partition("?")[0])
    except RemoteProtocolError:
        return ""


def user_of(uri: str) -> str:
    """The number or user name of a URI; "" if it has none."""
    try:
        user = SipUri.parse(uri).user.partition(";")[0]
    except RemoteProtocolError:
        return ""
    return clean(unquote(user, errors="replace"))[:NUMBER]


def clean(text: str) -> str:
    """Text for people, files and flows: bounded, without control characters."""
    text = readable(text[:LONGEST])
    return "".join(c if c.isprintable() else " " for c in text)
