"""Signatures by Ed25519 (RFC 8032), through the optional package cryptography."""

from base64 import b64decode
from collections.abc import Callable

KEY_BYTES = 32


def verifier(public_key: str, extra: str) -> Callable[[bytes, bytes], bool]:
    """What tells whether (signature, message) belong to this key, which is in base64. Raises ValueError;
    `extra` is the one that brings the package."""
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - optional
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    except ImportError:
        raise ValueError(f"cryptography is not installed: pip install 'voicegw[{extra}]'") from None
    try:
        raw = b64decode(public_key, validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise ValueError(f"public_key must be {KEY_BYTES} bytes in base64") from None

    def verify(signature: bytes, message: bytes) -> bool:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return verify
