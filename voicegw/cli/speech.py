"""`voicegw say` and `voicegw transcribe`: voice and ears without a phone call."""

import asyncio
import json
import sys
import time
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from dialog.types import Domain, Hints
    from media.stt.base import SpeechToText
    from voicegw.config import Config
    from voicegw.phone.sound import Sound
    from voicegw.transcribe import Utterance

SAY_EPILOG = """Examples:

voicegw say "Good morning, how can I help you?" -o greeting.wav

voicegw say "Guten Morgen" --voice de --phone -o guten-morgen.wav

voicegw say "Hello" -o - | aplay"""

TRANSCRIBE_EPILOG = """Examples:

voicegw transcribe answer.wav --phrase "yes please" --phrase "no thank you"

voicegw transcribe answers.wav --phrases-file phrases.txt --json

voicegw transcribe call.wav --channel 1 --flow config/flows/clinic.yaml

A phrases file has one answer a line. Without phrases or a flow it is free dictation, which the embedded
engine gets right in about six words of ten over the phone."""

PHONE_RATE, WIDE_RATE = 8000, 16000  # Hz: what calls have, and recognisers understand


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("say", epilog=SAY_EPILOG)(say)
    app.command("transcribe", epilog=TRANSCRIBE_EPILOG)(transcribe)


CONFIG = typer.Option(None, "--config", metavar="FILE", help="Configuration of the engine; as `voicegw run`.")


def say(
    text: str = typer.Argument(metavar="TEXT", help="What to say."),
    out: Path = typer.Option("speech.wav", "-o", "--out", metavar="WAV", help="Where to; - is stdout."),
    voice: str = typer.Option(
        "", "--voice", help="Instead of the configured one: en-us, en-gb, de, en-us+f3."
    ),
    phone: bool = typer.Option(False, "--phone", help="As a caller hears it: 8 kHz through G.711 mu-law."),
    config: Path | None = CONFIG,
) -> None:
    """Speak a text with the configured voice, into a WAV file."""
    from voicegw.config import load_config

    settings = load_config(config)
    started = time.perf_counter()
    sound, words = asyncio.run(_say(settings, text, voice))
    took_ms = (time.perf_counter() - started) * 1000
    if not len(sound.samples):
        raise typer.BadParameter(f"{text!r} holds nothing to say", param_hint="TEXT")
    _write(out, _over_the_phone(sound) if phone else sound)
    print(f"{sound.ms / 1000:.1f} s of speech, {words} words, in {took_ms:.0f} ms: {out}", file=sys.stderr)


async def _say(settings: "Config", text: str, voice: str) -> "tuple[Sound, int]":
    import numpy as np

    from media.providers import load
    from voicegw.phone.sound import Sound

    options: Any = settings.tts.options
    engine = load("tts", settings.tts.engine).create(replace(options, voice=voice) if voice else options)
    try:
        async with aclosing(engine.synthesize(text)) as speech:
            chunks = [chunk async for chunk in speech]
    finally:
        await engine.close()
    samples = np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2")
    return Sound(samples, engine.rate), sum(len(chunk.words) for chunk in chunks)


def _over_the_phone(sound: "Sound") -> "Sound":
    import numpy as np

    from media.codecs import codec
    from voicegw.phone.sound import Sound

    narrow = sound.at(PHONE_RATE)
    g711 = codec("PCMU")
    return Sound(np.frombuffer(g711.decoder()(g711.encoder()(narrow.samples.tobytes())), "<i2"), PHONE_RATE)


def _write(out: Path, sound: "Sound") -> None:
    import io

    import soundfile

    from voicegw.phone.sound import write_wav

    if str(out) != "-":
        write_wav(out, [sound.samples], sound.rate)
        return
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.samples, sound.rate, subtype="PCM_16", format="WAV")
    sys.stdout.buffer.write(buffer.getvalue())


