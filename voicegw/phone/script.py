"""What the test phone's caller does, step by step, and what the call is expected to be like.

    voice: slt                        # who speaks; --voice overrides it
    caller:
      - say: I want to book an appointment
      - say: stop
        over_bot_after_ms: 800        # barge in: 800 ms after the bot began to speak
      - dtmf: "1#"
      - wav: answer.wav               # relative to this file
      - wait_silence_ms: 1500
      - pause_ms: 500
      - wait_bot                      # until the bot speaks
      - hangup
    expect:
      bot_utterances: 3               # at least
      latency_ms: 1500                # at most, from the end of our speech to the bot's answer
      barge_in_ms: 700                # at most, from our first sound to the bot's last
      total_s: 60                     # at most
      hangup: bot                     # or caller

`say`, `wav` and `dtmf` wait for their turn: until the bot has spoken since our last line and has then
been silent for `turn_silence_ms`. `now: true` does not wait.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from dialog.sentences import speakable
from voicegw.config.source import Path_, Settings, dotted, read
from voicegw.errors import ConfigError, Problem

TURN_SILENCE_MS = 900  # people wait 200, but bots pause 500 between two sentences
PATIENCE_MS = 15_000  # for a bot that owes us something
LINGER_MS = 4_000  # of silence after the script, then we hang up
DTMF_KEYS = "0123456789*#ABCDabcd"


@dataclass(frozen=True, slots=True)
class OnTurn:
    """Once the bot has spoken and fallen silent."""

    silence_ms: int | None = None  # None: the script's `turn_silence_ms`


@dataclass(frozen=True, slots=True)
class Now:
    """Without waiting."""


@dataclass(frozen=True, slots=True)
class OverBot:
    """While the bot speaks, `after_ms` into what it says."""

    after_ms: int


When = OnTurn | Now | OverBot


@dataclass(frozen=True, slots=True)
class Say:
    """Speak a text."""

    text: str
    when: When = OnTurn()


@dataclass(frozen=True, slots=True)
class Play:
    """Play a sound file."""

    file: Path
    when: When = OnTurn()


@dataclass(frozen=True, slots=True)
class Press:
    """Press keys."""

    digits: str
    when: When = OnTurn()


@dataclass(frozen=True, slots=True)
class WaitBot:
    """Wait until the bot speaks."""


@dataclass(frozen=True, slots=True)
class WaitSilence:
    """Wait until the bot has been silent for so long, whether it has spoken or not."""

    ms: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    ms: int


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call."""


Step = Say | Play | Press | WaitBot | WaitSilence | Pause | HangUp


@dataclass(frozen=True, slots=True)
class Expect:
    """What must hold for the call to count as good; None: anything goes."""

    bot_utterances: int | None = None
    latency_ms: int | None = None
    barge_in_ms: int | None = None
    total_s: int | None = None
    hangup: Literal["bot", "caller"] | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """One call."""

    steps: tuple[Step, ...]
    expect: Expect = Expect()
    voice: str = ""  # "": the best there is
    turn_silence_ms: int = TURN_SILENCE_MS
    patience_ms: int = PATIENCE_MS
    linger_ms: int = LINGER_MS


def load(file: Path) -> Script:
    """Read a script. Raises ConfigError with every mistake and its line."""
    settings = read(file, {})
    reader = _Reader(settings, file)
    script = reader.script()
    if problems := settings.problems + reader.problems:
        raise ConfigError(problems)
    return script


_VERBS = ("say", "wav", "dtmf", "wait_silence_ms", "pause_ms", "wait_bot", "hangup")
_MODIFIERS = ("over_bot_after_ms", "after_silence_ms", "now")
_KEYS = ("caller", "expect", "voice", "turn_silence_ms", "patience_ms", "linger_ms")


