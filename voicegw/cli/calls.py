"""`voicegw calls`: what was said in calls of the past and in those that go on, and how fast we were.

Reads the database and the timelines; no server need run, and one that runs does not notice.
"""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from voicegw import clock

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from recordings.calllog import Event
    from recordings.timeline import Line
    from voicegw.storage.models import Call
    from voicegw.storage.reader import CallReader

LIST_EPILOG = """Examples:

voicegw calls list --since 2h

voicegw calls list --state active --json | jq '.[].from'"""

SHOW_EPILOG = """Examples:

voicegw calls show last

voicegw calls show 3f2a --timeline

voicegw calls show last --json | jq '.turns[] | [.role, .text, .latency_ms.total]'

Latencies are in milliseconds from the caller's last sound to the bot's first packet: eot (end of turn),
stt, dialog, tts, playout."""

T = TypeVar("T")

STATES = ("ringing", "active", "ended")
COLOURS = {"caller": "cyan", "bot": "green", "error": "red", "barge_in": "yellow", "dtmf": "magenta"}
WIDE = 200  # columns where the output is no terminal: whoever reads it there cuts it himself

app = typer.Typer(help="Calls of the past and in progress.", no_args_is_help=True, rich_markup_mode=None)

CONFIG = typer.Option(None, "--config", "-c", metavar="FILE", help="Configuration; as `voicegw run`.")
AS_JSON = typer.Option(False, "--json", help="As JSON.")


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="calls")


@app.command("list", epilog=LIST_EPILOG)
def list_calls(
    limit: int = typer.Option(20, "--limit", "-n", min=1, max=100_000, help="How many at most."),
    state: str | None = typer.Option(None, "--state", help=f"Only these: {', '.join(STATES)}."),
    since: str | None = typer.Option(None, "--since", help="Only later ones: 30m, 2h, 7d, or a date."),
    as_json: bool = AS_JSON,
    config: Path | None = CONFIG,
) -> None:
    """List calls, newest first."""
    from voicegw.storage.view import call_json

    if state is not None and state not in STATES:
        raise typer.BadParameter(f"{state!r} is no state; choose one of {', '.join(STATES)}")
    after = None if since is None else _since(since)
    data_dir, calls = _read(
        config, lambda reader: reader.recent(limit, state=state, since=after, turns=as_json)
    )
    if as_json:
        _print_json([call_json(call, data_dir, turns=True) for call in calls])
    elif not calls:
        print("no calls")
    else:
        _print_table(calls)


@app.command("show", epilog=SHOW_EPILOG)
def show_call(
    call_id: str = typer.Argument(metavar="ID", help="Its id, the beginning of it, or `last`."),
    as_json: bool = AS_JSON,
    timeline: bool = typer.Option(
        False, "--timeline", help="Every event, with signalling, voice activity and partial transcripts."
    ),
    config: Path | None = CONFIG,
) -> None:
    """Show one call: who said what and when, what was heard of it, and how long each step took."""
    from recordings.timeline import quality_text
    from voicegw.storage.view import call_json

    data_dir, call = _read(config, lambda reader: reader.find(call_id))
    view = call_json(call, data_dir, turns=True)
    if as_json:
        if timeline:
            view["events"] = [
                {"t": event.t_ms, "at": event.at, "event": event.name, **event.fields}
                for event in _events(view["timeline"]) or ()
            ]
        _print_json(view)
        return
    events = _events(view["timeline"])
    _print_call(call, view, _lines(view, events, details=timeline), quality_text(events or ()))


def timeline_of(call_id: str, config: Path | None) -> Path | None:
    """Where the timeline of a call lies; None if it has none."""
    from voicegw.storage.view import call_json

    data_dir, call = _read(config, lambda reader: reader.find(call_id))
    path = call_json(call, data_dir, turns=False)["timeline"]
    return None if path is None else Path(path)


def _read(config: Path | None, work: "Callable[[CallReader], Awaitable[T]]") -> tuple[Path, T]:
    """The data folder of this configuration, and what `work` reads from its database."""
    from voicegw.config import load_storage
    from voicegw.storage.engine import database_url
    from voicegw.storage.reader import CallReader

    data_dir, storage = load_storage(config)

    async def run() -> T:
        reader = CallReader(database_url(storage, data_dir))
        try:
            return await work(reader)
        finally:
            await reader.close()

    return data_dir, asyncio.run(run())


