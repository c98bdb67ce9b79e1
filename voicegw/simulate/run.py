"""Which calls are placed, how many at a time, and each of them from its first tone to its verdict."""

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from media.metronome import Metronome
from media.tasks import task_scope
from sip.errors import CallFailed, SipError
from voicegw.errors import ConfigError, Problem, VoicegwError
from voicegw.phone.dial import Call, Listener, Terms, dial, prepare, wanted
from voicegw.phone.load import load_all
from voicegw.phone.report import judge
from voicegw.phone.script import Script
from voicegw.phone.show import happening
from voicegw.phone.sound import Sound, write_wav
from voicegw.phone.stacks import phone_endpoint
from voicegw.simulate.expected import judge_served
from voicegw.simulate.result import Result, Told
from voicegw.simulate.served import Server, server_at

log = logging.getLogger(__name__)

RING_S = 30.0
NAME_SPREAD = 10**6  # callers' names differ from those of earlier runs


@dataclass(frozen=True, slots=True)
class Options:
    """How scenarios are played."""

    target: str  # SIP URI
    api: str = ""  # HTTP address of the server; "": what only it knows cannot be checked
    token: str = ""
    stack: str = "own"
    parallel: int = 1
    repeat: int = 1
    seed: int = 1
    limit_s: float = 300.0
    stagger_ms: int = 0  # at most so long between the starts of calls at a time, spread by the seed
    save: Path | None = None  # folder for recordings and transcripts of what happened


@dataclass(frozen=True, slots=True)
class Case:
    """One call to place."""

    script: Script
    number: int  # of its repetitions, from 1
    seed: int

    @property
    def name(self) -> str:
        """As in the table."""
        return self.script.name if self.number == 1 else f"{self.script.name}#{self.number}"


def find(paths: Sequence[Path]) -> list[Script]:
    """The scenarios of files and folders. Raises ConfigError with all that is wrong."""
    files: list[Path] = []
    problems: list[Problem] = []
    for path in paths:
        found = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not found:
            problems.append(Problem(str(path), "", "there is no scenario (*.yaml) in this folder"))
        files += found
    scripts: list[Script] = []
    for file in files:
        try:
            scripts += load_all(file)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return scripts


def cases(scripts: Sequence[Script], options: Options) -> list[Case]:
    """All calls, in the order in which they are placed."""
    return [
        Case(script, number, options.seed + number - 1)
        for number in range(1, options.repeat + 1)
        for script in scripts
    ]


def unanswerable(scripts: Sequence[Script], options: Options) -> str:
    """Why the scenarios cannot be judged; "" if they can."""
    asking = [script.name for script in scripts if script.served.anything or script.asks]
    if asking and not options.api:
        return (
            f"{', '.join(asking[:5])} needs what only the server knows: say where it is (--api), or --serve"
        )
    return ""


@dataclass(slots=True)
class _Floor:
    """What all calls share."""

    options: Options
    server: Server | None
    metronome: Metronome
    told: Told
    sounds: dict[tuple[str, str], Sound] = field(default_factory=dict)


async def play(calls: Sequence[Case], options: Options, told: Told = lambda result: None) -> list[Result]:
    """Place all calls. The results are in the order of `calls`; `told` gets each when it is there."""
    results: list[Result | None] = [None] * len(calls)
    queue = list(enumerate(calls))[::-1]
    async with AsyncExitStack() as stack:
        server = None
        if options.api:
            server = await stack.enter_async_context(server_at(options.api, options.token))
        floor = _Floor(options, server, Metronome(), told)
        for case in calls:  # before the first call: synthesis would make them late
            await prepare(case.script, floor.sounds)

        async def caller(number: int) -> None:
            chance = random.Random(f"{options.seed}/{number}")
            await asyncio.sleep(chance.uniform(0, options.stagger_ms) / 1000 if number else 0)
            while queue:
                at, case = queue.pop()
                results[at] = await _call(floor, case, at)
                told(results[at])  # type: ignore[arg-type]

        async with task_scope() as start:
            tasks = [start(caller(n), f"caller {n}") for n in range(min(options.parallel, len(calls)))]
            await asyncio.gather(*tasks)
    return [result for result in results if result is not None]


async def _call(floor: _Floor, case: Case, at: int) -> Result:
    script, options = case.script, floor.options
    name = f"sim{random.randrange(NAME_SPREAD):06}"
    call = wanted(options.target, script, name, RING_S)
    lines: list[str] = []
    result = Result(case.name, case.seed, caller=call.caller)
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        sounds = await prepare(script, floor.sounds)
        seed = f"{case.seed}/{script.name}"
        async with phone_endpoint(options.stack, script.line, seed, floor.metronome) as endpoint:
            asks = floor.server.standing if floor.server is not None else None
            listener = Listener(on_happening=lambda event: lines.append(happening(event)), asks=asks)
            done = await dial(endpoint, call, script, sounds, Terms(options.limit_s, case.seed), listener)
    except CallFailed as error:
        result = replace(result, status=error.status, failures=_refused(script, error))
        if script.served.anything:
            result = await _ask(floor, script, result, "")
    except (VoicegwError, SipError) as error:  # a header that may not be set ends this call, not the others
        result = replace(result, failures=(str(error),))
    else:
        result = replace(result, record=done.record, failures=tuple(judge(done.record, script.expect)))
        result = await _ask(floor, script, result, done.sip_call_id)
        _save(options.save, case, at, done)
    return replace(result, happened=tuple(lines), took_s=loop.time() - started)


def _refused(script: Script, error: CallFailed) -> tuple[str, ...]:
    wanted_status = script.expect.status
    if wanted_status == error.status:
        return ()
    expected = "an answer" if wanted_status is None else str(wanted_status)
    return (f"the call failed: {error}, expected {expected}",)


async def _ask(floor: _Floor, script: Script, result: Result, sip_call_id: str) -> Result:
    """With what the server knows, if it is to be asked."""
    if floor.server is None:
        return result
    try:
        served = await floor.server.call_of(sip_call_id, result.caller)
    except VoicegwError as error:
        return replace(result, failures=(*result.failures, str(error))) if script.served.anything else result
    wrong = judge_served(served, script.served)
    return replace(result, served=served, failures=(*result.failures, *wrong))


def _save(folder: Path | None, case: Case, at: int, done: Call) -> None:
    if folder is not None:
        safe = "".join(char if char.isalnum() or char in "-_=,.#" else "_" for char in case.name)
        write_wav(folder / f"{at:03}-{safe}.wav", [done.said, done.heard], done.rate)
