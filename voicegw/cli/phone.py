"""`voicegw call`: a real SIP phone for tests, with a caller who follows a script."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from dialog.types import Domain
    from media.stt.base import SpeechToText
    from voicegw.phone.dial import Call, Listener
    from voicegw.phone.script import Script, Step
    from voicegw.phone.session import Happening, PhoneSession

EPILOG = """Examples:

voicegw call sip:bot@127.0.0.1:5060 --say "I want to book an appointment" --say "yes please"

voicegw call bot@127.0.0.1 --dtmf 1 --dtmf "12#" --save call.wav

voicegw call sip:bot@127.0.0.1 --script scenario.yaml --stack pjsua2 --json

voicegw call "sips:bot@voice.example.com" --srtp required --say "opening hours"

The caller waits for the bot to finish, says a line, and waits again; lines are said in the order given.
A script can also interrupt the bot and judge the call; its format is in docs/phone.md.

Exit codes: 0 good, 1 not as the script expects, 2 wrong usage, 3 the call failed, 130 interrupted."""

NOT_AS_EXPECTED, CALL_FAILED = 1, 3
RING_S = 60.0  # nobody lets it ring for longer


class Stack(StrEnum):
    """SIP stacks that the phone speaks with."""

    OWN = "own"
    PJSUA2 = "pjsua2"


class Encryption(StrEnum):
    """Of the phone's audio."""

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