def _since(text: str) -> datetime:
    """``2h`` ago, or a date or time; of this machine's zone where it names none."""
    if match := re.fullmatch(r"(\d{1,6})([smhd])", text):
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
        return clock.utc() - timedelta(**{unit: int(match[1])})
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        hint = "write 30m, 2h, 7d, 2025-03-01 or 2025-03-01T12:00"
        raise typer.BadParameter(f"--since {text!r} is no time; {hint}") from None


def _events(path: str | None) -> "list[Event] | None":
    """The timeline; None, and a word on stderr, if it cannot be read."""
    from recordings.calllog import read_timeline

    if path is None:
        return None
    try:
        return read_timeline(Path(path))
    except OSError as error:
        print(f"timeline {path}: {error.strerror}", file=sys.stderr)
        return None


def _lines(view: dict[str, Any], events: "list[Event] | None", *, details: bool) -> "list[Line]":
    """From the timeline, or from the turns alone where there is none."""
    from recordings.timeline import Line, lines, steps_text

    if events is not None:
        return lines(events, details=details)
    return [
        Line(turn["at_ms"], turn["role"], turn["heard"], steps_text(turn["latency_ms"]))
        for turn in view["turns"]
    ]


# Printing


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def _text(value: object, style: str = "") -> "Text":
    """As it is: callers choose names and words, and may put terminal commands into them."""
    from rich.text import Text

    text = "" if value is None else str(value)
    return Text("".join(char if char.isprintable() else "?" for char in text), style)


def _local(at: datetime | None) -> str:
    return "" if at is None else at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _length(ms: int | None) -> str:
    return "" if ms is None else f"{ms // 60_000}:{ms // 1000 % 60:02}"


def _print_table(calls: "Sequence[Call]") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("id", "started", "dir", "from", "to", "flow", "state", "cause"):
        table.add_column(name, overflow="fold" if name == "id" else "ellipsis", no_wrap=name != "id")
    table.add_column("length", justify="right")
    table.add_column("recording")
    for call in calls:
        parties = (call.id, _local(call.started_at), call.direction, call.caller, call.callee)
        outcome = (call.flow, call.state, call.cause, _length(call.duration_ms))
        recording = call.recording_state or ("open" if call.recording_path else "")
        table.add_row(*map(_text, (*parties, *outcome, recording)))
    _console().print(table)


def _print_call(call: "Call", view: dict[str, Any], lines: "list[Line]", quality: str) -> None:
    from rich.table import Table

    console = _console()
    facts = Table.grid(padding=(0, 2))
    recording = view["recording"] or "none"
    if call.recording_state not in {None, "complete"}:
        recording += f" ({call.recording_state})"
    length = f", {_length(call.duration_ms)} min" if call.duration_ms is not None else ""
    for name, value in (
        ("call", f"{call.id} ({call.direction}, flow {call.flow})"),
        ("from", call.caller),
        ("to", call.callee),
        ("started", _local(call.started_at)),
        ("answered", _local(call.answered_at) or "no"),
        ("ended", f"{_local(call.ended_at)}{length}, {call.cause}" if call.ended_at else call.state),
        ("quality", quality or "not measured"),
        ("recording", recording),
        ("timeline", view["timeline"] or "none"),
    ):
        facts.add_row(_text(name, "dim"), _text(value))
    console.print(facts, soft_wrap=True)
    console.print()
    if not lines:
        console.print("nothing was said")
        return
    said = Table.grid(padding=(0, 2))
    said.add_column(justify="right", no_wrap=True)
    said.add_column(no_wrap=True)
    said.add_column(overflow="fold")
    for line in lines:
        said.add_row(_text(f"{line.at_ms / 1000:.1f}", "dim"), *_said(line))
    console.print(said)


def _said(line: "Line") -> "tuple[Text, Text]":
    style = COLOURS.get(line.kind, "dim")
    text = _text(line.text, "" if line.kind in {"caller", "bot"} else style)
    if line.detail:
        text.append("  " if line.text else "")
        text.append_text(_text(f"({line.detail})" if line.text else line.detail, "dim"))
    return _text(line.kind, style), text
