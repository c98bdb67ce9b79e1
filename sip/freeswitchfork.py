"""FreeSWITCH's media bugs as carriers: mod_audio_fork and mod_audio_stream, started by a dialplan or a
program of your own. The socket brings the sound; hang-up, keys and hand-over go by the event socket.

The modules connect without a webhook: user and password (`Authorization`) keep strangers out. Their messages:
sip/audiofork.py.
"""

import logging
from dataclasses import dataclass, replace

from dialog.types import Transfer
from media.errors import MediaError, TransferError, Unsupported
from media.leg import HangupCause
from sip.audiofork import RATES, ForkCore, StreamCore
from sip.carrier import Announced, Carrier, Desk, Refused, WebAnswer, WebRequest, check_basic
from sip.errors import LocalProtocolError
from sip.esl import commands
from sip.esl.client import EslClient, EslConfig
from sip.esl.counters import EslCounters
from sip.esl.errors import CommandRefused, EslError
from sip.mediacore import Capabilities, Means, MediaStreamCore
from sip.medialine import CallControl

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ForkConfig:
    """Calls from a FreeSWITCH module that sends its sound to PUBLIC_URL/NAME/media (docs/carriers.md)."""

    password: str = ""
    """Password that the module brings (Basic), best from the environment. Empty: it is not used."""
    user: str = "voicegw"
    """User name that the module brings."""
    rate: int = 8000
    """Hz of the sound, where the metadata does not name it (`sampleRate`)."""
    esl: EslConfig = EslConfig()
    """The event socket of that FreeSWITCH, by which calls are ended, handed over, and keys pressed. Without
    its password all that we can do is close the socket: the dialplan must do the rest."""
    context: str = "default"
    """Dialplan context that a hand-over's target is looked up in."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.rate not in RATES:
            raise ValueError(f"rate must be one of {', '.join(map(str, RATES))}, not {self.rate}")


class AudioFork(Carrier):
    """mod_audio_fork of one FreeSWITCH."""

    name = "audiofork"
    announced = False
    distant = False
    subprotocols: tuple[str, ...] = ("audio.drachtio.org", "audio.jambonz.org")
    capabilities = Capabilities(
        clear=True, played=True, dtmf_in=True, dtmf_out=Means.REST, hangup=Means.REST, transfer=True
    )

    def __init__(self, config: ForkConfig) -> None:
        self.config = config
        self.esl = EslClient(config.esl, EslCounters()) if config.esl.password else None
        if self.esl is None:
            self.capabilities = replace(self.capabilities, hangup=Means.FLOW)

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return ForkCore(self.config.rate)

    async def serve(self) -> None:
        """Keep the event socket up."""
        if self.esl is not None:
            await self.esl.run()

    def check(self, request: WebRequest) -> None:
        """There are no webhooks."""
        raise Refused("there are no webhooks", 404)

    def check_socket(self, request: WebRequest) -> None:
        """Raise Refused unless it brings user and password."""
        check_basic(request, self.config.user, self.config.password)

    async def hook(self, hook: str, request: WebRequest, desk: Desk) -> WebAnswer:
        """There are none."""
        raise Refused("there are no webhooks", 404)

    def control(self, call: Announced, desk: Desk) -> CallControl:
        """Of one call."""
        return ForkControl(self, call.call_id)


class AudioStream(AudioFork):
    """mod_audio_stream of one FreeSWITCH, in the edition that plays binary messages."""

    name = "audiostream"
    subprotocols = ()
    capabilities = Capabilities(dtmf_out=Means.REST, hangup=Means.REST, transfer=True)

    def core(self) -> MediaStreamCore:
        """Of a new stream."""
        return StreamCore(self.config.rate)


class ForkControl:
    """Implements `sip.medialine.CallControl` for one channel."""

    def __init__(self, carrier: AudioFork, channel: str) -> None:
        self._carrier, self._channel = carrier, channel

    async def hangup(self, cause: HangupCause) -> None:
        """End the channel; without an event socket, closing the media socket must do."""
        if self._carrier.esl is None:
            return
        try:
            await self._do("uuid_kill", "")
        except CommandRefused:
            return  # it is gone
        except (EslError, LocalProtocolError) as error:
            extra = {"carrier_id": self._channel, "error": str(error)}
            log.warning("FreeSWITCH did not end the call", extra=extra)

    async def press(self, digits: str) -> None:
        """Press keys. Raises Unsupported, MediaError."""
        try:
            await self._do("uuid_send_dtmf", digits)
        except (EslError, LocalProtocolError) as error:
            raise MediaError(f"FreeSWITCH did not press {digits}: {error}") from error

    async def transfer(self, order: Transfer) -> None:
        """Send the channel to the target's extension: the caller leaves at once, come what may."""
        target = order.target
        scheme, _, address = target.partition(":")
        try:
            if scheme.lower() in {"sip", "sips"} and address:
                plan = f"{commands.word(f'bridge:sofia/external/{address}')} inline"
            else:
                plan = f"{commands.number(target)} XML {commands.name(self._carrier.config.context)}"
            await self._do("uuid_transfer", plan)
        except (EslError, LocalProtocolError) as error:
            raise TransferError(f"FreeSWITCH did not transfer to {target}: {error}") from error

    async def _do(self, command: str, arguments: str) -> None:
        esl, name = self._carrier.esl, self._carrier.name
        if esl is None:
            raise Unsupported(f"{name}: without carriers.{name}.esl.password calls can only be left")
        await esl.api(command, f"{commands.word(self._channel)} {arguments}".rstrip())