class InOrder(TyperCommand):
    """Remembers in which order options came: `--say a --dtmf 1 --say b` is one conversation."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As always, and before it once for the order."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta["order"] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("call", cls=InOrder, epilog=EPILOG)(call)


def call(
    ctx: typer.Context,
    target: str = typer.Argument(metavar="SIP-URI", help="Whom to call: sip:bot@host:port, or bot@host."),
    say: list[str] = typer.Option([], "--say", metavar="TEXT", help="Say this. Any number of times."),
    wav: list[Path] = typer.Option([], "--wav", metavar="FILE", help="Play this sound file."),
    dtmf: list[str] = typer.Option([], "--dtmf", metavar="KEYS", help='Press these keys: "1", "1234#".'),
    script: Path | None = typer.Option(None, "--script", metavar="FILE", help="Follow a YAML scenario."),
    voice: str = typer.Option(
        "", "--voice", help="Caller's voice: slt, rms, awb (flite), espeak, espeak:de."
    ),
    stack: Stack = typer.Option(Stack.OWN, "--stack", help="SIP stack to call with."),
    caller: str = typer.Option("phone", "--from", metavar="NUMBER", help="Who calls: user part of the From."),
    srtp: Encryption = typer.Option(Encryption.OFF, "--srtp", help="Encrypted audio; by TLS only."),
    ca_file: Path | None = typer.Option(
        None, "--ca-file", metavar="PEM", help="Authorities to believe, for calls by TLS."
    ),
    save: Path | None = typer.Option(None, "--save", metavar="WAV", help="Record; left: us, right: the bot."),
    transcribe: bool = typer.Option(False, "--transcribe", help="Print what the bot says; a rough guess."),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON; the rest goes to stderr."),
    timeout: float = typer.Option(
        300.0, "--timeout", metavar="S", min=1, help="Longest call, in seconds; it also rings no longer."
    ),
) -> None:
    """Call somebody and hold a conversation: a real SIP phone for tests.

    Prints what is said while it runs, and how fast the bot answered.
    """
    from voicegw.phone import script as scripts
    from voicegw.phone.load import load

    given = _in_order(ctx.meta["order"], say, wav, dtmf)
    if script is not None and given:
        raise typer.BadParameter("--script says it all; leave out --say, --wav and --dtmf")
    plan = load(script) if script is not None else scripts.Script(tuple(given))
    if plan.asks:
        raise typer.BadParameter(
            f"{script}: `answer` needs a server that tells what is asked: voicegw simulate",
            param_hint="--script",
        )
    if voice:
        plan = replace(plan, voice=voice)
    if ca_file is not None and not ca_file.is_file():
        raise typer.BadParameter(f"there is no file {ca_file}", param_hint="--ca-file")
    secrecy = (srtp.value, str(ca_file or ""))
    options = _Options(stack.value, caller, save, transcribe, as_json, timeout, secrecy)
    raise typer.Exit(asyncio.run(_place(target_uri(target), plan, options)))


def _in_order(order: list[str], say: list[str], wav: list[Path], dtmf: list[str]) -> "list[Step]":
    from dialog.sentences import speakable
    from voicegw.phone.script import DTMF_KEYS, Play, Press, Say

    for text in say:
        if not speakable(text):
            raise typer.BadParameter(f"{text!r} holds nothing to say", param_hint="--say")
    for file in wav:
        if not file.is_file():
            raise typer.BadParameter(f"there is no file {file}", param_hint="--wav")
    for keys in dtmf:
        if not keys or not set(keys) <= set(DTMF_KEYS):
            raise typer.BadParameter(f"{keys!r}: keys are 0-9 * # A-D", param_hint="--dtmf")
    steps: dict[str, list[Step]] = {
        "say": [Say(text) for text in say],
        "wav": [Play(file) for file in wav],
        "dtmf": [Press(keys.upper()) for keys in dtmf],
    }
    return [steps[name].pop(0) for name in order if name in steps]


def target_uri(text: str) -> str:
    """`bot@host` as a SIP URI. Raises BadParameter."""
    from sip.errors import SipError
    from sip.ua.grammar import SipUri

    uri = text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}"
    try:
        SipUri.parse(uri)
    except SipError as error:
        raise typer.BadParameter(f"{text!r} is no SIP URI: {error}", param_hint="SIP-URI") from error
    return uri


@dataclass(frozen=True, slots=True)
class _Options:
    stack: str
    caller: str
    save: Path | None
    transcribe: bool
    as_json: bool
    timeout_s: float
    secrecy: tuple[str, str]  # SRTP, authorities


async def _place(target: str, script: "Script", options: _Options) -> int:
    """The whole command. Returns the exit code."""
    from sip.errors import CallFailed
    from sip.sdes import SrtpPolicy
    from voicegw.phone import show
    from voicegw.phone.dial import Terms, dial, prepare, wanted
    from voicegw.phone.report import judge
    from voicegw.phone.stacks import Secrecy, phone_endpoint

    tell = _Live(sys.stderr if options.as_json else sys.stdout)
    sounds = await prepare(script)
    secrecy = Secrecy(SrtpPolicy(options.secrecy[0]), options.secrecy[1])
    phone = phone_endpoint(options.stack, script.line, secrecy=secrecy)
    async with phone as endpoint, tell.transcribing(options.transcribe):
        tell.line(f"calling {target}")
        try:
            call = wanted(target, script, options.caller, min(RING_S, options.timeout_s))
            done = await dial(endpoint, call, script, sounds, Terms(options.timeout_s), tell.listener())
        except CallFailed as error:
            print(f"the call failed: {error}", file=sys.stderr)
            if options.as_json:
                print(json.dumps({"failed": {"status": error.status, "reason": error.reason}}, indent=2))
            return CALL_FAILED
    failures = judge(done.record, script.expect)
    if options.save is not None:
        _save(done, options.save)
    if options.as_json:
        print(json.dumps({**done.record.as_dict(), "failures": failures}, indent=2))
    tell.line(show.summary(done.record, failures))
    return NOT_AS_EXPECTED if failures else 0


def _save(done: "Call", file: Path) -> None:
    from voicegw.phone.sound import write_wav

    write_wav(file, [done.said, done.heard], done.rate)


class _Live:
    """Prints what happens while it happens; what the bot said comes when it is understood."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._session: PhoneSession | None = None
        self._understand: Callable[[Happening], None] | None = None

    def line(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def listener(self) -> "Listener":
        from voicegw.phone.dial import Listener
        from voicegw.phone.show import PROGRESS

        return Listener(lambda progress: self.line(PROGRESS[progress]), self._answered, self._happened)

    def _answered(self, session: "PhoneSession") -> None:
        self._session = session

    def _happened(self, event: "Happening") -> None:
        from voicegw.phone.show import happening

        if event.what == "bot" and self._understand is not None:
            self._understand(event)
        else:
            self.line(happening(event))

    @asynccontextmanager
    async def transcribing(self, wanted: bool) -> AsyncIterator[None]:
        """While the block lasts, the bot's words are recognised and printed; what is left, at its end."""
        if not wanted:
            yield
            return
        from dialog.types import Domain
        from media.providers import load
        from voicegw.transcribe import for_files

        provider, anything = load("stt", "pocketsphinx"), Domain("dictation")
        engine: SpeechToText = provider.create(for_files(provider.config(), dictation=True))
        try:
            await engine.prepare(anything)
            async with asyncio.TaskGroup() as group:

                def understand(event: "Happening") -> None:
                    group.create_task(self._recognise(engine, anything, event))

                self._understand = understand
                yield
        finally:
            await engine.close()

    async def _recognise(self, engine: "SpeechToText", anything: "Domain", event: "Happening") -> None:
        from media.errors import MediaError
        from voicegw.phone.report import Span
        from voicegw.phone.show import happening
        from voicegw.phone.sound import Sound
        from voicegw.transcribe import transcribe

        assert self._session is not None
        heard = self._session.heard(Span(event.at_ms, event.at_ms + event.ms))
        try:
            async with aclosing(transcribe(engine, anything, Sound(heard, self._session.rate))) as found:
                words = " ".join([utterance.transcript.text async for utterance in found])
        except MediaError as error:  # the call matters more than its subtitles
            words = f"(not understood: {error})"
        self.line(happening(replace(event, text=words)))
