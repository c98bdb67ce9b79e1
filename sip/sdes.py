"""Keys for SRTP in the session description: `a=crypto` of RFC 4568, optional encryption of RFC 8643. A core.

    a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz

Each side says the key of what it sends. A line with anything that we do not do (MKI, several keys, session
parameters) is left out, as RFC 4568, 6.3.7 wants it. Keys are in no repr.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sip.errors import RemoteProtocolError
from sip.sdp import MediaDescription

SUITES = {  # bytes of master key and salt: RFC 4568, table 1; RFC 7714, 14.2
    "AES_CM_128_HMAC_SHA1_80": 30,
    "AES_CM_128_HMAC_SHA1_32": 30,
    "AEAD_AES_128_GCM": 28,
    "AEAD_AES_256_GCM": 44,
}
PLAIN = frozenset({"RTP/AVP", "RTP/AVPF"})
SECURE = frozenset({"RTP/SAVP", "RTP/SAVPF"})
_LINE = re.compile(r"(\d{1,9})\s+([A-Za-z0-9_]+)\s+inline:([A-Za-z0-9+/=]+)((?:\|[^\s|;]+)*)(\s.*)?")
_LIFETIME = re.compile(r"\|(2\^\d{1,2}|\d{1,15})")


class SrtpPolicy(StrEnum):
    """Whether audio is encrypted."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Crypto:
    """One way to encrypt, and the key of whoever says it."""

    tag: int
    suite: str
    key: bytes = field(repr=False)  # master key and salt

    def __str__(self) -> str:
        return f"crypto:{self.tag} {self.suite} inline:{base64.b64encode(self.key).decode()}"


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """What both sides have agreed on."""

    suite: str
    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


def cryptos(media: MediaDescription) -> list[Crypto]:
    """The ways that a description names and we can go, in its order."""
    lines = (a[7:].strip() for a in media.attributes if a.startswith("crypto:"))
    return [c for line in lines if (c := _crypto(line)) is not None]


def _crypto(line: str) -> Crypto | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    tag, suite, text, rest, parameters = match.groups()
    suite = suite.upper()
    # 6.3: unknown parameters must not be ignored, but for the window size hint and what begins with "-".
    for parameter in (parameters or "").split():
        if not parameter.upper().startswith(("WSH=", "-")):
            return None
    if suite not in SUITES or (
        rest and not _LIFETIME.fullmatch(rest)
    ):  # the rest of the rest would be an MKI
        return None
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None
    return Crypto(int(tag), suite, key) if len(key) == SUITES[suite] else None


class Sdes:
    """Our side of one call's keys."""

    def __init__(self, policy: SrtpPolicy = SrtpPolicy.OFF, suites: Sequence[str] = tuple(SUITES)) -> None:
        """`suites` in order of preference, for offers; in answers the peer's order counts."""
        self._policy, self._suites = policy, tuple(suites)
        self._ours: dict[str, bytes] = {}  # suite -> key of what we send
        self._theirs = b""  # key of what they send
        self._offered: list[Crypto] = []
        # RFC 8643: optional encryption is offered under the profile of plain RTP.
        self._protocol = "RTP/SAVP" if policy is SrtpPolicy.REQUIRED else "RTP/AVP"
        self._suite: str | None = None  # in use
        self._settled = False

    def offer(self) -> tuple[str, list[str]]:
        """Protocol and attributes of our offer. In a call that runs: what it runs with."""
        suites: Sequence[str] = self._suites
        if self._policy is SrtpPolicy.OFF or (self._settled and self._suite is None):
            suites = ()
        elif self._suite is not None:
            suites = [self._suite, *(s for s in self._suites if s != self._suite)]
        self._offered = [Crypto(n, suite, self._key(suite)) for n, suite in enumerate(suites, 1)]
        return self._protocol, [str(c) for c in self._offered]

    def accept(self, theirs: MediaDescription) -> SrtpKeys | None:
        """What the answer to our offer makes of it; None: plain RTP. Raises RemoteProtocolError, 488."""
        for crypto in cryptos(theirs):
            if any((c.tag, c.suite) == (crypto.tag, crypto.suite) for c in self._offered):
                return self._agreed(crypto)
        if self._policy is SrtpPolicy.REQUIRED or theirs.protocol in SECURE or self._protocol in SECURE:
            raise RemoteProtocolError("the answer brings no key for encrypted RTP", 488)
        return self._agreed(None)

    def takes(self, theirs: MediaDescription) -> bool:
        """Whether an offered m-line can be answered."""
        if self._chosen(theirs) is not None:
            return True
        return theirs.protocol in PLAIN and self._policy is not SrtpPolicy.REQUIRED

    def secures(self, theirs: MediaDescription) -> bool:
        """Whether the answer would be encrypted."""
        return self._chosen(theirs) is not None

    def answer(self, theirs: MediaDescription) -> tuple[list[str], SrtpKeys | None]:
        """Attributes of our answer to an m-line that is taken, and the keys; None: plain RTP."""
        chosen = self._chosen(theirs)
        if chosen is not None and self._theirs and chosen.key != self._theirs:
            self._ours.clear()  # somebody else, perhaps, who shall not read what went before
        self._protocol = theirs.protocol
        if chosen is None:
            return [], self._agreed(None)
        keys = self._agreed(chosen)
        return [str(Crypto(chosen.tag, chosen.suite, self._key(chosen.suite)))], keys

    @property
    def wanted(self) -> str:
        """What an offer must have, in words."""
        return {
            SrtpPolicy.OFF: "plain RTP",
            SrtpPolicy.OPTIONAL: "RTP, plain or with a cipher of ours,",
            SrtpPolicy.REQUIRED: "RTP with a cipher of ours",
        }[self._policy]

    def _chosen(self, theirs: MediaDescription) -> Crypto | None:
        if self._policy is SrtpPolicy.OFF or theirs.protocol not in PLAIN | SECURE:
            return None
        return next((c for c in cryptos(theirs) if c.suite in self._suites), None)

    def _agreed(self, theirs: Crypto | None) -> SrtpKeys | None:
        self._settled = True
        self._suite = theirs.suite if theirs is not None else None
        if theirs is None:
            return None
        self._theirs = theirs.key
        return SrtpKeys(theirs.suite, self._key(theirs.suite), theirs.key)

    def _key(self, suite: str) -> bytes:
        if suite not in self._ours:
            self._ours[suite] = secrets.token_bytes(SUITES[suite])
        return self._ours[suite]
