"""Digest credentials of a client: MD5 (RFC 2617, 7616) and SHA-2 (RFC 7616, 8760), qop=auth.

A core: the challenge goes in, the value of the Authorization header comes out; the random client
nonce is an argument.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sip.errors import RemoteProtocolError
from sip.ua.grammar import parse_params, quote, unquote
from sip.ua.message import Response

ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server wants proven."""

    realm: str
    nonce: str
    algorithm: str = "MD5"  # as the server wrote it, upper case
    qop: frozenset[str] = frozenset()
    opaque: str | None = None
    stale: bool = False
    proxy: bool = False  # 407: the answer goes into Proxy-Authorization

    @classmethod
    def parse(cls, value: str, proxy: bool = False) -> "Challenge | None":
        """None if the scheme is not Digest. Raises RemoteProtocolError."""
        scheme, _, rest = value.strip().partition(" ")
        if scheme.lower() != "digest":
            return None
        fields = {name: unquote(text or "") for name, text in parse_params(rest, ",").items()}
        if "realm" not in fields or not fields.get("nonce"):
            raise RemoteProtocolError(f"challenge without realm or nonce: {value[:120]!r}")
        return cls(
            fields["realm"],
            fields["nonce"],
            (fields.get("algorithm") or "MD5").upper(),
            frozenset(q.strip().lower() for q in fields.get("qop", "").split(",") if q.strip()),
            fields.get("opaque"),
            fields.get("stale", "").lower() == "true",
            proxy,
        )

    @property
    def answerable(self) -> bool:
        """Whether we know the algorithm and the quality of protection."""
        return self._base in ALGORITHMS and (not self.qop or "auth" in self.qop)

    @property
    def header(self) -> str:
        """Name of the header that answers it."""
        return "Proxy-Authorization" if self.proxy else "Authorization"

    @property
    def _base(self) -> str:
        return self.algorithm.removesuffix("-SESS")

    def hash(self, text: str) -> str:
        """H() of RFC 7616, 3.3."""
        data = text.encode("utf-8", "surrogateescape")  # realm and nonce: whatever bytes the server wrote
        return hashlib.new(ALGORITHMS[self._base], data, usedforsecurity=False).hexdigest()


def challenges(response: Response) -> list[Challenge]:
    """What a 401 or 407 asks for and we can answer, one of each realm: the first, which the server prefers
    (RFC 8760, 2.4). One that cannot be read is left out: the refusal stands."""
    found: dict[str, Challenge] = {}
    name = "proxy-authenticate" if response.status == 407 else "www-authenticate"
    for value in response.headers.all(name):
        try:
            challenge = Challenge.parse(value, response.status == 407)
        except RemoteProtocolError:
            continue
        if challenge is not None and challenge.answerable:
            found.setdefault(challenge.realm, challenge)
    return list(found.values())


class Credentials:
    """A user name and password; remembers how often each nonce was used."""

    def __init__(self, username: str, password: str, realm: str = "") -> None:
        """`realm`: the only one they are for; empty: any."""
        self.username, self._realm = username, realm
        self._password = password
        self._nonce = ""
        self._count = 0

    def __repr__(self) -> str:
        return f"Credentials({self.username!r})"

    def fits(self, realm: str) -> bool:
        """Whether they are meant for this realm."""
        return self._realm in ("", realm)

    def answer(self, challenge: Challenge, method: str, uri: str, cnonce: str) -> str:
        """Value of the header `challenge.header` for a request."""
        self._count = self._count + 1 if challenge.nonce == self._nonce else 1
        self._nonce = challenge.nonce
        count = f"{self._count:08x}"
        digest = self._response(challenge, method, uri, cnonce, count)
        fields = [
            f"username={quote(self.username)}",
            f"realm={quote(challenge.realm)}",
            f"nonce={quote(challenge.nonce)}",
            f"uri={quote(uri)}",
            f'response="{digest}"',
            f"algorithm={challenge.algorithm}",
        ]
        if challenge.opaque is not None:
            fields.append(f"opaque={quote(challenge.opaque)}")
        if challenge.qop:
            fields += ["qop=auth", f"nc={count}", f"cnonce={quote(cnonce)}"]
        elif challenge.algorithm.endswith("-SESS"):
            fields.append(f"cnonce={quote(cnonce)}")
        return "Digest " + ", ".join(fields)

    def _response(self, challenge: Challenge, method: str, uri: str, cnonce: str, count: str) -> str:
        h: Callable[[str], str] = challenge.hash
        ha1 = h(f"{self.username}:{challenge.realm}:{self._password}")
        if challenge.algorithm.endswith("-SESS"):
            ha1 = h(f"{ha1}:{challenge.nonce}:{cnonce}")
        ha2 = h(f"{method}:{uri}")
        if not challenge.qop:  # RFC 2069
            return h(f"{ha1}:{challenge.nonce}:{ha2}")
        return h(f"{ha1}:{challenge.nonce}:{count}:{cnonce}:auth:{ha2}")
