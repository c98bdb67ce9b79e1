"""What can go wrong in signalling, and how SIP's answers map to causes.

LocalProtocolError is our bug, RemoteProtocolError is the peer's; a core raises no other error.
"""

from media.leg import HangupCause


class SipError(Exception):
    """Root of all errors raised by this package."""


class LocalProtocolError(SipError):
    """We tried something that the protocol does not allow here."""


class RemoteProtocolError(SipError):
    """The peer sent something outside the protocol. `status` is the SIP answer it deserves."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class CallFailed(SipError):
    """An outbound call was not answered. `status` is the final SIP answer, 0 if none came."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}" if status else reason)
        self.status, self.reason = status, reason
        self.cause = cause_of_status(status)


class RegistrationFailed(SipError):
    """The registrar refused us or did not answer."""


# RFC 3398, section 8.2.6.1 (SIP status -> ISUP cause), reduced to the causes we tell apart.
_CAUSES = {
    0: HangupCause.UNREACHABLE,
    401: HangupCause.REJECTED,
    403: HangupCause.REJECTED,
    404: HangupCause.UNALLOCATED,
    407: HangupCause.REJECTED,
    408: HangupCause.NO_ANSWER,
    410: HangupCause.UNALLOCATED,
    415: HangupCause.INCOMPATIBLE,
    480: HangupCause.NO_ANSWER,
    484: HangupCause.INVALID_NUMBER,
    486: HangupCause.BUSY,
    487: HangupCause.CANCELLED,
    488: HangupCause.INCOMPATIBLE,
    503: HangupCause.CONGESTION,
    600: HangupCause.BUSY,
    603: HangupCause.REJECTED,
    604: HangupCause.UNALLOCATED,
    606: HangupCause.INCOMPATIBLE,
}


def cause_of_status(status: int) -> HangupCause:
    """The cause that a final SIP answer stands for; 0 means that no answer came."""
    known = _CAUSES.get(status)
    if known is not None:
        return known
    return HangupCause.REJECTED if 600 <= status < 700 else HangupCause.TEMPORARY
