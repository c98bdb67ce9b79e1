"""Settings of carriers whose calls come over a media socket (docs/carriers.md)."""

from dataclasses import dataclass

from sip.audiohook import AudioHookConfig
from sip.audiosocket import AudioSocketConfig
from sip.bandwidth import BandwidthConfig
from sip.chanwebsocket import ChanWebSocketConfig
from sip.exotel import ExotelConfig
from sip.freeswitchfork import ForkConfig
from sip.jambonz import JambonzConfig
from sip.medialine import StreamConfig
from sip.plivo import PlivoConfig
from sip.signalwire import SignalWireConfig
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
    jambonz: JambonzConfig = JambonzConfig()
    signalwire: SignalWireConfig = SignalWireConfig()
    asterisk: ChanWebSocketConfig = ChanWebSocketConfig()
    bandwidth: BandwidthConfig = BandwidthConfig()
    exotel: ExotelConfig = ExotelConfig()
    audiohook: AudioHookConfig = AudioHookConfig()
    audiofork: ForkConfig = ForkConfig()
    audiostream: ForkConfig = ForkConfig()
    audiosocket: AudioSocketConfig = AudioSocketConfig()
