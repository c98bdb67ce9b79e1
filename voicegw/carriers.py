"""The carriers that are configured: each mounted into the web server, each a way out for calls."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from media.leg import CallInfo
from media.metronome import Metronome
from media.tasks import Start
from sip.carrier import Carrier
from sip.carrierdesk import CarrierHost
from sip.carrierweb import CarrierMount
from sip.endpoint import WayOut
from sip.mediacore import Capabilities, Means
from sip.plivo import Plivo
from sip.telnyxcarrier import Telnyx
from sip.twiliocarrier import Twilio
from voicegw import clock
from voicegw.admission import NOT_FOUND
from voicegw.calls import CallManager
from voicegw.config.model import Config
from voicegw.errors import StartError

log = logging.getLogger(__name__)

# Section of the configuration -> the carrier, and the setting without which it is not used.
_CARRIERS: Mapping[str, tuple[Any, str]] = {
    "twilio": (Twilio, "account_sid"),
    "telnyx": (Telnyx, "api_key"),
    "plivo": (Plivo, "auth_id"),
}


def configured(config: Config) -> Iterator[Carrier]:
    """Carriers whose section is filled in. Raises StartError for one that cannot work."""
    for section, (make, needed) in _CARRIERS.items():
        settings = getattr(config.carriers, section)
        if not getattr(settings, needed):
            continue
        try:
            yield make(settings)
        except ValueError as error:
            raise StartError(f"carriers.{section}: {error}") from error


class Carriers:
    """All of them. Belongs to one loop."""

    def __init__(self, config: Config, calls: CallManager, metronome: Metronome, start: Start) -> None:
        """Raises StartError for a carrier that cannot work."""
        self._config, self._calls = config, calls
        self.own_url = ""
        """Where the web server can be reached, once it is started; where no `http.public_url` is given."""
        host = CarrierHost(
            calls.on_call,
            self._refusal,
            metronome,
            self._public_url,
            lambda: clock.utc().timestamp(),
            self._report,
            start,
            config.carriers.stream,
        )
        self.mounts = [CarrierMount(carrier, host) for carrier in configured(config)]

    @property
    def ways(self) -> dict[str, WayOut]:
        """Those that can place calls, by name."""
        return {m.carrier.name: m.desk for m in self.mounts if m.carrier.capabilities.outbound}

    async def close(self) -> None:
        """Close connections. Idempotent."""
        for mount in self.mounts:
            await mount.close()

    def _public_url(self) -> str:
        return (self._config.http.public_url or self.own_url).rstrip("/")

    def _refusal(self, info: CallInfo) -> str:
        refusal = self._calls.refusal(self._calls.flow_for(info), info)
        return "" if refusal is None else "not_found" if refusal is NOT_FOUND else "busy"

    def _report(self, call_id: str, kind: str, data: Mapping[str, str]) -> None:
        """Into the call's timeline while it lasts; what comes later is in the log."""
        call = self._calls.live.of_carrier(call_id)
        if call is not None and call.journal is not None:
            call.journal.event("carrier", kind=kind, **data)
        log.info("carrier reports", extra={"kind": kind, "carrier_id": call_id, **_shown(data)})


def _shown(data: Mapping[str, str]) -> dict[str, str]:
    return {f"carrier_{name.lower()}": value for name, value in data.items()}


def capability_table() -> str:
    """What each carrier can do, as docs/carriers.md prints it; made from their records."""
    rows = [
        "| carrier | interrupted at once | heard is measured | keys in | keys out | ends calls by "
        "| hand-over | conference | outbound | answering machine | records too |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for section, (carrier, _) in _CARRIERS.items():
        can: Capabilities = carrier.capabilities
        cells: list[bool | Means] = [can.clear, can.played, can.dtmf_in, can.dtmf_out, can.hangup]
        cells += [can.transfer, can.conference, can.outbound, can.amd, can.recording]
        rows.append(f"| {section} | {' | '.join(map(_cell, cells))} |")
    return "\n".join(rows)


def _cell(value: bool | Means) -> str:
    if isinstance(value, Means):
        words = {Means.NO: "no", Means.SOCKET: "the socket", Means.REST: "a request", Means.TONES: "sound"}
        return words[value]
    return "yes" if value else "no"
