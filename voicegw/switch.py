"""FreeSWITCH in front of the server: what the composition root builds where `freeswitch.enabled` is set."""

from pathlib import Path

from dialog.flow.engine import FlowEngine
from dialog.types import DialogEngine
from media.leg import CallInfo
from media.tts.base import TextToSpeech
from recordings.writer import DiskWriter
from sip.endpoint import OnCall, WayOut
from sip.freeswitch import FreeswitchEdge
from sip.freeswitch.config import FreeswitchConfig
from sip.freeswitch.inbound import CARRIER
from voicegw import clock
from voicegw.errors import StartError
from voicegw.health import Health
from voicegw.metrics import Metrics
from voicegw.resume import DialogStates, ResumableDialog, ResumingRouter
from voicegw.routing import Router
from voicegw.watch import watch_freeswitch


class Switch:
    """The edge, and the dialogs that outlive a crash of this server."""

    def __init__(self, config: FreeswitchConfig, data: Path, writer: DiskWriter, voice: TextToSpeech) -> None:
        self._config = config
        self.edge = FreeswitchEdge(config, voice)
        self._states = DialogStates(data / "dialogs", writer, lambda: clock.utc().timestamp())
        calls = self.edge.calls
        self._states.channel_of = calls.channel_of
        calls.on_ended, calls.on_superseded = self._states.forget, self._states.leave
        calls.left_over = self._states.channels

    @property
    def ways(self) -> dict[str, WayOut]:
        """What can place calls, by the name that `outbound.routes` uses."""
        return {CARRIER: self.edge}

    def router(self, router: Router) -> Router:
        """Calls that go on after a crash keep their flow."""
        return ResumingRouter(router, self._states)

    def dialog(self, call: CallInfo, engine: DialogEngine) -> DialogEngine:
        """The conversation of a call of FreeSWITCH is kept; that of a language model is not: its memory is
        the whole conversation."""
        if call.carrier != CARRIER or not isinstance(engine, FlowEngine):
            return engine
        return ResumableDialog(engine, self._states, call, self._config.resume_phrase)

    async def start(self, on_call: OnCall, sip_uri: str) -> None:
        """Open the door for FreeSWITCH. Raises StartError if its port is taken."""
        try:
            await self.edge.start(on_call, sip_uri.partition("@")[2])
        except OSError as error:
            where = f"{self._config.socket_host} port {self._config.socket_port}"
            reason = error.strerror or error
            message = f"freeswitch: cannot listen on {where}: {reason}; see freeswitch.socket_port"
            raise StartError(message) from error

    def watch(self, metrics: Metrics, health: Health) -> None:
        """Counters and faults."""
        watch_freeswitch(self.edge, metrics, health)
