"""`voicegw models`: what there is to get, what is here, getting it, moving it to other machines."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from voicegw.models.store import ModelStore, Status

FOLDER = typer.Option(
    None, "--folder", metavar="DIR", help="Folder of models; without it, models_dir of the configuration."
)
EPILOG = """Examples:

voicegw models pull whisper-base.en

VOICEGW_STT='{"engine": "whisper", "model": "whisper-base.en"}' voicegw run

Without a network: pull on another machine, carry its folder over, and

voicegw models import /media/stick/models"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, epilog=EPILOG, rich_markup_mode=None)
    group.command("list")(show)
    group.command("status")(status)
    group.command("pull")(pull)
    group.command("import")(bring)
    app.add_typer(group, name="models", help="Models for ears, voices and agents: list, get, check, import.")


def show(folder: Path | None = FOLDER) -> None:
    """List the models that can be pulled, with size and licence."""
    from rich.console import Console
    from rich.table import Table

    from voicegw.models.store import State

    table = Table(box=None, pad_edge=False)
    for title in ("name", "for", "engine", "languages", "MB", "licence", "here"):
        table.add_column(title, justify="right" if title == "MB" else "left")
    for found in _store(folder).all():
        entry = found.entry
        here = "" if found.state is State.ABSENT else found.state.value
        kind = {"stt": "ears", "tts": "voice", "llm": "agents"}[entry.kind]
        table.add_row(entry.name, kind, entry.engine, entry.languages, str(entry.mb), entry.licence, here)
    Console().print(table)


def status(
    folder: Path | None = FOLDER,
    quick: bool = typer.Option(False, "--quick", help="Look at sizes only; do not read the files."),
) -> None:
    """Check the models that are here against their SHA-256 sums. Code 1 if one is not whole."""
    from voicegw.models.store import State

    store, wrong, count = _store(folder), 0, 0
    for found in store.all():
        if found.state is State.ABSENT:
            continue
        count += 1
        checked = found if quick else _checked(store, found)
        wrong += checked.state is not State.THERE
        note = checked.problem or str(store.model(checked.entry))
        print(f"{checked.entry.name:20} {checked.state.value:8} {checked.size / 1e6:7.1f} MB  {note}")
    if not count:
        print(f"there is no model in {store.folder}; voicegw models list shows what can be pulled")
    if wrong:
        raise typer.Exit(1)


def pull(
    names: list[str] = typer.Argument(..., metavar="NAME...", help="Models, as `voicegw models list` shows."),
    folder: Path | None = FOLDER,
    hub: str = typer.Option("", "--hub", metavar="URL", help="Hub or mirror; without it, HF_ENDPOINT."),
) -> None:
    """Download models. What was begun goes on; what comes is checked. HF_TOKEN is sent if it is set."""
    from voicegw.models.catalog import find
    from voicegw.models.pull import HUB
    from voicegw.models.pull import pull as download

    store = _store(folder, fill=True)
    source = (hub or os.environ.get("HF_ENDPOINT", "") or HUB).rstrip("/")
    for entry in [find(name) for name in names]:
        with _bars() as progress:
            asyncio.run(download(store, entry, source, os.environ.get("HF_TOKEN", ""), progress))
        print(f"{entry.name}: {store.model(entry)}")


def bring(
    source: Path = typer.Argument(..., metavar="DIR", help="A folder that another machine pulled into."),
    folder: Path | None = FOLDER,
) -> None:
    """Take models over from a folder, such as a stick. Their sums are checked."""
    store = _store(folder, fill=True)
    with _bar(f"from {source}", None) as advance:
        entries = store.bring(source, advance)
    for entry in entries:
        print(f"{entry.name}: {store.model(entry)}")


def _checked(store: "ModelStore", found: "Status") -> "Status":
    """The same after reading all its files."""
    from voicegw.models.store import State

    if found.state is not State.THERE:
        return found
    with _bar(found.entry.name, found.size) as advance:
        return store.status(found.entry, advance)


def _store(folder: Path | None, *, fill: bool = False) -> "ModelStore":
    """`fill`: something will be put into it."""
    from voicegw.config import load_config
    from voicegw.datafolder import data_folder
    from voicegw.models.store import ModelStore

    if folder is not None:
        return ModelStore(folder)
    config = load_config(None)
    if fill and config.models_dir is None:
        data_folder(config.data_dir)  # whoever makes it first makes it for calls, too
    return ModelStore(config.models_folder)


@contextmanager
def _bar(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; yields what advances it."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


@contextmanager
def counting(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar of steps."""
    with _bar(title, total) as advance:
        yield lambda: advance(1)


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each file, with speed and time left."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        Speed(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, int] = {}

        def report(name: str, done: int, size: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=size)
            progress.update(tasks[name], completed=done)  # type: ignore[arg-type]

        yield report
