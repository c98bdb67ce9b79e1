"""Reading scripts and scenarios: YAML -> `Script`, with every mistake and its line.

A file with a `matrix` is several scripts: one for each combination of its values.

    matrix:
      voice: [slt, rms]
      line.receive.loss: [0, 5]
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from dialog.flow.source import did_you_mean
from dialog.sentences import speakable
from media.impairment import Impairment
from voicegw.config.source import Path_, Settings, dotted, read
from voicegw.errors import ConfigError, Problem
from voicegw.phone.script import (
    DTMF_KEYS,
    Answer,
    Expect,
    HangUp,
    KeyWay,
    LineQuality,
    Noise,
    NoiseKind,
    Now,
    OnTurn,
    OverBot,
    Pause,
    Play,
    Press,
    Reply,
    Say,
    Script,
    ServerExpect,
    Step,
    WaitBot,
    WaitSilence,
    When,
)

E = TypeVar("E", bound=StrEnum)

VERBS = ("say", "wav", "dtmf", "wait_silence_ms", "pause_ms", "wait_bot", "hangup", "answer")
MODIFIERS = ("over_bot_after_ms", "after_silence_ms", "now")
EXTRAS = {"say": ("voice",), "dtmf": ("by",)}
TIMES = ("turn_silence_ms", "patience_ms", "linger_ms")
TEXTS = ("name", "voice", "from", "to")
KEYS = ("caller", "expect", *TEXTS, *TIMES, "headers", "keys", "line", "give_up_after_ms", "matrix")
SHARES = ("loss", "reorder", "duplicate")  # percent
COUNTS = ("bot_utterances", "latency_ms", "median_latency_ms", "barge_in_ms", "total_s", "least_total_s")
SERVER_COUNTS = ("barge_ins", "no_input", "errors", "turn_latency_ms", "calls")
SERVER_LISTS = ("states", "transcript", "heard", "not_heard", "intents")
MOST_VARIANTS = 500


def load(file: Path) -> Script:
    """The script, of a matrix the first one. Raises ConfigError with every mistake and its line."""
    return load_all(file)[0]


def load_all(file: Path) -> list[Script]:
    """All that the file holds. Raises ConfigError likewise."""
    settings = read(file, {})
    problems = list(settings.problems)
    scripts = []
    for suffix, data in _variants(settings, file, problems):
        reader = _Reader(settings, file, data)
        scripts.append(reader.script(suffix))
        problems += [problem for problem in reader.problems if problem not in problems]
    if problems:
        raise ConfigError(problems)
    return scripts


def _variants(
    settings: Settings, file: Path, problems: list[Problem]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What tells a variant from the others, and its data."""
    matrix = settings.data.get("matrix", {})
    path: Path_ = ("matrix",)
    usable = isinstance(matrix, dict) and all(isinstance(v, list) and v for v in matrix.values())
    if not usable or len(list(itertools.product(*matrix.values()))) > MOST_VARIANTS:
        wanted = f"must map dotted settings to lists of values, {MOST_VARIANTS} combinations at most"
        problems.append(Problem(settings.where(path) or str(file), dotted(path), wanted))
        matrix = {}
    for values in itertools.product(*matrix.values()):
        data = deepcopy(settings.data)
        for key, value in zip(matrix, values, strict=True):
            _put(data, key.split("."), value)
        yield ",".join(f"{k}={v}" for k, v in zip(matrix, values, strict=True)), data


def _put(node: Any, path: list[str], value: Any) -> None:
    for part in path[:-1]:
        child = node[int(part)] if isinstance(node, list) and part.isdecimal() else node.get(part)
        if not isinstance(child, dict | list):
            child = node[part] = {}
        node = child
    node[path[-1]] = value


