"""Accounts of softphones: who may register here, call by password, and be called (`sip.accounts`)."""

import re
from dataclasses import dataclass
from enum import StrEnum

_HEX = re.compile(r"[0-9a-f]*")
_USER = re.compile(r"[A-Za-z0-9._+\-]{1,64}")


class Challenge(StrEnum):
    """Who is asked for a password before a call is taken."""

    NEVER = "never"
    STRANGERS = "strangers"
    EVERYBODY = "everybody"


class DigestAlgorithm(StrEnum):
    """How passwords are proven (RFC 7616)."""

    SHA_256 = "SHA-256"
    MD5 = "MD5"


@dataclass(frozen=True, slots=True)
class Account:
    """A softphone, or a PBX that registers here."""

    user: str
    """User name, and user part of its address."""
    password: str = ""
    """Its password. Write ${NAME} to take it from the environment."""
    md5_password: str = ""
    """Instead of the password: 32 hex digits, MD5 of user:realm:password. Proves MD5 alone."""
    sha256_password: str = ""
    """Likewise, 64 hex digits for SHA-256."""
    extensions: tuple[str, ...] = ()
    """Numbers by which it can be called besides its user name. The first is its caller id."""
    may_call: tuple[str, ...] = ("*",)
    """What it may call here: numbers and user names, `*` at the end for any rest. Others get 403."""
    max_contacts: int = 5
    """Phones that may be registered at a time; one more takes the place of the oldest."""

    def __post_init__(self) -> None:
        if not _USER.fullmatch(self.user):
            raise ValueError(f"user must be letters, digits and ._+-, not {self.user!r}")
        for name, length in (("md5_password", 32), ("sha256_password", 64)):
            value = getattr(self, name).lower()
            if value and (len(value) != length or not _HEX.fullmatch(value)):
                raise ValueError(f"{name} must be {length} hex digits")
        if not (self.password or self.md5_password or self.sha256_password):
            raise ValueError(f"account {self.user!r} has no password")

    @property
    def names(self) -> tuple[str, ...]:
        """All by which it can be called."""
        return (self.user, *self.extensions)

    def permits(self, callee: str) -> bool:
        """Whether it may call this number or name."""
        for pattern in self.may_call:
            if pattern == callee or (pattern.endswith("*") and callee.startswith(pattern[:-1])):
                return True
        return False
