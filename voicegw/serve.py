"""The process: event loop, signals, the line that says that we are ready, and the exit code."""

import asyncio
import gc
import logging
import shutil
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import uvloop

from media.tasks import task_scope
from voicegw.app import App
from voicegw.config import Config
from voicegw.flows import Conversation
from voicegw.logs import DroppingQueueHandler, logging_to
from voicegw.notify import Notifier

log = logging.getLogger(__name__)

BROWSER = "Call it from the browser: {url}\n"
HINT = """Call it: {command} call {uri} --say "I would like to book an appointment"
or with a softphone on this machine (no account needed): {uri}
Watch it: {url}calls    Stop it: Ctrl-C"""


def _command() -> str:
    """How whoever started us starts `voicegw` in another terminal: by name where the shell finds it."""
    path = Path(sys.argv[0])
    if path.name != "voicegw" or shutil.which("voicegw"):
        return "voicegw"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


class Signals(AbstractContextManager["Signals"]):
    """SIGTERM and SIGINT: the first asks politely, the second insists. While the server starts, nobody
    has called yet: the first one cancels the task that starts it."""

    def __init__(self) -> None:
        self.asked, self.insisted = asyncio.Event(), asyncio.Event()
        self.starting = asyncio.current_task()

    def __enter__(self) -> "Signals":
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._come)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    def _come(self) -> None:
        if self.starting is not None and not self.asked.is_set():
            self.starting.cancel()
        (self.insisted if self.asked.is_set() else self.asked).set()


def serve(config: Config, flows: dict[str, Conversation]) -> int:
    """Run the server until it is told to stop. Returns the exit code; raises StartError."""
    with logging_to(config.log) as logs, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, flows, logs))
    return 0


async def _serve(config: Config, flows: dict[str, Conversation], logs: DroppingQueueHandler) -> None:
    with Signals() as signals:
        try:
            async with App(config, flows) as app:
                signals.starting = None
                text = "Log records that nobody could write in time."
                app.metrics.pull_gauge("log_records_dropped", text, lambda: logs.dropped)
                _settle_memory()
                _announce(app)
                await _stand(app, signals)
                log.info("stopping")
        except asyncio.CancelledError:
            if not signals.asked.is_set():
                raise


async def _stand(app: App, signals: Signals) -> None:
    """Until it is told to stop, and has drained."""
    manager = Notifier()
    async with task_scope() as start:
        start(manager.keep_alive(), "watchdog")
        manager.say("READY=1")
        await signals.asked.wait()
        manager.say(f"STOPPING=1\nSTATUS=draining {len(app.calls.live)} calls")
        await _drain(app, signals)


async def _drain(app: App, signals: Signals) -> None:
    """Until all calls are over, or somebody insists."""

    async def insisted() -> None:
        await signals.insisted.wait()

    async with task_scope() as start:
        waiting = {start(app.drain(), "drain"), start(insisted(), "insisted")}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


def _settle_memory() -> None:
    """Take what the start has built out of the garbage collector's sight: it lives as long as the process,
    and looking through it again and again stopped all calls for 70 ms at a time."""
    gc.collect()
    gc.freeze()


def _announce(app: App) -> None:
    """The one line on stdout is a contract: tests and scripts wait for it."""
    uri, url = app.sip_uri, app.http.url
    print(f"voicegw ready: {uri} {url}", flush=True)  # noqa: T201
    hint = BROWSER + HINT.replace("Call it: ", "or: ") if app.has_softphone else HINT
    print(hint.format(command=_command(), uri=uri, url=url), file=sys.stderr, flush=True)  # noqa: T201
    log.info("ready", extra={"sip": uri, "http": url})
