"""`voicegw simulate`: scenarios played as real SIP calls, and judged."""

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from voicegw.cli.phone import NOT_AS_EXPECTED, Stack, target_uri

if TYPE_CHECKING:
    from voicegw.phone.script import Script
    from voicegw.simulate.result import Result
    from voicegw.simulate.run import Options

EPILOG = """Examples:

voicegw simulate config/scenarios --serve

voicegw simulate config/scenarios/book.yaml --target sip:bot@127.0.0.1:5060 --parallel 20 --repeat 5

voicegw simulate scenarios/ --serve --config config/voicegw.yaml --junit report.xml

Scenarios are described in docs/simulate.md.

Exit codes: 0 all calls as expected, 1 some were not, 2 wrong usage or a mistake in a scenario,
130 interrupted."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate", epilog=EPILOG)(simulate)


def simulate(
    scenarios: list[Path] = typer.Argument(metavar="SCENARIO...", help="Files, or folders of them."),
    target: str = typer.Option("", "--target", "-t", metavar="SIP-URI", help="Whom to call."),
    serve: bool = typer.Option(False, "--serve", help="Start a server for it, on free ports and fresh data."),
    config: Path | None = typer.Option(None, "--config", "-c", metavar="FILE", help="Of the server started."),
    data: Path | None = typer.Option(None, "--data", metavar="DIR", help="Keep the started server's calls."),
    api: str = typer.Option("", "--api", metavar="URL", help="HTTP address of the server that is called."),
    token: str = typer.Option("", "--token", metavar="SECRET", envvar="VOICEGW_API_TOKEN", help="For --api."),
    parallel: int = typer.Option(1, "--parallel", "-p", min=1, max=1000, help="Calls at a time."),
    repeat: int = typer.Option(1, "--repeat", "-r", min=1, max=100_000, help="Play all scenarios so often."),
    seed: int = typer.Option(1, "--seed", help="Of noise, losses and delays; each repetition adds 1."),
    stagger: int = typer.Option(200, "--stagger-ms", min=0, help="Spread the first calls over so long."),
    stack: Stack = typer.Option(Stack.OWN, "--stack", help="SIP stack to call with."),
    voice: str = typer.Option("", "--voice", help="Instead of the scenarios' voices."),
    timeout: float = typer.Option(300.0, "--timeout", metavar="S", min=1, help="Longest call."),
    save: Path | None = typer.Option(None, "--save", metavar="DIR", help="Record; left: us, right: the bot."),
    junit: Path | None = typer.Option(None, "--junit", metavar="FILE", help="Write a report for CI."),
    as_json: bool = typer.Option(False, "--json", help="Print results as JSON; the rest goes to stderr."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Print what happened in every call."),
) -> None:
    """Play scenarios as real calls, many at a time, and judge them."""
    from voicegw.simulate.run import Options, find

    if bool(target) == serve:
        raise typer.BadParameter("give either --target or --serve")
    if not serve and (config is not None or data is not None):
        raise typer.BadParameter("--config and --data belong to --serve")
    if serve and api:
        raise typer.BadParameter("--api belongs to --target: the server that is started is asked anyway")
    scripts = find(scenarios)
    if voice:
        scripts = [replace(script, voice=voice) for script in scripts]
    if save is not None:
        save.mkdir(parents=True, exist_ok=True)
    options = Options(
        target_uri(target) if target else "",
        api=api,
        token=token,
        stack=stack.value,
        parallel=parallel,
        repeat=repeat,
        seed=seed,
        limit_s=timeout,
        stagger_ms=stagger,
        save=save,
    )
    out = _Out(junit, as_json, verbose)
    raise typer.Exit(asyncio.run(_simulate(scripts, options, _Own(config, data) if serve else None, out)))


class _Own:
    """The server to start."""

    def __init__(self, config: Path | None, data: Path | None) -> None:
        self.config, self.data = config, data


class _Out:
    """Where results go."""

    def __init__(self, junit: Path | None, as_json: bool, verbose: bool) -> None:
        self._junit, self._json, self._verbose = junit, as_json, verbose

    def line(self, text: str) -> None:
        print(text, file=sys.stderr if self._json else sys.stdout, flush=True)

    def result(self, result: "Result") -> None:
        from voicegw.simulate.result import line

        self.line(line(result))
        if self._verbose or not result.good:
            for text in result.happened:
                self.line(f"       {text}")

    def all(self, results: "list[Result]", took_s: float) -> None:
        from voicegw.simulate.result import as_dict, junit, summary

        self.line(summary(results, took_s))
        if self._json:
            print(json.dumps([as_dict(result) for result in results], indent=2))
        if self._junit is not None:
            self._junit.write_bytes(junit(results, took_s))


async def _simulate(scripts: "list[Script]", options: "Options", own: _Own | None, out: _Out) -> int:
    from voicegw.simulate.run import cases, play, unanswerable
    from voicegw.simulate.started import started

    async with AsyncExitStack() as stack:
        if own is not None:
            server = await stack.enter_async_context(started(own.config, own.data))
            out.line(f"server: {server.uri} {server.url}")
            options = replace(options, target=server.uri, api=server.url)
        if problem := unanswerable(scripts, options):
            raise typer.BadParameter(problem)
        begun = time.perf_counter()
        results = await play(cases(scripts, options), options, out.result)
        out.all(results, time.perf_counter() - begun)
    return 0 if all(result.good for result in results) else NOT_AS_EXPECTED
