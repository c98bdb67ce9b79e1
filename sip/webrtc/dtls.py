"""DTLS-SRTP (RFC 5763, RFC 5764): one handshake, then keys for SRTP. A core: datagrams in, datagrams out.

Each side shows a certificate that it has just made; that it is the right one is known by its fingerprint,
which came by signalling. OpenSSL does the work, in memory.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import pylibsrtp  # noqa: F401 - optional elsewhere (sip/srtp.py), needed here: say so at the start
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from sip.errors import RemoteProtocolError
from sip.sdes import SrtpKeys
from sip.srtp import Srtp, SrtpStats

DTLS_1_2 = 0xFEFD  # RFC 9147 is not yet in browsers; its records need another packing
MTU = 1200  # bytes; what fits through every tunnel (RFC 8261, section 5)
_RECORD_HEADER = 13  # RFC 6347, section 4.1: type, version, epoch, sequence number, length
_CIPHERS = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:"
    b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
)
_DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "sha-256": hashes.SHA256(),
    "sha-384": hashes.SHA384(),
    "sha-512": hashes.SHA512(),
}


class Profile(NamedTuple):
    """A protection profile of SRTP (RFC 5764, section 4.1.2; RFC 7714, section 14.2)."""

    name: bytes
    suite: str  # as in SDP, and in sip/srtp.py
    key: int  # bytes
    salt: int

    def keys(self, material: bytes, *, client: bool) -> SrtpKeys:
        """`material` as exported: client's key, server's key, client's salt, server's salt."""
        keys = [material[i * self.key : (i + 1) * self.key] for i in (0, 1)]
        salts = material[2 * self.key :]
        both = [keys[i] + salts[i * self.salt : (i + 1) * self.salt] for i in (0, 1)]
        return SrtpKeys(self.suite, *(both if client else both[::-1]))


PROFILES = (
    Profile(b"SRTP_AEAD_AES_128_GCM", "AEAD_AES_128_GCM", 16, 12),
    Profile(b"SRTP_AES128_CM_SHA1_80", "AES_CM_128_HMAC_SHA1_80", 16, 14),
)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Ours: one a process."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def fingerprint(self) -> str:
        """Its SHA-256, as in SDP."""
        return fingerprint(self.certificate, "sha-256")


def make_certificate(now: datetime) -> Certificate:
    """A fresh one. Nobody looks at its dates: it is known by its fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "voicegw")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
    )
    return Certificate(key, builder.sign(key, hashes.SHA256()))


def fingerprint(certificate: x509.Certificate, digest: str) -> str:
    """As in SDP: AB:CD:..."""
    return certificate.fingerprint(_DIGESTS[digest]).hex(":").upper()


class Dtls:
    """One association. `start`, then `receive` whatever comes and `timed_out` when time has passed; after
    each of them send what `datagrams` gives."""

    def __init__(self, ours: Certificate, theirs: tuple[str, str], stats: SrtpStats, *, client: bool) -> None:
        """`theirs`: digest and fingerprint from the offer."""
        self._theirs, self._stats, self._client = theirs, stats, client
        context = SSL.Context(SSL.DTLS_METHOD)
        context.set_max_proto_version(DTLS_1_2)
        context.set_options(SSL.OP_NO_TICKET)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.use_certificate(ours.certificate)
        context.use_privatekey(ours.key)
        context.set_cipher_list(_CIPHERS)
        context.set_tlsext_use_srtp(b":".join(profile.name for profile in PROFILES))
        self._ssl = SSL.Connection(context)
        self._ssl.set_ciphertext_mtu(MTU)
        if client:
            self._ssl.set_connect_state()
        else:
            self._ssl.set_accept_state()
        self.srtp: Srtp | None = None
        """Once the handshake is done."""
        self.closed = False
        """The far end has said goodbye."""

    @property
    def done(self) -> bool:
        """Whether there are keys."""
        return self.srtp is not None

    def start(self) -> None:
        """The path is open."""
        self._shake()

    def receive(self, data: bytes) -> None:
        """A datagram of DTLS. Raises RemoteProtocolError where the handshake fails for good."""
        self._ssl.bio_write(data)
        if self.srtp is None:
            self._shake()
            return
        try:  # application data is none of ours; OpenSSL repeats the last flight if it must
            self._ssl.recv(1)
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error:
            pass

    def timeout(self) -> float | None:
        """Seconds until `timed_out` must be called; None: never."""
        left = self._ssl.DTLSv1_get_timeout()
        return None if left is None else float(left)

    def timed_out(self) -> None:
        """Send the last flight again, if its time has come."""
        try:
            self._ssl.DTLSv1_handle_timeout()
        except SSL.Error as error:
            raise RemoteProtocolError("DTLS: no answer") from error

    def goodbye(self) -> None:
        """Tell the far end that we leave."""
        try:
            self._ssl.shutdown()
        except SSL.Error:
            pass  # not yet that far

    def datagrams(self) -> list[bytes]:
        """What is to be sent now."""
        data = b""
        while True:
            try:
                data += self._ssl.bio_read(65536)
            except SSL.Error:
                break
        return _packed(data)

    def _shake(self) -> None:
        try:
            self._ssl.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise RemoteProtocolError(f"DTLS: {_reason(error)}") from error
        digest, expected = self._theirs
        certificate = self._ssl.get_peer_certificate(as_cryptography=True)
        if certificate is None or fingerprint(certificate, digest) != expected:
            raise RemoteProtocolError("DTLS: the certificate is not the one that was announced")
        name = self._ssl.get_selected_srtp_profile()
        profile = next((profile for profile in PROFILES if profile.name == name), None)
        if profile is None:
            raise RemoteProtocolError("DTLS: no SRTP protection profile in common")
        size = 2 * (profile.key + profile.salt)
        material = self._ssl.export_keying_material(b"EXTRACTOR-dtls_srtp", size)
        self.srtp = Srtp(profile.keys(material, client=self._client), self._stats)


def _packed(data: bytes) -> list[bytes]:
    """Whole records, as many to a datagram as fit (RFC 6347, section 4.1.1: none is cut)."""
    datagrams: list[bytes] = []
    while data:
        size = _RECORD_HEADER + int.from_bytes(data[11:13], "big")
        record, data = data[:size], data[size:]
        if datagrams and len(datagrams[-1]) + len(record) <= MTU:
            datagrams[-1] += record
        else:
            datagrams.append(record)
    return datagrams


def _reason(error: SSL.Error) -> str:
    """OpenSSL's words."""
    try:
        return str(error.args[0][0][2]) or "handshake failed"
    except (IndexError, TypeError):
        return "handshake failed"
