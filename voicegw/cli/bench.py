"""`voicegw bench`: how good and how fast the configured engines are, on this machine and your recordings."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from media.providers import Kind
    from voicegw.config import Config
    from voicegw.enginebench import EarsResult, ModelResult, VoiceResult

CONFIG = typer.Option(
    None, "--config", "-c", metavar="FILE", help="Configuration; without it, VOICEGW_CONFIG or defaults."
)
ROUNDS = typer.Option(3, "--rounds", min=1, max=100, help="How often.")
EPILOG = """Examples:

voicegw bench speech recordings/ --calls 1,4,8

VOICEGW_STT='["pocketsphinx", {"engine": "whisper", "model": "whisper-base.en"}]' \\
    voicegw bench speech recordings/

voicegw bench voice"""
WIDTH = 40  # of a bar


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, epilog=EPILOG, rich_markup_mode=None)
    group.command("speech")(speech)
    group.command("voice")(voice)
    group.command("llm")(llm)
    app.add_typer(group, name="bench", help="Measure the configured ears, voices and language models.")


def speech(
    folder: Path = typer.Argument(..., metavar="DIR", help="Recordings: NAME.wav with NAME.txt beside it."),
    calls: str = typer.Option("1", "--calls", metavar="N,N,...", help="Calls at once, one run each."),
    config: Path | None = CONFIG,
) -> None:
    """Word errors and delays of all engines listed under `stt`, in real time as in a call."""
    from voicegw.config import load_config
    from voicegw.enginebench import measure_ears, samples

    counts = _counts(calls)
    settings, what = load_config(config), samples(folder)
    results: list[EarsResult] = []

    async def run(name: str, engine: Any) -> None:
        for count in counts:
            with _bar(f"{name}, {count} at once", len(what)) as advance:
                results.append(await measure_ears(name, engine, what, count, advance))

    asyncio.run(_each(settings, "stt", run))
    _show_ears(results)


def voice(rounds: int = ROUNDS, config: Path | None = CONFIG) -> None:
    """Time to the first sound, and cost, of all voices listed under `tts`."""
    from voicegw.config import load_config
    from voicegw.enginebench import measure_voice

    results: list[VoiceResult] = []

    async def run(name: str, engine: Any) -> None:
        results.append(await measure_voice(name, engine, rounds))

    asyncio.run(_each(load_config(config), "tts", run))
    _show_voices(results)


def llm(rounds: int = ROUNDS, config: Path | None = CONFIG) -> None:
    """Time to the first word, and words a second, of all language models listed under `llm`."""
    from voicegw.config import load_config
    from voicegw.enginebench import measure_model
    from voicegw.errors import VoicegwError

    settings = load_config(config)
    if settings.llm is None:
        raise VoicegwError("no language model is configured: set llm")
    results: list[ModelResult] = []

    async def run(_: str, engine: Any) -> None:
        results.append(await measure_model(engine.name, engine, rounds))

    asyncio.run(_each(settings, "llm", run))
    _show_models(results)


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise typer.BadParameter(f"numbers from 1 on, such as 1,4,8, not {text!r}", param_hint="--calls")
    return counts


async def _each(settings: "Config", kind: "Kind", run: Callable[[str, Any], Awaitable[None]]) -> None:
    """Every engine of a kind, made and closed."""
    from dialog.errors import DialogError
    from voicegw.engines import separately
    from voicegw.errors import VoicegwError

    for name, make in separately(kind, getattr(settings, kind), settings):
        engine = make()
        try:
            await run(name, engine)
        except DialogError as error:
            raise VoicegwError(str(error)) from error
        finally:
            await engine.close()


def _show_ears(results: "list[EarsResult]") -> None:
    from voicegw.enginebench import percentile

    titles = ("engine", "calls", "word errors", "final p50", "p95", "first partial", "CPU/audio", "failed")
    rows = [
        (
            r.engine,
            str(r.calls),
            f"{100 * r.word_error_rate:.1f} %",
            f"{percentile(r.finals_ms, 50):.0f} ms",
            f"{percentile(r.finals_ms, 95):.0f} ms",
            f"{percentile(r.partials_ms, 50):.0f} ms" if r.partials_ms else "-",
            f"{r.cpu_s / r.audio_s:.3f}",
            str(r.failed),
        )
        for r in results
    ]
    _table(titles, rows)
    _bars("final after the end of speech, median", [(r.engine, percentile(r.finals_ms, 50)) for r in results])


def _show_voices(results: "list[VoiceResult]") -> None:
    from voicegw.enginebench import percentile

    titles = ("engine", "first sound p50", "p95", "times real time", "CPU/audio")
    rows = [
        (
            r.engine,
            f"{percentile(r.first_ms, 50):.1f} ms",
            f"{percentile(r.first_ms, 95):.1f} ms",
            f"{r.audio_s / r.took_s:.0f}",
            f"{r.cpu_s / r.audio_s:.4f}",
        )
        for r in results
    ]
    _table(titles, rows)
    _bars("first sound, median", [(r.engine, percentile(r.first_ms, 50)) for r in results])


def _show_models(results: "list[ModelResult]") -> None:
    from voicegw.enginebench import percentile

    titles = ("model", "first word p50", "p95", "tokens/s", "CPU s")
    rows = [
        (
            r.engine,
            f"{percentile(r.first_ms, 50):.0f} ms",
            f"{percentile(r.first_ms, 95):.0f} ms",
            f"{r.tokens / r.writing_s:.0f}" if r.writing_s else "-",
            f"{r.cpu_s:.2f}",
        )
        for r in results
    ]
    _table(titles, rows)
    _bars("first word, median", [(r.engine, percentile(r.first_ms, 50)) for r in results])


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, title in enumerate(titles):
        table.add_column(title, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _bars(title: str, values: list[tuple[str, float]]) -> None:
    """A plot for the terminal."""
    most = max((value for _, value in values), default=0.0)
    if most <= 0:
        return
    width = max(len(name) for name, _ in values)
    print(f"\n{title}")
    for name, value in values:
        print(f"{name:{width}}  {'█' * max(1, round(WIDTH * value / most))} {value:.1f} ms")


def _bar(title: str, total: int) -> Any:
    from voicegw.cli.models import counting

    return counting(title, total)
