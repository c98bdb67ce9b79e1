"""JSON Web Tokens (RFC 7519): HS256 to check what a carrier signs, RS256 to sign requests to it."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any

from sip.webpeer import same_secret


class BadJwt(Exception):
    """No token, or not by whom it should be; the message says why."""


def encode(part: bytes) -> str:
    """Base64 without padding (RFC 7515, section 2)."""
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def decode(part: str) -> bytes:
    """The reverse. Raises BadJwt."""
    try:
        return urlsafe_b64decode(part.encode("ascii") + b"=" * (-len(part) % 4))
    except ValueError as error:
        raise BadJwt("not base64") from error


def claims(token: str, secret: str) -> Mapping[str, Any]:
    """What a token signed by HS256 with `secret` says. Raises BadJwt."""
    parts = token.split(".")
    if not secret or len(parts) != 3:
        raise BadJwt("not a token")
    head, body, sign = parts
    right = encode(hmac.digest(secret.encode(), f"{head}.{body}".encode("utf-8", "replace"), "sha256"))
    if not same_secret(sign, right):
        raise BadJwt("wrong signature")
    if _object(head).get("alg") != "HS256":  # RFC 8725, section 3.1: the algorithm is ours to choose
        raise BadJwt("not HS256")
    return _object(body)


def signer(private_key: str, extra: str) -> Callable[[Mapping[str, Any]], str]:
    """What makes tokens signed by RS256 with this key (PEM). Raises ValueError; `extra` is the one that
    brings the package cryptography."""
    try:
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    except ImportError:
        raise ValueError(f"cryptography is not installed: pip install 'voicegw[{extra}]'") from None
    try:
        key = load_pem_private_key(private_key.replace("\\n", "\n").encode(), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("private_key must be an RSA key in PEM, without a password")
    head = encode(b'{"alg":"RS256","typ":"JWT"}')

    def sign(said: Mapping[str, Any]) -> str:
        text = f"{head}.{encode(json.dumps(said).encode())}"
        return f"{text}.{encode(key.sign(text.encode(), PKCS1v15(), SHA256()))}"

    return sign


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(decode(part))
    except (ValueError, RecursionError) as error:
        raise BadJwt("not JSON") from error
    if not isinstance(value, dict):
        raise BadJwt("not a JSON object")
    return value