class _Reader:
    """Plain data to a script; collects what is wrong."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self._settings, self._file = settings, file
        self.problems: list[Problem] = []

    def script(self) -> Script:
        data = self._settings.data
        self._known((), data, _KEYS)
        steps = data.get("caller")
        if not isinstance(steps, list) or not steps:
            self._wrong(("caller",), "must be a list of at least one step")
            steps = []
        times = {
            key: self._number((key,), data[key], 100, 600_000)
            for key in ("turn_silence_ms", "patience_ms", "linger_ms")
            if key in data
        }
        voice = data.get("voice", "")
        if not isinstance(voice, str):
            self._wrong(("voice",), "must be the name of a voice")
        read_steps = [step for n, raw in enumerate(steps) for step in self._step(("caller", n), raw)]
        return Script(tuple(read_steps), self._expect(data.get("expect", {})), str(voice), **times)

    def _step(self, path: Path_, raw: Any) -> Iterator[Step]:
        if raw in ("wait_bot", "hangup"):
            raw = {raw: True}
        if not isinstance(raw, dict):
            self._wrong(path, f"is no step; one of {', '.join(_VERBS)}")
            return
        verbs = [key for key in raw if key in _VERBS]
        if len(verbs) != 1:
            found = f"has {' and '.join(verbs)}" if verbs else f"has {', '.join(raw) or 'nothing'}"
            self._wrong(path, f"a step does one thing of {', '.join(_VERBS)}; this one {found}")
            return
        verb = verbs[0]
        speaks = verb in ("say", "wav", "dtmf")
        self._known(path, raw, (verb, *(_MODIFIERS if speaks else ())))
        when = self._when(path, raw) if speaks else Now()
        yield from self._verb((*path, verb), verb, raw[verb], when)

    def _verb(self, path: Path_, verb: str, value: Any, when: When) -> Iterator[Step]:
        match verb:
            case "say":
                if text := self._text(path, value):
                    if not speakable(text):
                        self._wrong(path, f"holds nothing to say: {text!r}")
                    yield Say(text, when)
            case "wav":
                if text := self._text(path, value):
                    file = self._file.parent / text
                    if not file.is_file():
                        self._wrong(path, f"there is no file {file}")
                    yield Play(file, when)
            case "dtmf":
                if (text := self._text(path, value)) and not self._keys(path, text):
                    yield Press(text.upper(), when)
            case "wait_silence_ms":
                yield WaitSilence(self._number(path, value, 20, 600_000))
            case "pause_ms":
                yield Pause(self._number(path, value, 20, 600_000))
            case _:
                if value is not True:
                    self._wrong(path, "takes no value but true")
                yield WaitBot() if verb == "wait_bot" else HangUp()

    def _when(self, path: Path_, raw: dict[str, Any]) -> When:
        given = [key for key in _MODIFIERS if key in raw]
        if len(given) > 1:
            self._wrong(path, f"{' and '.join(given)} exclude each other")
        if "now" in raw:
            if not isinstance(raw["now"], bool):
                self._wrong((*path, "now"), "must be true or false")
            return Now() if raw["now"] else OnTurn()
        if "over_bot_after_ms" in raw:
            key = "over_bot_after_ms"
            return OverBot(self._number((*path, key), raw[key], 0, 600_000))
        if "after_silence_ms" in raw:
            key = "after_silence_ms"
            return OnTurn(self._number((*path, key), raw[key], 20, 600_000))
        return OnTurn()

    def _expect(self, raw: Any) -> Expect:
        if not isinstance(raw, dict):
            self._wrong(("expect",), "must be a mapping")
            return Expect()
        self._known(("expect",), raw, tuple(field.name for field in fields(Expect)))
        numbers = {
            key: self._number(("expect", key), raw[key], 0, 3_600_000)
            for key in ("bot_utterances", "latency_ms", "barge_in_ms", "total_s")
            if key in raw
        }
        who = raw.get("hangup")
        if who not in (None, "bot", "caller"):
            self._wrong(("expect", "hangup"), f"must be bot or caller, not {who!r}")
            who = None
        return Expect(**numbers, hangup=who)

    def _known(self, path: Path_, raw: dict[str, Any], keys: tuple[str, ...]) -> None:
        for key in raw:
            if key not in keys:
                self._wrong((*path, key), f"unknown; there are {', '.join(keys)}")

    def _text(self, path: Path_, value: Any) -> str:
        if isinstance(value, str) and value.strip():
            return value
        number = isinstance(value, int) and not isinstance(value, bool)
        hint = f'; quote it: "{value}"' if number else ""  # `dtmf: 0123` is 83 to YAML 1.1
        self._wrong(path, f"must be text, not {value!r}{hint}")
        return ""

    def _keys(self, path: Path_, text: str) -> str:
        wrong = "".join(char for char in text if char not in DTMF_KEYS)
        if wrong:
            self._wrong(path, f"{wrong!r} is on no phone; keys are 0-9 * # A-D")
        return wrong

    def _number(self, path: Path_, value: Any, low: int, high: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self._wrong(path, f"must be a whole number from {low} to {high}, not {value!r}")
        return low

    def _wrong(self, path: Path_, message: str) -> None:
        self.problems.append(Problem(self._settings.where(path) or str(self._file), dotted(path), message))