class _Values:
    """Plain data of one script, and its values by kind; collects what is wrong."""

    def __init__(self, settings: Settings, file: Path, data: dict[str, Any]) -> None:
        self._settings, self._file, self._data = settings, file, data
        self.problems: list[Problem] = []

    def _mapping(self, path: Path_, raw: Any, keys: tuple[str, ...]) -> bool:
        if not isinstance(raw, dict):
            self._wrong(path, "must be a mapping")
            return False
        self._known(path, raw, keys)
        return True

    def _known(self, path: Path_, raw: dict[str, Any], keys: tuple[str, ...]) -> None:
        for key in raw:
            if key not in keys:
                hint = did_you_mean(key, keys)
                self._wrong((*path, key), f"unknown{hint}; there are {', '.join(keys)}")

    def _sound_file(self, path: Path_, value: Any) -> Path | None:
        text = self._text(path, value)
        if not text:
            return None
        file = self._file.parent / text
        if not file.is_file():
            self._wrong(path, f"there is no file {file}")
        return file

    def _choice(self, path: Path_, value: Any, kind: type[E]) -> E:
        names = [member.value for member in kind]
        if value in names:
            return kind(value)
        hint = did_you_mean(str(value), names)
        self._wrong(path, f"must be one of {', '.join(names)}, not {value!r}{hint}")
        return next(iter(kind))

    def _texts(self, path: Path_, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            return tuple(filter(None, [self._text(path, value)]))
        return tuple(filter(None, [self._text((*path, n), text) for n, text in enumerate(value)]))

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

    def _share(self, path: Path_, value: Any, low: float, high: float) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self._wrong(path, f"must be a number from {low:g} to {high:g}, not {value!r}")
        return low

    def _wrong(self, path: Path_, message: str) -> None:
        self.problems.append(Problem(self._settings.where(path) or str(self._file), dotted(path), message))

    def _any_mapping(self, path: Path_, value: Any) -> dict[str, Any]:
        if isinstance(value, str | list):  # a name, or some: that they are there
            value = dict.fromkeys([value] if isinstance(value, str) else map(str, value))
        if not isinstance(value, Mapping):
            self._wrong(path, f"must be a mapping, not {value!r}")
            return {}
        return dict(value)


class _Reader(_Values):
    """Plain data to a script."""

    def script(self, suffix: str) -> Script:
        data = self._data
        self._known((), data, KEYS)
        steps = data.get("caller")
        if not isinstance(steps, list) or not steps:
            self._wrong(("caller",), "must be a list of at least one step")
            steps = []
        times = {key: self._number((key,), data[key], 100, 600_000) for key in TIMES if key in data}
        texts = {key: self._name(key) for key in TEXTS}
        name = texts["name"] or self._file.stem
        expect, served = self._expect(data.get("expect", {}))
        patience = data.get("give_up_after_ms")
        return Script(
            steps=tuple(step for n, raw in enumerate(steps) for step in self._step(("caller", n), raw)),
            expect=expect,
            voice=texts["voice"],
            **times,
            name=f"{name}[{suffix}]" if suffix else name,
            caller=texts["from"],
            callee=texts["to"],
            headers=self._headers(("headers",), data.get("headers", {})),
            keys_by=self._choice(("keys",), data.get("keys", KeyWay.EVENT.value), KeyWay),
            line=self._line(("line",), data.get("line", {})),
            give_up_after_ms=None
            if patience is None
            else self._number(("give_up_after_ms",), patience, 0, 600_000),
            served=served,
        )

    def _name(self, key: str) -> str:
        value = self._data.get(key, "")
        if not isinstance(value, str):
            what = "the name of a voice" if key == "voice" else "text; quote numbers"
            self._wrong((key,), f"must be {what}")
            return ""
        return value

    def _headers(self, path: Path_, raw: Any) -> dict[str, str]:
        if not isinstance(raw, dict):
            self._wrong(path, "must be a mapping")
            return {}
        return {key: self._text((*path, key), value) for key, value in raw.items()}

    # Steps

    def _step(self, path: Path_, raw: Any) -> Iterator[Step]:
        if raw in ("wait_bot", "hangup"):
            raw = {raw: True}
        if not isinstance(raw, dict):
            hint = did_you_mean(raw, VERBS) if isinstance(raw, str) else ""
            self._wrong(path, f"is no step{hint}; one of {', '.join(VERBS)}")
            return
        verbs = [key for key in raw if key in VERBS]
        if len(verbs) != 1:
            found = f"has {' and '.join(verbs)}" if verbs else f"has {', '.join(raw) or 'nothing'}"
            hint = "".join(did_you_mean(key, VERBS) for key in list(raw)[:1]) if not verbs else ""
            self._wrong(path, f"a step does one thing of {', '.join(VERBS)}; this one {found}{hint}")
            return
        verb = verbs[0]
        waits = verb in ("say", "wav", "dtmf", "hangup")
        self._known(path, raw, (verb, *(MODIFIERS if waits else ()), *EXTRAS.get(verb, ())))
        when = self._when(path, raw, Now() if verb == "hangup" else OnTurn()) if waits else Now()
        yield from self._verb((*path, verb), raw, when)

    def _verb(self, path: Path_, raw: dict[str, Any], when: When) -> Iterator[Step]:
        verb = str(path[-1])
        value = raw[verb]
        match verb:
            case "say":
                if text := self._said(path, value):
                    voice = self._text((*path[:-1], "voice"), raw["voice"]) if "voice" in raw else ""
                    yield Say(text, when, voice)
            case "wav":
                if (file := self._sound_file(path, value)) is not None:
                    yield Play(file, when)
            case "dtmf":
                if (text := self._text(path, value)) and not self._keys(path, text):
                    by = self._choice((*path[:-1], "by"), raw["by"], KeyWay) if "by" in raw else None
                    yield Press(text.upper(), when, by)
            case "answer":
                replies = value if isinstance(value, dict) else {}
                if not replies:
                    self._wrong(path, "must map nodes of the flow to what is said there")
                yield Answer({str(k): tuple(self._replies((*path, k), v)) for k, v in replies.items()})
            case "wait_silence_ms":
                yield WaitSilence(self._number(path, value, 20, 600_000))
            case "pause_ms":
                yield Pause(self._number(path, value, 20, 600_000))
            case _:
                if value is not True:
                    self._wrong(path, "takes no value but true")
                yield WaitBot() if verb == "wait_bot" else HangUp(when)

    def _replies(self, path: Path_, value: Any) -> Iterator[Reply]:
        """A line, or several with conditions."""
        if not isinstance(value, list):
            yield from self._reply(path, value, {})
            return
        for n, raw in enumerate(value):
            at = (*path, n)
            if self._mapping(at, raw, ("say", "when")):
                when = self._any_mapping((*at, "when"), raw.get("when", {}))
                yield from self._reply((*at, "say"), raw.get("say"), when)

    def _reply(self, path: Path_, text: Any, when: dict[str, Any]) -> Iterator[Reply]:
        if said := self._said(path, text):
            yield Reply(Say(said), when)

    def _said(self, path: Path_, value: Any) -> str:
        text = self._text(path, value)
        if text and not speakable(text):
            self._wrong(path, f"holds nothing to say: {text!r}")
        return text

    def _when(self, path: Path_, raw: dict[str, Any], otherwise: When) -> When:
        given = [key for key in MODIFIERS if key in raw]
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
        return otherwise

    # The line

    def _line(self, path: Path_, raw: Any) -> LineQuality:
        if not self._mapping(path, raw, ("noise", "send", "receive")):
            return LineQuality()
        noise = self._noise((*path, "noise"), raw["noise"]) if "noise" in raw else None
        ways = {way: self._impairment((*path, way), raw[way]) for way in ("send", "receive") if raw.get(way)}
        return LineQuality(noise, ways.get("send"), ways.get("receive"))

    def _noise(self, path: Path_, raw: Any) -> Noise | None:
        if not self._mapping(path, raw, ("snr_db", "kind", "file")):
            return None
        if "snr_db" not in raw or ("kind" in raw and "file" in raw):
            self._wrong(path, "needs snr_db, and a kind or a file")
            return None
        level = self._number((*path, "snr_db"), raw["snr_db"], -20, 60)
        if "file" in raw:
            file = self._sound_file((*path, "file"), raw["file"])
            return None if file is None else Noise(level, file)
        return Noise(level, self._choice((*path, "kind"), raw.get("kind", "pink"), NoiseKind))

    def _impairment(self, path: Path_, raw: Any) -> Impairment | None:
        if not self._mapping(path, raw, tuple(field.name for field in fields(Impairment))):
            return None
        values: dict[str, Any] = {}
        for key in (key for key in raw if key in {field.name for field in fields(Impairment)}):
            if key in SHARES or key == "burst":
                low, high = (1.0, 1000.0) if key == "burst" else (0.0, 100.0)
                values[key] = self._share((*path, key), raw[key], low, high)
            else:
                values[key] = self._number((*path, key), raw[key], 0, 10_000)
        return Impairment(**values)

    # Expectations

    def _expect(self, raw: Any) -> tuple[Expect, ServerExpect]:
        path: Path_ = ("expect",)
        known = [field.name for kind in (Expect, ServerExpect) for field in fields(kind)]
        if not self._mapping(path, raw, tuple(known)):
            return Expect(), ServerExpect()
        who = raw.get("hangup")
        if who not in (None, "bot", "caller"):
            self._wrong((*path, "hangup"), f"must be bot or caller, not {who!r}")
            who = None
        measured: dict[str, Any] = {
            key: self._number((*path, key), raw[key], 0, 3_600_000) for key in COUNTS if key in raw
        }
        if "status" in raw:
            measured["status"] = self._number((*path, "status"), raw["status"], 300, 699)
        if "dtmf" in raw:
            measured["dtmf"] = self._text((*path, "dtmf"), raw["dtmf"])
        return Expect(**measured, hangup=who), self._served(path, raw)

    def _served(self, path: Path_, raw: dict[str, Any]) -> ServerExpect:
        readers: dict[str, Callable[[Path_, Any], Any]] = {
            **dict.fromkeys(("cause", "recording"), self._text),
            **dict.fromkeys(SERVER_LISTS, self._texts),
            **dict.fromkeys(SERVER_COUNTS, lambda at, value: self._number(at, value, 0, 1_000_000)),
            **dict.fromkeys(("slots", "notes"), self._any_mapping),
        }
        found = {key: readers[key]((*path, key), raw[key]) for key in readers if key in raw}
        return ServerExpect(**found)