def transcribe(
    file: Path = typer.Argument(metavar="FILE", help="Sound file: WAV, FLAC, OGG."),
    phrase: list[str] = typer.Option([], "--phrase", metavar="TEXT", help="An answer that may come."),
    phrases_file: Path | None = typer.Option(None, "--phrases-file", metavar="FILE", help="One a line."),
    flow: Path | None = typer.Option(None, "--flow", metavar="FILE", help="Listen as this flow does."),
    channel: int | None = typer.Option(None, "--channel", min=1, help="Only this one: 1 left, 2 right."),
    as_json: bool = typer.Option(False, "--json", help="Print a list of utterances as JSON."),
    config: Path | None = CONFIG,
) -> None:
    """Print what is said in a sound file, as the server would understand a caller.

    Speech that is not among the expected phrases is marked as rejected.
    """
    from voicegw.config import load_config

    settings = load_config(config)
    if flow is not None and (phrase or phrases_file):
        raise typer.BadParameter("--flow says what to expect; leave out phrases")
    domain, hints = _expected(settings, [*phrase, *_phrases(phrases_file)], flow)
    sound = _read(file, channel)
    found = asyncio.run(_transcribe(settings, domain, hints, sound, quiet=as_json))
    if as_json:
        print(json.dumps([_as_dict(utterance) for utterance in found], indent=2))
    elif not found:
        print("no speech", file=sys.stderr)


def _phrases(file: Path | None) -> list[str]:
    from voicegw.errors import VoicegwError

    if file is None:
        return []
    try:
        lines = [line.strip().lower() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise VoicegwError(f"{file} cannot be read: {error}") from error
    return [line for line in lines if line and not line.startswith("#")]


def _expected(settings: "Config", phrases: list[str], flow: Path | None) -> "tuple[Domain, Hints]":
    from dialog.errors import FlowError
    from dialog.flow.engine import FlowEngine
    from dialog.flow.load import load_flow
    from dialog.types import Domain, Hints
    from voicegw import clock
    from voicegw.errors import ConfigError, Problem

    if flow is not None:
        try:
            loaded = load_flow(flow)
        except FlowError as error:
            raise ConfigError(
                [Problem(f"{p.file}:{p.line}", "", p.message) for p in error.problems]
            ) from error
        return FlowEngine(loaded, settings.turn, lambda: clock.local(settings.timezone)).domain, Hints()
    if phrases:
        hints = Hints(phrases=tuple(dict.fromkeys(phrase.lower() for phrase in phrases)))
        return Domain("transcribe", hints=(hints,)), hints
    return Domain("dictation"), Hints()


def _read(file: Path, channel: int | None) -> "Sound":
    from voicegw.phone.sound import read_sound

    sound = read_sound(file, channel)
    return sound.at(PHONE_RATE if sound.rate < WIDE_RATE else WIDE_RATE)


async def _transcribe(
    settings: "Config", domain: "Domain", hints: "Hints", sound: "Sound", *, quiet: bool
) -> "list[Utterance]":
    from rich.console import Console
    from rich.progress import Progress

    from media.providers import load
    from voicegw.transcribe import for_files, transcribe

    options = for_files(settings.stt.options, dictation=not domain.hints)
    engine: SpeechToText = load("stt", settings.stt.engine).create(options)
    found = []
    try:
        await engine.prepare(domain)
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("listening", total=sound.ms)
            heard = transcribe(engine, domain, sound, hints, lambda ms: progress.update(bar, completed=ms))
            async with aclosing(heard) as utterances:
                async for utterance in utterances:
                    found.append(utterance)
                    if not quiet:
                        progress.print(_line(utterance)) if sys.stdout.isatty() else print(_line(utterance))
    finally:
        await engine.close()
    return found


def _line(utterance: "Utterance") -> str:
    transcript = utterance.transcript
    text = transcript.text or ("(rejected)" if transcript.rejected else "(not understood)")
    sure = "" if transcript.confidence is None else f"  {transcript.confidence:.2f}"
    return f"{utterance.start_ms / 1000:8.2f} - {utterance.end_ms / 1000:.2f} s  {text}{sure}"


def _as_dict(utterance: "Utterance") -> dict[str, Any]:
    transcript = utterance.transcript
    return {
        "start_ms": utterance.start_ms,
        "end_ms": utterance.end_ms,
        "text": transcript.text,
        "confidence": transcript.confidence,
        "rejected": transcript.rejected,
    }
