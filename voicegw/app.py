"""The composition root: builds every part once, in the order in which they need each other.

    data folder -> engines for the flows -> SIP -> HTTP      ready once all of it stands

What cannot start ends the start with one sentence. Leaving the block stops everything, last first.
"""

import errno
import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

from dialog.agent.engine import AgentParts
from dialog.agent.spec import AgentSpec
from dialog.types import DialogEngine
from media.callconfig import TransferHow
from media.eot.base import EndOfTurn
from media.errors import MediaError, ProviderError
from media.fallback.recorded import RecordedVoice
from media.leg import CallInfo
from media.metronome import Metronome
from media.stt.base import SpeechToText
from media.tasks import task_scope
from media.tts.base import TextToSpeech
from sip.endpoint import SipEndpoint, WayOut
from sip.errors import SipError
from sip.rtpmedia import RtpMedia
from sip.ua.agent import UserAgent
from voicegw import dialapi, dialplan, engines
from voicegw.archive import Archive
from voicegw.bansapi import BansApi
from voicegw.callbacks import Callbacks
from voicegw.calls import CallManager, CallParts, NewDialog
from voicegw.carriers import CarrierParts, Carriers
from voicegw.config import Config
from voicegw.config.model import SipStack
from voicegw.datafolder import data_folder
from voicegw.dialapi import DialApi
from voicegw.dialler import LiveDialler
from voicegw.dialplan import DialPlan
from voicegw.drainapi import DrainApi
from voicegw.engines import agent_parts, maker, warm_up
from voicegw.errors import StartError
from voicegw.extension import EXTENSION, ExtensionDialog, phones_of
from voicegw.flows import Conversation, domain_of, new_dialog
from voicegw.health import Health
from voicegw.keeper import CallKeeper, KeeperConfig, open_keeper
from voicegw.liveapi import LiveApi
from voicegw.measure import MeasuredVoice
from voicegw.metrics import Metrics
from voicegw.modelsapi import ModelsApi
from voicegw.mount import Mount
from voicegw.outbound import Dialer, DialParts
from voicegw.routing import Router
from voicegw.server import HttpServer, WebParts
from voicegw.stall import StallWatch
from voicegw.storage.engine import StorageError, database_url
from voicegw.storage.reader import CallReader
from voicegw.switch import Switch
from voicegw.voices import Voices
from voicegw.watch import (
    watch_callbacks,
    watch_carriers,
    watch_ears,
    watch_engine,
    watch_keeper,
    watch_sip,
    watch_softphone,
    watch_stalls,
    watch_ticker,
)

log = logging.getLogger(__name__)


