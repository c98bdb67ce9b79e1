"""Where registered phones are: the location service of the registrar (RFC 3261, 10.3). A core.

A phone is reached the way its REGISTER came, whatever its Contact says of addresses behind a router.
"""

from dataclasses import dataclass

from sip.errors import RemoteProtocolError
from sip.ua.accounts import Account
from sip.ua.flow import Flow
from sip.ua.grammar import Address, unquote
from sip.ua.message import Request

DEFAULT_S, SHORTEST_S, LONGEST_S = 3600, 30, 7200
MOST_CONTACTS = 10  # in one REGISTER


@dataclass(frozen=True, slots=True)
class Binding:
    """One phone of an account."""

    contact: str  # URI
    flow: Flow
    expires_at: float
    call_id: str
    number: int  # CSeq
    q: float = 1.0
    instance: str = ""  # RFC 5626: which phone, whatever its address
    path: tuple[str, ...] = ()  # RFC 3327


class Bindings:
    """Of all accounts."""

    def __init__(self) -> None:
        self._of: dict[str, list[Binding]] = {}  # by user

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def find(self, user: str, now: float) -> list[Binding]:
        """Where an account can be reached, the most wanted first."""
        alive = [b for b in self._of.get(user, ()) if b.expires_at > now]
        return sorted(alive, key=lambda b: -b.q)

    def all(self, now: float) -> list[tuple[str, Binding]]:
        """Every phone that is registered, with its account."""
        return [(user, b) for user, found in self._of.items() for b in found if b.expires_at > now]

    def purge(self, now: float) -> None:
        """Forget what has expired."""
        for user in list(self._of):
            self._keep(user, [b for b in self._of[user] if b.expires_at > now])

    def flow_closed(self, flow: Flow) -> None:
        """A connection is gone, and with it the way to the phones behind it."""
        if flow.connection:
            for user in list(self._of):
                self._keep(user, [b for b in self._of[user] if b.flow.connection != flow.connection])

    def register(self, account: Account, request: Request, flow: Flow, now: float) -> list[Binding]:
        """Take a REGISTER of this account, whole or not at all; what is registered then. Raises
        RemoteProtocolError with the status to refuse it by (423: too brief)."""
        values = request.headers.values("contact")
        before = self.find(account.user, now)
        if values == ["*"]:
            if (request.headers.get("expires") or "").strip() != "0":
                raise RemoteProtocolError("Contact * without Expires 0")
            after = [b for b in before if not _newer(b, request)]
        else:
            if len(values) > MOST_CONTACTS:
                raise RemoteProtocolError(f"{len(values)} contacts", 403)
            after = before
            for value in values:
                after = self._bind(after, value, request, flow, now)
        after = sorted(after, key=lambda b: b.expires_at)[-max(1, account.max_contacts) :]
        self._keep(account.user, after)
        return self.find(account.user, now)

    def _bind(
        self, bindings: list[Binding], value: str, request: Request, flow: Flow, now: float
    ) -> list[Binding]:
        contact = Address.parse(value)
        contact.sip_uri()
        seconds = _seconds(contact.params.get("expires"), request.headers.get("expires"))
        instance = unquote(contact.params.get("+sip.instance") or "")[:200]
        kept = []
        for binding in bindings:
            same = binding.contact == contact.uri or bool(instance and instance == binding.instance)
            if same and not _newer(binding, request):
                raise RemoteProtocolError("an older REGISTER of the same call", 500)
            if not same:
                kept.append(binding)
        if seconds == 0:
            return kept
        if seconds < SHORTEST_S:
            raise RemoteProtocolError(f"{seconds} s are too brief", 423)
        new = Binding(
            contact.uri,
            flow,
            now + min(seconds, LONGEST_S),
            request.call_id,
            request.cseq.number,
            contact.weight,
            instance,
            tuple(request.headers.values("path")),
        )
        return [*kept, new]

    def _keep(self, user: str, bindings: list[Binding]) -> None:
        if bindings:
            self._of[user] = bindings
        else:
            self._of.pop(user, None)


def _newer(binding: Binding, request: Request) -> bool:
    """RFC 3261, 10.3.7: within one Call-ID, a later REGISTER has a higher CSeq."""
    return binding.call_id != request.call_id or request.cseq.number > binding.number


def _seconds(*texts: str | None) -> int:
    for text in texts:
        if text is not None and text.strip().isascii() and text.strip().isdigit() and len(text) < 12:
            return int(text)
    return DEFAULT_S
