"""What FreeSWITCH measured of a call, from CHANNEL_HANGUP_COMPLETE: the other half of its quality."""

from collections.abc import Mapping
from typing import Protocol

from sip.esl.messages import Event

_NUMBERS = {
    "caller_mos": "variable_rtp_audio_in_mos",
    "caller_loss_percent": "variable_rtp_audio_in_jitter_loss_rate",
    "caller_packets": "variable_rtp_audio_in_packet_count",
    "caller_packets_sent": "variable_rtp_audio_out_packet_count",
    "caller_flaws": "variable_rtp_audio_in_flaw_total",
}
_TEXTS = {
    "switch_cause": "Hangup-Cause",
    "switch_disposition": "variable_sip_hangup_disposition",
    "switch_codec": "variable_read_codec",
    "sip_call_id": "variable_sip_call_id",
}


class HasFields(Protocol):
    """Figures of a call's media."""

    def fields(self) -> dict[str, object]:
        """Flat, for the timeline."""


def figures_of(event: Event) -> dict[str, object]:
    """Flat, for the timeline; what FreeSWITCH does not say is left out. `caller_...` is what FreeSWITCH
    received from the caller, the rest of our figures is what passed between FreeSWITCH and us."""
    found: dict[str, object] = {}
    for name, header in _NUMBERS.items():
        value = event.number(header)
        if value is not None:
            found[name] = round(value, 2)
    # The largest variance of the packets' spacing that was seen, in ms squared.
    variance = event.number("variable_rtp_audio_in_jitter_max_variance")
    if variance is not None:
        found["caller_jitter_ms"] = round(max(0.0, variance) ** 0.5, 2)
    for name, header in _TEXTS.items():
        if event.get(header):
            found[name] = event.get(header)
    status = sip_status_of(event)
    if status:
        found["sip_status"] = status
    return found


def sip_status_of(event: Event) -> int:
    """The SIP answer that ended a call; 0 if there was none."""
    for header in ("variable_sip_invite_failure_status", "variable_sip_term_status"):
        status = event.number(header)
        if status is not None and 300 <= status < 700:
            return int(status)
    return 0


class SwitchStats:
    """Our own figures with FreeSWITCH's beside them."""

    def __init__(self, media: HasFields) -> None:
        self._media = media
        self.switch: Mapping[str, object] = {}

    def fields(self) -> dict[str, object]:
        """Flat, for the timeline."""
        return {**self._media.fields(), **self.switch}
