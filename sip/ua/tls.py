"""TLS of the SIP port: contexts for both directions, made from files, and made anew when the files change.

TLS 1.2 at least; 1.3 wherever the peer has it. A file that cannot be read is an error at the start; later the
contexts in use stay, and `fault` says why the new ones were not taken.
"""

import ssl
from pathlib import Path

from sip.ua.certificate import Validity, validity
from sip.ua.config import TlsConfig

State = tuple[tuple[str, int, int], ...]  # path, modified (ns), size: of each file


class TlsContexts:
    """What the transport hands to the event loop."""

    def __init__(self, config: TlsConfig) -> None:
        """Raises ValueError that names the setting, the file and what is wrong with it."""
        self._config = config
        self._files = [f for f in (config.certificate, config.key, config.ca_file) if f]
        self._seen = self._state()
        self._refused = ""  # why the newest files were not taken
        self._load()

    def _load(self) -> None:
        config = self._config
        self.client = _client(config)
        self.server: ssl.SSLContext | None = None
        self.validity: Validity | None = None
        if config.certificate:
            self.server, self.validity = _server(config), _validity(config.certificate)

    def fault(self, now: float) -> str | None:
        """What is wrong with the certificate, at this wall-clock time; None if nothing is."""
        return self._refused or (self.validity.fault(now) if self.validity is not None else None)

    def refresh(self) -> bool:
        """Read files that have changed. True if new contexts are in use. Raises ValueError, once for each
        change, if they are no good: then nothing has changed."""
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        before = self.client, self.server, self.validity
        try:
            self._load()
        except ValueError as e:
            self.client, self.server, self.validity = before
            self._refused = f"the new certificate is not in use: {e}"
            raise
        self._refused = ""
        return True

    def _state(self) -> State:
        found = []
        for name in self._files:
            try:
                stat = Path(name).stat()
            except OSError:
                found.append((name, 0, -1))
            else:
                found.append((name, stat.st_mtime_ns, stat.st_size))
        return tuple(found)


def _client(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not config.verify_server:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.ca_file:
        _trust(context, config.ca_file)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if config.certificate:  # peers that verify us in turn want it
        _chain(context, config)
    return context


def _server(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _chain(context, config)
    if config.verify_client:
        if not config.ca_file:
            raise ValueError("tls.verify_client needs tls.ca_file: whose certificates shall be believed?")
        context.verify_mode = ssl.CERT_REQUIRED
        _trust(context, config.ca_file)
    return context


def _chain(context: ssl.SSLContext, config: TlsConfig) -> None:
    certificate, key = config.certificate, config.key or config.certificate
    _readable("tls.certificate", certificate)
    _readable("tls.key", key)
    try:
        # The password is always given: OpenSSL would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password=config.key_password)
    except ssl.SSLError as e:
        if "KEY_VALUES_MISMATCH" in str(e):
            raise ValueError(f"the key in {key} does not belong to the certificate {certificate}") from None
        _validity(certificate)  # says if that is what cannot be read
        hint = "; is tls.key_password right?" if b"ENCRYPTED" in Path(key).read_bytes() else ""
        raise ValueError(f"tls.key: no usable key in {key} ({e.reason or e}){hint}") from None


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    _readable("tls.ca_file", ca_file)
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError as e:
        raise ValueError(f"tls.ca_file: no certificates in {ca_file} ({e.reason or e})") from None


def _validity(certificate: str) -> Validity:
    try:
        return validity(Path(certificate).read_bytes())
    except ValueError as e:
        raise ValueError(f"tls.certificate: {certificate}: {e}") from None


def _readable(setting: str, name: str) -> None:
    try:
        with Path(name).open("rb"):
            return
    except OSError as e:
        raise ValueError(f"{setting}: cannot read {name}: {e.strerror}") from None
