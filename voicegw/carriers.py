"""The carriers that are configured: each mounted into the web server, each a way out for calls."""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from media.leg import CallInfo
from media.metronome import Metronome
from sip.carrier import Carrier
from sip.carrierdesk import CarrierDesk, CarrierHost, DeskStats
from sip.carrierrest import RestClient, RestStats
from sip.carrierweb import CarrierMount
from sip.endpoint import WayOut
from sip.plivo import Plivo
from sip.telnyxcarrier import Telnyx
from sip.twiliocarrier import Twilio
from voicegw import clock
from voicegw.admission import NOT_FOUND
from voicegw.calls import CallManager
from voicegw.config.model import Config
from voicegw.errors import StartError
from voicegw.metrics import Metrics

log = logging.getLogger(__name__)

# Section of the configuration -> the carrier, and the setting without which it is not used.
_CARRIERS: Mapping[str, tuple[Callable[[Any], Carrier], str]] = {
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

    def __init__(self, config: Config, calls: CallManager, metronome: Metronome) -> None:
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
            config.carriers.stream,
        )
        self.mounts = [CarrierMount(carrier, host) for carrier in configured(config)]

    @property
    def ways(self) -> dict[str, WayOut]:
        """Those that can place calls, by name."""
        return {m.carrier.name: m.desk for m in self.mounts if m.carrier.capabilities.outbound}

    def watch(self, metrics: Metrics) -> None:
        """Count what comes, and what is asked."""
        for mount in self.mounts:
            carrier = mount.carrier
            name, text = carrier.name, carrier.name.capitalize()
            metrics.pull_counts(f"{name}_door", f"What came from {text}.", partial(_stats, mount.desk))
            if carrier.client is not None:
                metrics.pull_counts(f"{name}_rest", f"Requests to {text}.", partial(_stats, carrier.client))

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


def _stats(owner: CarrierDesk | RestClient) -> DeskStats | RestStats:
    return owner.stats


def _shown(data: Mapping[str, str]) -> dict[str, str]:
    return {f"carrier_{name.lower()}": value for name, value in data.items()}
