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
    """An outbound call was not answered. `status` is the final SIP answer, 0 if none came; `cause` what a
    Reason header said, else what the status stands for."""

    def __init__(self, status: int, reason: str, cause: HangupCause | None = None) -> None:
        super().__init__(f"{status} {reason}" if status else reason)
        self.status, self.reason = status, reason
        self.cause = cause or cause_of_status(status)


class RegistrationFailed(SipError):
    """The registrar refused us or did not answer."""


# RFC 3398, section 8.2.6.1 (SIP status -> Q.850), folded onto the causes that we tell apart. It departs where
# today's phones and carriers mean something else: 408 and 480 are mostly a phone that rang and rang.
_CAUSES = {
    0: HangupCause.UNREACHABLE,
    401: HangupCause.REJECTED,
    402: HangupCause.REJECTED,
    403: HangupCause.REJECTED,
    404: HangupCause.UNALLOCATED,
    405: HangupCause.INCOMPATIBLE,
    406: HangupCause.INCOMPATIBLE,
    407: HangupCause.REJECTED,
    408: HangupCause.NO_ANSWER,
    410: HangupCause.UNALLOCATED,
    415: HangupCause.INCOMPATIBLE,
    416: HangupCause.INVALID_NUMBER,
    420: HangupCause.INCOMPATIBLE,
    430: HangupCause.UNREACHABLE,
    480: HangupCause.NO_ANSWER,
    482: HangupCause.NO_ROUTE,
    483: HangupCause.NO_ROUTE,
    484: HangupCause.INVALID_NUMBER,
    485: HangupCause.INVALID_NUMBER,
    486: HangupCause.BUSY,
    487: HangupCause.CANCELLED,
    488: HangupCause.INCOMPATIBLE,
    502: HangupCause.NETWORK,
    503: HangupCause.CONGESTION,
    504: HangupCause.NETWORK,
    600: HangupCause.BUSY,
    603: HangupCause.REJECTED,
    604: HangupCause.UNALLOCATED,
    606: HangupCause.INCOMPATIBLE,
    607: HangupCause.REJECTED,
    608: HangupCause.REJECTED,
}

# ITU-T Q.850, table 1, folded likewise; what is not here goes by its class (hundreds of RFC 3398, 7.2.4.1).
_Q850 = {
    1: HangupCause.UNALLOCATED,
    2: HangupCause.NO_ROUTE,
    3: HangupCause.NO_ROUTE,
    7: HangupCause.SUPERSEDED,
    16: HangupCause.NORMAL,
    17: HangupCause.BUSY,
    18: HangupCause.NO_ANSWER,
    19: HangupCause.NO_ANSWER,
    20: HangupCause.UNREACHABLE,
    21: HangupCause.REJECTED,
    22: HangupCause.UNALLOCATED,
    26: HangupCause.NORMAL,
    27: HangupCause.UNREACHABLE,
    28: HangupCause.INVALID_NUMBER,
    31: HangupCause.NORMAL,
    38: HangupCause.NETWORK,
    55: HangupCause.REJECTED,
    57: HangupCause.REJECTED,
    65: HangupCause.INCOMPATIBLE,
    70: HangupCause.INCOMPATIBLE,
    79: HangupCause.INCOMPATIBLE,
    87: HangupCause.REJECTED,
    88: HangupCause.INCOMPATIBLE,
    102: HangupCause.MEDIA_TIMEOUT,
    127: HangupCause.INTERNAL,
}
_CLASSES = {
    0: HangupCause.NORMAL,
    16: HangupCause.NORMAL,
    32: HangupCause.CONGESTION,  # no circuit, resource unavailable
    48: HangupCause.REJECTED,  # service not available
    64: HangupCause.INCOMPATIBLE,  # not implemented
    80: HangupCause.INCOMPATIBLE,  # invalid message
    96: HangupCause.TEMPORARY,  # protocol error
    112: HangupCause.INTERNAL,  # interworking
}

# RFC 3398, section 7.2.4.1 (Q.850 -> SIP status), for a call that is refused before its answer.
_STATUSES = {
    HangupCause.UNALLOCATED: 404,
    HangupCause.NO_ROUTE: 404,
    HangupCause.SUPERSEDED: 480,
    HangupCause.NORMAL: 480,
    HangupCause.BUSY: 486,
    HangupCause.NO_ANSWER: 480,
    HangupCause.UNREACHABLE: 480,
    HangupCause.REJECTED: 603,
    HangupCause.INVALID_NUMBER: 484,
    HangupCause.NETWORK: 502,
    HangupCause.TEMPORARY: 503,
    HangupCause.CONGESTION: 503,
    HangupCause.INCOMPATIBLE: 488,
    HangupCause.MEDIA_TIMEOUT: 504,
    HangupCause.INTERNAL: 500,
    HangupCause.CANCELLED: 487,
}


def cause_of_status(status: int) -> HangupCause:
    """The cause that a final SIP answer stands for; 0 means that no answer came."""
    known = _CAUSES.get(status)
    if known is not None:
        return known
    return HangupCause.REJECTED if 600 <= status < 700 else HangupCause.TEMPORARY


def cause_of_q850(code: int) -> HangupCause:
    """The cause that a Q.850 code (1 to 127) stands for."""
    known = _Q850.get(code)
    if known is not None:
        return known
    if code == 41 or not 0 <= code <= 127:
        return HangupCause.TEMPORARY
    return _CLASSES[code // 16 * 16]


def status_of_cause(cause: HangupCause) -> int:
    """The SIP answer that refuses a call for this cause."""
    return _STATUSES[cause]
