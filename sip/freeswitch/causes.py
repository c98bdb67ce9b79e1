"""FreeSWITCH's hang-up causes (``switch_types.h``), Q.850 and SIP statuses."""

from media.leg import HangupCause
from sip.errors import CallFailed

SUPERSEDED = "SUPERSEDED"  # ours: FreeSWITCH has brought the channel once more, see sessions.py
_CAUSES = {
    "UNALLOCATED_NUMBER": (HangupCause.UNALLOCATED, 404),
    "NO_ROUTE_TRANSIT_NET": (HangupCause.NO_ROUTE, 404),
    "NO_ROUTE_DESTINATION": (HangupCause.NO_ROUTE, 404),
    "INVALID_GATEWAY": (HangupCause.NO_ROUTE, 0),
    "INVALID_PROFILE": (HangupCause.NO_ROUTE, 0),
    "INVALID_URL": (HangupCause.INVALID_NUMBER, 484),
    "CHAN_NOT_IMPLEMENTED": (HangupCause.NO_ROUTE, 0),
    "NORMAL_CLEARING": (HangupCause.NORMAL, 0),
    "NORMAL_UNSPECIFIED": (HangupCause.NORMAL, 0),
    "MANAGER_REQUEST": (HangupCause.NORMAL, 0),
    "ATTENDED_TRANSFER": (HangupCause.NORMAL, 0),
    "BLIND_TRANSFER": (HangupCause.NORMAL, 0),
    "USER_BUSY": (HangupCause.BUSY, 486),
    "NO_USER_RESPONSE": (HangupCause.NO_ANSWER, 408),
    "NO_ANSWER": (HangupCause.NO_ANSWER, 480),
    "ALLOTTED_TIMEOUT": (HangupCause.NO_ANSWER, 408),
    "PROGRESS_TIMEOUT": (HangupCause.NO_ANSWER, 408),
    "ORIGINATOR_CANCEL": (HangupCause.CANCELLED, 487),
    "LOSE_RACE": (HangupCause.CANCELLED, 487),
    "CALL_REJECTED": (HangupCause.REJECTED, 603),
    "SUBSCRIBER_ABSENT": (HangupCause.UNREACHABLE, 480),
    "USER_NOT_REGISTERED": (HangupCause.UNREACHABLE, 480),
    "GATEWAY_DOWN": (HangupCause.UNREACHABLE, 0),
    "DESTINATION_OUT_OF_ORDER": (HangupCause.UNREACHABLE, 502),
    "NETWORK_OUT_OF_ORDER": (HangupCause.NETWORK, 500),
    "RECOVERY_ON_TIMER_EXPIRE": (HangupCause.UNREACHABLE, 0),
    "INVALID_NUMBER_FORMAT": (HangupCause.INVALID_NUMBER, 484),
    "NORMAL_TEMPORARY_FAILURE": (HangupCause.TEMPORARY, 503),
    "NORMAL_CIRCUIT_CONGESTION": (HangupCause.CONGESTION, 503),
    "SWITCH_CONGESTION": (HangupCause.CONGESTION, 503),
    "INCOMPATIBLE_DESTINATION": (HangupCause.INCOMPATIBLE, 488),
    "BEARERCAPABILITY_NOTAUTH": (HangupCause.REJECTED, 403),
    "OUTGOING_CALL_BARRED": (HangupCause.REJECTED, 403),
    "MEDIA_TIMEOUT": (HangupCause.MEDIA_TIMEOUT, 0),
    "SYSTEM_SHUTDOWN": (HangupCause.NETWORK, 0),
    "LOST": (HangupCause.NETWORK, 0),
    SUPERSEDED: (HangupCause.SUPERSEDED, 0),
}
_NAMES = {
    HangupCause.NORMAL: "NORMAL_CLEARING",
    HangupCause.SUPERSEDED: "NORMAL_CLEARING",
    HangupCause.CANCELLED: "ORIGINATOR_CANCEL",
    HangupCause.MEDIA_TIMEOUT: "MEDIA_TIMEOUT",
    HangupCause.TEMPORARY: "NORMAL_TEMPORARY_FAILURE",
    HangupCause.INTERNAL: "NORMAL_TEMPORARY_FAILURE",
    HangupCause.NETWORK: "NETWORK_OUT_OF_ORDER",
}
_REFUSALS = {404: "UNALLOCATED_NUMBER", 480: "NO_ANSWER", 486: "USER_BUSY", 603: "CALL_REJECTED"}


def cause_of(name: str) -> HangupCause:
    """Our cause for FreeSWITCH's; TEMPORARY for one that we do not know."""
    return _CAUSES.get(name, (HangupCause.TEMPORARY, 0))[0]


def name_of(cause: HangupCause) -> str:
    """FreeSWITCH's name for our cause."""
    known = (name for name, (value, _) in _CAUSES.items() if value is cause)
    return _NAMES.get(cause) or next(known, "NORMAL_CLEARING")


def refusal_of(status: int) -> str:
    """The cause with which an unanswered channel is hung up, so that its caller gets about this status."""
    return _REFUSALS.get(status, "NORMAL_TEMPORARY_FAILURE")


def failure_of(name: str, sip_status: int = 0) -> CallFailed:
    """Why a call that FreeSWITCH placed was not answered. Its cause is FreeSWITCH's, which knows more than
    the SIP status: a gateway that does not exist, a number that nobody registered."""
    cause, status = _CAUSES.get(name, (HangupCause.TEMPORARY, 0))
    if cause is HangupCause.NORMAL:  # hung up before the answer
        cause, status = HangupCause.CANCELLED, 487
    if cause is HangupCause.NO_ANSWER and sip_status == 487:
        sip_status = 0  # the answer to FreeSWITCH's own CANCEL, when it had rung for long enough
    failure = CallFailed(sip_status or status, name or "failed")
    failure.cause = cause
    return failure
