"""Asks for passwords and judges the answers: digest on the server's side (RFC 3261, 22; RFC 7616; RFC 8760).

A core: requests and `now` in, a `Verdict` out. A nonce carries its own time and signature, so that a flood of
strangers costs no memory. What was proven once with a nonce and a count is never taken again.

A nonce is for the source that it was sent to, and passwords are looked at only with such a one: who guesses
is where he says he is, though he came by UDP, and learns nothing without.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sip.errors import RemoteProtocolError
from sip.ua.accounts import Account, DigestAlgorithm
from sip.ua.filter import network
from sip.ua.grammar import SipUri, parse_params, quote, unquote
from sip.ua.message import Request

NONCE_S = 300.0  # how long a nonce is taken; then the phone gets a new one and need not ask its user
NONCES = 10_000  # used ones that are remembered; the oldest are forgotten, and with them its signature's use
LONGEST = 4096  # characters of credentials
_HASHES = {DigestAlgorithm.MD5: "md5", DigestAlgorithm.SHA_256: "sha256"}


class Verdict(Enum):
    """About one request."""

    NOTHING = "no credentials of this realm"
    STALE = "another nonce is needed: it is too old, was used, or was sent to somebody else"
    WRONG = "a wrong password, or nobody, in answer to a challenge that this source got"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class _Answer:
    username: str
    nonce: str
    uri: str
    response: str
    algorithm: DigestAlgorithm
    qop: str
    cnonce: str
    count: str


class Authority:
    """Of one realm."""

    def __init__(
        self, realm: str, accounts: Sequence[Account], algorithms: Sequence[DigestAlgorithm], secret: bytes
    ) -> None:
        """`secret`: random, of this process."""
        self.realm = realm
        self._algorithms, self._secret = tuple(algorithms), secret
        self._accounts = {account.user: account for account in accounts}
        self._used: OrderedDict[str, int] = OrderedDict()  # nonce -> highest count

    def challenges(self, now: float, host: str, *, stale: bool = False) -> list[str]:
        """Values of WWW-Authenticate for `host`, one for each algorithm, the preferred one first."""
        nonce = self._sign(str(int(now * 1000)), host)
        extra = ", stale=true" if stale else ""
        return [
            f'Digest realm={quote(self.realm)}, nonce="{nonce}", algorithm={algorithm}, qop="auth"{extra}'
            for algorithm in self._algorithms
        ]

    def judge(self, request: Request, host: str, now: float) -> tuple[Verdict, Account | None]:
        """Who asks from `host`; the account with RIGHT alone. Raises RemoteProtocolError for what is none."""
        answer = self._answer(request)
        if answer is None:
            return Verdict.NOTHING, None
        if not self._sent(answer, host, now):
            return Verdict.STALE, None
        account = self._accounts.get(answer.username)
        # Of nobody's password the same is computed, so that the time does not tell who exists.
        expected = _response(answer, self._secret_of(account, answer), request.method)
        right = hmac.compare_digest(expected.encode(), answer.response.encode("utf-8", "replace"))
        if not right or account is None or not _same_target(answer.uri, request.uri):
            return Verdict.WRONG, None
        if not self._first(answer):
            return Verdict.STALE, None
        return Verdict.RIGHT, account

    def _answer(self, request: Request) -> _Answer | None:
        for value in request.headers.all("authorization") + request.headers.all("proxy-authorization"):
            scheme, _, rest = value.strip().partition(" ")
            if scheme.lower() != "digest":
                continue
            if len(value) > LONGEST:
                raise RemoteProtocolError("credentials too long")
            fields = {name: unquote(text or "") for name, text in parse_params(rest, ",").items()}
            if fields.get("realm") == self.realm:
                return self._read(fields)
        return None

    def _read(self, fields: dict[str, str]) -> _Answer:
        algorithm = (fields.get("algorithm") or "MD5").upper()
        count = fields.get("nc", "")
        if algorithm not in self._algorithms or fields.get("qop", "").lower() != "auth":
            raise RemoteProtocolError("credentials of another kind than asked for")
        if len(count) != 8 or not all(c in "0123456789abcdefABCDEF" for c in count):
            raise RemoteProtocolError("credentials without a count")
        names = ("username", "nonce", "uri", "response", "cnonce")
        if not all(fields.get(name) for name in names):
            raise RemoteProtocolError("incomplete credentials")
        username, nonce, uri, response, cnonce = (fields[name] for name in names)
        kind = DigestAlgorithm(algorithm)
        return _Answer(username, nonce, uri, response.lower(), kind, "auth", cnonce, count)

    def _secret_of(self, account: Account | None, answer: _Answer) -> str:
        """H(user:realm:password)."""
        if account is not None:
            md5 = answer.algorithm is DigestAlgorithm.MD5
            stored = account.md5_password if md5 else account.sha256_password
            if stored:
                return stored.lower()
        password = account.password if account is not None else ""
        # Without a password there is nothing to prove: what cannot be guessed stands for it.
        return _hash(answer.algorithm, f"{answer.username}:{self.realm}:{password or self._secret.hex()}")

    def _sent(self, answer: _Answer, host: str, now: float) -> bool:
        """Whether this nonce was sent to this source, and not long ago."""
        text, _, _ = answer.nonce.partition("-")
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            return False
        if not hmac.compare_digest(self._sign(text, host).encode(), answer.nonce.encode("utf-8", "replace")):
            return False
        return 0 <= now - int(text) / 1000 <= NONCE_S

    def _first(self, answer: _Answer) -> bool:
        """Whether its nonce was not used yet with this count or a higher one."""
        count = int(answer.count, 16)
        if count <= self._used.get(answer.nonce, 0):
            return False
        self._used[answer.nonce] = count
        self._used.move_to_end(answer.nonce)
        if len(self._used) > NONCES:
            self._used.popitem(last=False)
        return True

    def _sign(self, text: str, host: str) -> str:
        signed = f"{text} {network(host)}".encode()
        return f"{text}-{hmac.new(self._secret, signed, hashlib.sha256).hexdigest()[:32]}"


def _hash(algorithm: DigestAlgorithm, text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.new(_HASHES[algorithm], data, usedforsecurity=False).hexdigest()


def _response(answer: _Answer, ha1: str, method: str) -> str:
    ha2 = _hash(answer.algorithm, f"{method}:{answer.uri}")
    text = f"{ha1}:{answer.nonce}:{answer.count}:{answer.cnonce}:{answer.qop}:{ha2}"
    return _hash(answer.algorithm, text)


def _same_target(said: str, uri: str) -> bool:
    """Whether the URI that was signed is that of the request; parameters may differ, as some phones write."""
    if said == uri:
        return True
    try:
        ours, theirs = SipUri.parse(uri), SipUri.parse(said)
    except RemoteProtocolError:
        return False
    return (ours.user, ours.host, ours.port) == (theirs.user, theirs.host, theirs.port)