class App:
    """The server. `async with App(config, flows) as app` answers calls until the block is left."""

    def __init__(self, config: Config, flows: dict[str, Conversation]) -> None:
        self._config, self._flows = config, flows
        self._stack = AsyncExitStack()
        self._stopping = False
        self.metrics = Metrics()
        self.calls: CallManager
        self.sip: SipEndpoint
        self.switch: Switch | None = None
        self.dialer: Dialer
        self._dialler = LiveDialler()  # for calls in progress
        self._spoken: Voices
        self.carriers: Carriers
        self.http: HttpServer

    async def __aenter__(self) -> Self:
        started = False
        try:
            await self._start()
            started = True
        finally:
            if not started:  # stop what has started; task groups shall not wrap the reason
                await self._stack.aclose()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def sip_uri(self) -> str:
        """Where we can be called. On all addresses, but open to this machine only (the default), that is
        its loopback address, which stays the same when the network changes."""
        sip = self._config.sip
        if sip.host == "0.0.0.0" and not (sip.allow or sip.trunks or sip.public_host):
            return f"sip:{sip.user}@127.0.0.1:{self.sip.uri.rpartition(':')[2]}"
        return self.sip.uri

    @property
    def has_softphone(self) -> bool:
        """Whether the first page is one that calls."""
        return bool(self._softphone)

    async def drain(self) -> None:
        """Take no more calls and bring those in progress to their end."""
        self._stopping = True
        self._close_doors(True)  # noqa: FBT003
        self.dialer.drain()
        log.info("draining", extra={"calls": len(self.calls.live), "limit_s": self._config.drain.limit_s})
        await self.calls.drain(self._config.drain.limit_s, self._config.drain.goodbye_s)

    def _close_doors(self, closed: bool) -> None:  # noqa: FBT001 - a state, not an option
        self.sip.draining = self.calls.draining = closed
        if self.switch is not None:
            self.switch.edge.draining = closed

    async def _start(self) -> None:
        config = self._config
        data = data_folder(config.data_dir)
        health = Health(lambda: len(self.calls.live), lambda: self.calls.draining)
        keeper = await self._keeper(data)
        voice = MeasuredVoice(await self._voice(health, data), self.metrics)
        ears = engines.ears(config)
        agents = await self._agents(health)
        router = Router(config.routing, self._flows, phones_of(config.sip))
        if config.freeswitch.enabled:
            self.switch = Switch(config.freeswitch, data, keeper.writer, voice)
            router = self.switch.router(router)
        parts = CallParts(
            router,
            {EXTENSION: ExtensionDialog}
            | {name: self._dialog(flow, agents) for name, flow in self._flows.items()},
            await self._ears(ears),
            voice,
            maker("vad", config.vad),
            session := replace(config.session, policy=config.turn),
            self._dialler,
            {EXTENSION: replace(session, transfer=replace(session.transfer, how=TransferHow.BRIDGE))},
            frozenset(config.routing.early_media),
            self._end_of_turn(),
            None if config.denoise is None else maker("denoise", config.denoise),
            config.outbound.amd,
            self._spoken.measured(self.metrics),
        )
        self.calls = CallManager(parts, config.limits, keeper, self.metrics)
        watch_keeper(keeper, self.metrics, health)
        watch_ears(ears, self.metrics, health)
        watch_ticker(self.metrics, health, config.limits.lateness_ms)
        self._watch_loop()
        reader = CallReader(database_url(config.storage, data))
        self._stack.push_async_callback(reader.close)
        await self._listen(health, Archive(reader, data), keeper)
        health.complete = True

    def _watch_loop(self) -> None:
        if limit_ms := self._config.limits.stall_ms:
            watch = StallWatch(limit_ms, lambda: bool(self.calls.live))
            watch_stalls(watch.counters, self.metrics)
            self._stack.enter_context(watch.watching())

    def _end_of_turn(self) -> EndOfTurn:
        estimate = engines.end_of_turn(self._config)
        self._stack.push_async_callback(estimate.close)
        return estimate

    async def _keeper(self, data: Path) -> CallKeeper:
        config = self._config
        keeping = KeeperConfig(data, config.recording, config.timeline, config.storage)
        try:
            return await self._stack.enter_async_context(open_keeper(keeping, [self.metrics.event]))
        except StorageError as error:
            raise StartError(f"storage: {error}") from error

    async def _voice(self, health: Health, data: Path) -> TextToSpeech:
        self._spoken = voices = Voices(self._config, data, self._flows.values())
        self._stack.push_async_callback(voices.close)
        voices.watch(self.metrics, health)
        voice, session = RecordedVoice(voices.main), self._config.session
        await voice.record((session.fallback_phrase, session.goodbye_phrase))
        start = await self._stack.enter_async_context(task_scope())
        start(voices.look_ahead(), "look-ahead")
        return voice

    async def _ears(self, ears: SpeechToText) -> SpeechToText:
        """Ready for every flow, in all its languages."""
        domains = {name: domain_of(flow, self._config) for name, flow in self._flows.items()}
        if any(domain.others for domain in domains.values()):
            ears = engines.polyglot_ears(self._config, ears)
        self._stack.push_async_callback(ears.close)
        for flow, domain in domains.items():
            try:
                await ears.prepare(domain)
            except ProviderError as error:
                name = self._config.stt.engine
                raise StartError(f"stt engine {name!r} cannot prepare flow {flow!r}: {error}") from error
        return ears

    async def _agents(self, health: Health) -> AgentParts | None:
        specs = [flow for flow in self._flows.values() if isinstance(flow, AgentSpec)]
        agents = agent_parts(self._config) if specs else None
        if agents is not None:
            self._stack.push_async_callback(agents.model.close)
            self._stack.push_async_callback(agents.tools.close)
            watch_engine("llm", agents.model, self.metrics, health)
            await warm_up(agents, specs, self._config)
        return agents

    def _dialog(self, flow: Conversation, agents: AgentParts | None) -> NewDialog:
        def new(call: CallInfo) -> DialogEngine:
            engine = new_dialog(flow, self._config, call, agents)
            self._spoken.follow(engine)
            return engine if self.switch is None else self.switch.dialog(call, engine)

        return new

    async def _listen(self, health: Health, archive: Archive, keeper: CallKeeper) -> None:
        """Open the doors."""
        metronome = Metronome(self.metrics.late.observe)
        self.sip = _endpoint(self._config, _rtp_media(self._config, metronome))
        start = await self._stack.enter_async_context(task_scope())
        self.carriers = Carriers(self._config, CarrierParts(self.calls, metronome, archive, start))
        self._stack.push_async_callback(self.carriers.close)
        watch_carriers(self.carriers, self.metrics)
        await self._bind()
        if self.switch is not None:
            await self.switch.start(self.calls.on_call, self.sip_uri)
        await self._outbound()
        self._stack.push_async_callback(self.sip.close)
        self._softphone = await self._browser(metronome, keeper)
        if self.switch is not None:
            self.switch.watch(self.metrics, health)
            self._stack.push_async_callback(self.switch.edge.close)
        self._stack.push_async_callback(self.calls.stop)
        if isinstance(self.sip, UserAgent):
            watch_sip(self.sip, self.metrics, health)
        live_view = partial(dialapi.live_view, self.dialer)
        web = WebParts(health, self.metrics, self.calls.live, archive, lambda: self.sip_uri, live_view)
        self.http = HttpServer(self._config.http, web, self._mounts())
        try:
            await self.http.start()
        except OSError as error:
            http = self._config.http
            raise StartError(f"http: {_no_listener(error, 'http', http.host, http.port)}") from error
        self._stack.push_async_callback(self.http.close)
        await self.carriers.start(self.http.url)

    def _mounts(self) -> list[Mount]:
        """Parts with web requests of their own."""
        live = LiveApi(self.calls.live, self._dialler)
        drain = DrainApi(self._close_doors, lambda: len(self.calls.live), lambda: self._stopping)
        mounts: list[Mount] = [
            DialApi(self.dialer),
            ModelsApi(self._config),
            drain,
            live,
            *self.carriers.mounts,
            *self._softphone,
        ]
        return [*mounts, BansApi(self.sip.sources)] if isinstance(self.sip, UserAgent) else mounts

    async def _browser(self, metronome: Metronome, keeper: CallKeeper) -> list[Mount]:
        """The softphone, if it is wanted and can be had. Raises StartError."""
        config = self._config
        if not config.webrtc.enabled:
            return []
        try:
            from voicegw.softphone.build import build  # noqa: PLC0415 - optional, a hundred megabytes
        except ImportError as error:
            hint = "pip install 'voicegw[webrtc]', or set webrtc.enabled to false"
            log.warning("no softphone", extra={"missing": error.name, "hint": hint})
            return []
        try:
            media, softphone = build(config, metronome, self.calls, keeper, self._flows, lambda: self.sip_uri)
        except ValueError as error:
            raise StartError(f"webrtc: {error}") from error
        watch_softphone(softphone.counters, self.metrics)
        await self._stack.enter_async_context(media)
        return [softphone]

    def _ways(self) -> dict[str, WayOut]:
        """What can place calls, by the names that `outbound.routes` uses."""
        switch = self.switch.ways if self.switch is not None else {}
        return {"sip": self.sip, **self.carriers.ways, **switch}

    async def _outbound(self) -> None:
        """What places calls, and tells of them. Raises StartError for routes that lead nowhere."""
        config, ways, trunks = self._config.outbound, self._ways(), self._config.sip.trunks
        if wrong := dialplan.problems(config.routes, trunks, tuple(ways)):
            raise StartError("\n".join(wrong))
        callbacks = Callbacks(config.callback, await self._stack.enter_async_context(task_scope()))
        self._stack.push_async_callback(callbacks.close)
        watch_callbacks(callbacks, self.metrics)
        start = await self._stack.enter_async_context(task_scope())
        plan = DialPlan(config.routes, trunks, phones_of(self._config.sip))
        self._dialler.open(plan, ways)
        self.dialer = Dialer(config, self.calls, DialParts(plan, ways, start, callbacks.report))

    async def _bind(self) -> None:
        """Start SIP. Raises StartError if the port is taken."""
        sip = self._config.sip
        try:
            await self.sip.start(self.switch.edge.on_sip_call if self.switch else self.calls.on_call)
        except OSError as error:
            section, port = ("sip.tls", sip.tls.port) if "TLS" in str(error) else ("sip", sip.port)
            raise StartError(f"sip: {_no_listener(error, section, sip.host, port)}") from error
        except SipError as error:
            raise StartError(f"sip: {error}") from error


def _no_listener(error: OSError, section: str, host: str, port: int) -> str:
    """Why a port could not be had, and what to change."""
    if error.errno == errno.EADDRINUSE:
        reason = f"port {port} on {host} is taken by another program"
        variable = f"VOICEGW_{section.upper().replace('.', '__')}__PORT"
        return f"{reason}; choose another by {section}.port ({variable}={port + 10})"
    reason = f"cannot listen on {host} port {port}: {error.strerror or error}"
    return f"{reason}; see {section}.host and {section}.port"


def _endpoint(config: Config, media: RtpMedia) -> SipEndpoint:
    """The SIP stack that is configured, not yet started."""
    try:
        if config.sip_stack is SipStack.PJSUA2:
            from sip.pjsua import PjsuaEndpoint  # noqa: PLC0415 - optional, under another licence

            return PjsuaEndpoint(config.sip, media)
        return UserAgent(config.sip, media)
    except (ValueError, SipError, MediaError) as error:
        raise StartError(f"sip: {error}") from error


def _rtp_media(config: Config, metronome: Metronome) -> RtpMedia:
    try:
        return RtpMedia(config.rtp, metronome)
    except (ValueError, MediaError) as error:
        raise StartError(f"rtp: {error}") from error
