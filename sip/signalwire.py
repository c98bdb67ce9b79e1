"""SignalWire as a carrier: its compatibility interface is Twilio's (cXML, the same webhooks and messages),
with addresses, a signing key, and codecs of its own. The same webhooks, at /signalwire/.

https://developer.signalwire.com/compatibility-api
"""

from dataclasses import dataclass

from sip.carrier import WebRequest
from sip.carrierrest import RestConfig
from sip.mediacore import Encoding
from sip.twiliocarrier import Amd, TransferBy, Twilio, TwilioConfig

# Codec -> how its sound is written; L16 in little endian.
CODECS = {
    "PCMU@8000h": Encoding("PCMU", 8000),
    "L16@16000h": Encoding("PCM", 16000),
    "L16@24000h": Encoding("PCM", 24000),
}


@dataclass(frozen=True, slots=True)
class SignalWireConfig:
    """Calls over SignalWire (docs/carriers.md). Point the number's cXML webhook to
    PUBLIC_URL/signalwire/voice, its status callback to PUBLIC_URL/signalwire/status."""

    project_id: str = ""
    """Project id. Empty: SignalWire is not used."""
    space: str = ""
    """Host of the space, such as acme.signalwire.com."""
    api_token: str = ""
    """API token, best as ${SIGNALWIRE_API_TOKEN}: for requests."""
    signing_key: str = ""
    """Signing key of the project, best as ${SIGNALWIRE_SIGNING_KEY}: webhooks are signed with it."""
    codec: str = "PCMU@8000h"
    """Of the socket: PCMU@8000h, or L16@16000h and L16@24000h for callers in HD voice (as for
    carriers.vonage.rate)."""
    caller: str = ""
    """Caller id of outbound calls that bring none: one of the project's numbers, +49..."""
    transfer: TransferBy = TransferBy.CONFERENCE
    """As carriers.twilio.transfer."""
    amd: Amd = Amd.OFF
    """As carriers.twilio.amd."""
    record: bool = False
    """SignalWire records too, on two channels; its address comes into the timeline. Costs extra."""
    api_url: str = ""
    """Where requests go. Empty: to the space."""
    rest: RestConfig = RestConfig()

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.codec not in CODECS:
            raise ValueError(f"codec must be one of {', '.join(CODECS)}, not {self.codec!r}")


class SignalWire(Twilio):
    """One project."""

    name = "signalwire"
    vendor = "SignalWire"
    signature_header = "X-SignalWire-Signature"
    api_path = "/api/laml/2010-04-01"

    def __init__(self, config: SignalWireConfig) -> None:
        """Raises ValueError for settings that cannot work."""
        if not config.signing_key:
            raise ValueError("signing_key is needed: without it no webhook can be checked")
        if not config.api_token:
            raise ValueError("api_token is needed: without it no call can be ended")
        if not config.space and not config.api_url:
            raise ValueError("space is needed, such as acme.signalwire.com")
        self.encoding, self.codec = CODECS[config.codec], config.codec
        super().__init__(
            TwilioConfig(
                config.project_id,
                config.signing_key,
                config.project_id,
                config.api_token,
                config.api_url or f"https://{config.space}",
                config.caller,
                config.transfer,
                config.amd,
                config.record,
                rest=config.rest,
            )
        )

    def check_socket(self, request: WebRequest) -> None:
        """SignalWire signs no sockets: the pass in the address is all there is."""
