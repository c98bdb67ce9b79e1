"""What the user agent counts, as plain numbers for the metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class SipCounters:
    """Since the start of the process, but for the gauge `transactions`."""

    received: int = 0
    """Messages from allowed sources that could be read."""
    sent: int = 0
    """Messages put on the wire, repetitions included."""
    refused_source: int = 0
    """Datagrams and connections of unknown sources: dropped unread, without an answer."""
    banned: int = 0
    """Messages and connections of banned sources: dropped unread, without an answer."""
    throttled: int = 0
    """Requests dropped because their source sends too many."""
    bans: int = 0
    """Bans that were imposed."""
    auth_failures: int = 0
    """Wrong passwords, and users that do not exist."""
    crowded: int = 0
    """Calls refused because their source has too many."""
    unparsable: int = 0
    """Messages from allowed sources that are no SIP, or too large."""
    stray: int = 0
    """Responses and ACKs that belong to nothing we know."""
    absorbed: int = 0
    """Retransmissions of the peer that a transaction answered on its own."""
    repeated: int = 0
    """Our own retransmissions: a measure of loss on the way."""
    overloaded: int = 0
    """Requests refused because there are too many transactions."""
    unsendable: int = 0
    """Messages that a socket or a broken connection did not take."""
    tls_failed: int = 0
    """TLS handshakes that came to nothing: a certificate not believed, no version in common."""
    failovers: int = 0
    """Calls that went to another server of the same name, since one did not answer or was overloaded."""
    errors: int = 0
    """Tasks of the user agent that failed: bugs. The log has each."""
    calls_in: int = 0
    calls_out: int = 0
    transactions: int = 0
    """Transactions alive now."""
