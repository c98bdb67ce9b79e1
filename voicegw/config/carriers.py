"""Settings of carriers whose calls come over a media socket (docs/carriers.md)."""

from dataclasses import dataclass

from sip.audiosocket import AudioSocketConfig
from sip.medialine import StreamConfig
from sip.plivo import PlivoConfig
from sip.telnyxcarrier import TelnyxConfig
from sip.twiliocarrier import TwilioConfig
from sip.vonage import VonageConfig


@dataclass(frozen=True, slots=True)
class CarriersConfig:
    """Carriers whose calls come over a media socket: see docs/carriers.md. They must reach this server:
    `http.public_url`."""

    stream: StreamConfig = StreamConfig()
    twilio: TwilioConfig = TwilioConfig()
    telnyx: TelnyxConfig = TelnyxConfig()
    plivo: PlivoConfig = PlivoConfig()
    vonage: VonageConfig = VonageConfig()
    audiosocket: AudioSocketConfig = AudioSocketConfig()
