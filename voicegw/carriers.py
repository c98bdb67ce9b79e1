"""The carriers that are configured: each mounted into the web server, each a way out for calls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from media.leg import CallInfo
from media.metronome import Metronome
from media.tasks import Start
from sip.audiohook import AudioHook
from sip.audiosocket import AudioSocket
from sip.bandwidth import Bandwidth
from sip.carrier import Carrier
from sip.carrierdesk import CarrierHost
from sip.carrierweb import CarrierMount
from sip.chanwebsocket import ChanWebSocket
from sip.endpoint import WayOut
from sip.exotel import Exotel
from sip.freeswitchfork import AudioFork, AudioStream
from sip.jambonz import Jambonz
from sip.mediacore import Capabilities, Means
from sip.plivo import Plivo
from sip.signalwire import SignalWire
from sip.telnyxcarrier import Telnyx
from sip.twiliocarrier import Twilio
from sip.vonage import Vonage
from voicegw import clock
from voicegw.admission import NOT_FOUND
from voicegw.archive import Archive
from voicegw.calls import CallManager
from voicegw.config.model import Config
from voicegw.errors import StartError
from voicegw.latereports import LateReports

# Section of the configuration -> the carrier, and the setting without which it is not used.
_CARRIERS: Mapping[str, tuple[Any, str]] = {
    "twilio": (Twilio, "account_sid"),
    "telnyx": (Telnyx, "api_key"),
    "plivo": (Plivo, "auth_id"),
    "vonage": (Vonage, "application_id"),
    "jambonz": (Jambonz, "account_sid"),
    "signalwire": (SignalWire, "project_id"),
    "asterisk": (ChanWebSocket, "password"),
    "bandwidth": (Bandwidth, "account_id"),
    "exotel": (Exotel, "account_sid"),
    "audiohook": (AudioHook, "api_key"),
    "audiofork": (AudioFork, "password"),
    "audiostream": (AudioStream, "password"),
    "audiosocket": (AudioSocket, "enabled"),
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


@dataclass(frozen=True, slots=True)
class CarrierParts:
    """What all carriers share."""

    calls: CallManager
    metronome: Metronome
    archive: Archive
    start: Start  # owns tasks that outlive a call


class Carriers:
    """All of them. Belongs to one loop."""

    def __init__(self, config: Config, parts: CarrierParts) -> None:
        """Raises StartError for a carrier that cannot work."""
        self._config, self._calls, self._start = config, parts.calls, parts.start
        self.late = LateReports(parts.archive, parts.start)
        self._own_url = ""
        self.mounts = [CarrierMount(c, self._host(c.name, parts.metronome)) for c in configured(config)]

    def _host(self, carrier: str, metronome: Metronome) -> CarrierHost:
        return CarrierHost(
            self._calls.on_call,
            self._refusal,
            metronome,
            self._public_url,
            lambda: clock.utc().timestamp(),
            partial(self._report, carrier),
            self._start,
            self._config.carriers.stream,
        )

    @property
    def ways(self) -> dict[str, WayOut]:
        """Those that can place calls, by name."""
        return {m.carrier.name: m.desk for m in self.mounts if m.carrier.capabilities.outbound}

    async def start(self, own_url: str) -> None:
        """Open ports of their own; `own_url`: where the web server can be reached where no `http.public_url`
        is given. Raises StartError for a port that is taken."""
        self._own_url = own_url
        for mount in self.mounts:
            try:
                await mount.start()
                self._start(mount.carrier.serve(), f"{mount.carrier.name} connection")
            except OSError as error:
                raise StartError(f"carriers.{mount.carrier.name}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Close connections, and keep what carriers told of calls that are over. Idempotent."""
        await self.late.close()
        for mount in self.mounts:
            await mount.close()

    def _public_url(self) -> str:
        return (self._config.http.public_url or self._own_url).rstrip("/")

    def _refusal(self, info: CallInfo) -> str:
        refusal = self._calls.refusal(self._calls.flow_for(info), info)
        return "" if refusal is None else "not_found" if refusal is NOT_FOUND else "busy"

    def _report(self, carrier: str, call_id: str, kind: str, data: Mapping[str, str]) -> None:
        """Into the call's timeline, while the call lasts or afterwards."""
        fields = {**data, "kind": kind}
        call = self._calls.live.of_carrier(call_id)
        if call is not None and call.journal is not None:
            call.journal.event("carrier", **fields)
        else:
            self.late.report(carrier, call_id, fields)


_WORDS = {
    Means.NO: "no",
    Means.SOCKET: "the socket",
    Means.REST: "a request",
    Means.TONES: "sound",
    Means.FLOW: "its own flow",
}


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
        return _WORDS[value]
    return "yes" if value else "no"
