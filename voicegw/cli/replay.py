"""`voicegw replay`: a recorded call through turn taking and dialog once more."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from dialog.turn import TurnPolicy
    from dialog.types import DialogEngine
    from recordings.calllog import Event
    from voicegw.replay.compare import Line
    from voicegw.replay.script import Script

EPILOG = """Examples:

voicegw replay last

voicegw replay 3f2a --policy end_silence_ms=300 --policy interrupt=words

voicegw replay tests/calls/cough.jsonl --json

What is marked "-" happened in the recorded call only, "+" in the replay only, "~" at another time."""

COLOURS = {"-": "red", "+": "green", "~": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", epilog=EPILOG)(replay)


def replay(
    call: str = typer.Argument(
        metavar="CALL", help="Its id, the beginning of it, `last`, or a timeline file."
    ),
    policy: list[str] = typer.Option(
        [],
        "--policy",
        metavar="KEY=VALUE",
        help="Another setting of turn taking (section turn); may be repeated.",
    ),
    tolerance: int = typer.Option(
        60, "--tolerance", metavar="MS", min=0, help="Times closer than this are equal."
    ),
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
    config: Path | None = typer.Option(
        None, "--config", "-c", metavar="FILE", help="Configuration; as `voicegw run`."
    ),
) -> None:
    """Play a recorded call again on a virtual clock, with the flow of now, and show what differs.

    The caller, the recogniser and the voice do what the timeline says; turn taking and dialog decide anew. An
    agent says what it said then. Exit code 1: something differs."""
    from voicegw.replay.compare import Mark, compare, items
    from voicegw.replay.run import Again
    from voicegw.replay.run import replay as play
    from voicegw.replay.script import read

    events = _timeline(call, config)
    script = read(events)
    if not script.flow or not script.ended:
        raise typer.BadParameter(f"{call}: the timeline tells no whole call; has it ended?")
    turn = _policy(script, policy)
    again = play(Again(script, _dialog(script, events, turn, config), turn))
    lines = list(compare(items(events), items(again), tolerance))
    if as_json:
        print(json.dumps([_json(line) for line in lines], ensure_ascii=False, indent=2))
    else:
        _print(lines)
    if any(line.mark is not Mark.SAME for line in lines):
        raise typer.Exit(1)


def _timeline(call: str, config: Path | None) -> "list[Event]":
    """From a file, or of a call in the database."""
    from recordings.calllog import read_timeline
    from voicegw.cli.calls import timeline_of

    path = Path(call) if call.endswith(".jsonl") else timeline_of(call, config)
    if path is None:
        raise typer.BadParameter(f"call {call} has no timeline")
    try:
        return read_timeline(path)
    except OSError as error:
        raise typer.BadParameter(f"timeline {path}: {error.strerror}") from None


def _policy(script: "Script", changes: Sequence[str]) -> "TurnPolicy":
    """The call's own, with changes."""
    from dataclasses import asdict, fields

    from pydantic import TypeAdapter, ValidationError
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from dialog.turn import TurnPolicy

    try:
        values: dict[str, Any] = asdict(script.base_policy())
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"the timeline's settings are of another version: {error}") from None
    known = [field.name for field in fields(TurnPolicy)]
    for change in changes:
        key, equals, text = change.partition("=")
        if key not in known or not equals:
            raise typer.BadParameter(f"--policy {change!r}: write one of {', '.join(known)} as KEY=VALUE")
        try:
            values[key] = YAML(typ="safe").load(text)
        except YAMLError:
            values[key] = text
    try:
        return TypeAdapter(TurnPolicy).validate_python(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise typer.BadParameter(f"--policy: {where} {wrong['msg']}".replace("  ", " ")) from None


def _dialog(
    script: "Script", events: "list[Event]", turn: "TurnPolicy", config: Path | None
) -> "Callable[[], DialogEngine]":
    from dialog.flow.engine import FlowEngine
    from dialog.flow.model import Flow
    from voicegw.config import load_settings
    from voicegw.flows import load_flows
    from voicegw.replay.dialog import RecordedDialog, local_time

    settings, places = load_settings(config)
    flows = load_flows(settings, places)
    flow = flows.get(script.flow)
    if flow is None:
        raise typer.BadParameter(f"the call's flow {script.flow!r} is not among {', '.join(flows)}")
    if not isinstance(flow, Flow):
        return lambda: RecordedDialog(events, turn)
    parties = {"caller": script.caller, "called": script.called}
    return lambda: FlowEngine(flow, turn, lambda: local_time(script, settings.timezone), parties)


def _json(line: "Line") -> dict[str, Any]:
    names = {" ": "same", "~": "moved", "-": "recorded", "+": "replayed"}
    item = line.item
    shown = {"at_ms": item.at_ms, "kind": item.kind, "text": item.text, "difference": names[line.mark]}
    return shown | ({"moved_ms": line.moved_ms} if line.mark == "~" else {})


def _print(lines: "Sequence[Line]") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for line in lines:
        item, moved = line.item, f"  ({line.moved_ms:+} ms)" if line.mark == "~" else ""
        text = "".join(char if char.isprintable() else "?" for char in item.text)
        shown = f"{line.mark} {item.at_ms / 1000:8.2f}  {item.kind:9} {text}{moved}"
        console.print(Text(shown, COLOURS.get(line.mark, "")), soft_wrap=True)
    count = sum(line.mark != " " for line in lines)
    console.print(f"{count} differences" if count else "no difference")
