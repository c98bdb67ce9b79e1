"""What all browser calls share: settings, clock, certificate, and who owns their tasks."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

from media.metronome import Metronome
from media.tasks import Start, task_scope
from sip.webrtc.config import WebRtcConfig
from sip.webrtc.dtls import Certificate, make_certificate

log = logging.getLogger(__name__)


class WebRtcMedia:
    """`async with` it: leaving ends what is left of all calls' media."""

    def __init__(
        self, config: WebRtcConfig, metronome: Metronome, jitter_ms: tuple[int, int], now: datetime
    ) -> None:
        """`jitter_ms`: the delay of received audio to begin with, and the longest. `now` dates the
        certificate."""
        self.config, self.metronome = config, metronome
        self.jitter_min_ms, self.jitter_max_ms = jitter_ms
        self.certificate: Certificate = make_certificate(now)
        self._stack = AsyncExitStack()
        self._spawn: Start | None = None

    async def __aenter__(self) -> "WebRtcMedia":
        self._spawn = await self._stack.enter_async_context(task_scope())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._spawn = None
        await self._stack.aclose()

    def start(self, coro: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Run a task that must not end the others, whatever happens to it. Only while we are entered."""
        assert self._spawn is not None
        task = self._spawn(_guard(coro, name), name)
        task.add_done_callback(lambda _: coro.close())  # where it was cancelled before it began
        return task


async def _guard(coro: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await coro
    except Exception:
        log.exception("webrtc task failed", extra={"task": name})
