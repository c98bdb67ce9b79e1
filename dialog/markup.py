"""Markup in what is said: a subset of SSML 1.1, in texts of flows and agents. Text in, a small tree out.

    break  say-as  prosody  phoneme  sub  emphasis  lang  voice      (speak, p and s mean nothing here)

Anything else is text: "a < b", "R&D", "<name>" are spoken as they stand, and never an error. `parse` takes
any text: what is wrong with a tag (an unknown value, no end) is a `Fault` with its place, and its words are
kept. What the caller hears, the history and the transcript are the words alone: `plain`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape as _escape

from dialog.markuptree import (
    SAY_AS,
    Break,
    Emphasis,
    Lang,
    Node,
    Phoneme,
    Prosody,
    SayAs,
    Span,
    Style,
    Sub,
    Voice,
)
from dialog.sentences import split as _split

LONGEST_BREAK_MS = 10_000

_TAGS = "speak|p|s|break|say-as|prosody|phoneme|sub|emphasis|lang|voice"
_TAG = re.compile(
    rf"""<(?P<end>/)?(?P<name>{_TAGS})(?P<attributes>(?:\s+[\w:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(?P<empty>/)?>"""
    r"|&(?P<entity>amp|lt|gt|quot|apos|\#\d{1,7}|\#x[0-9a-fA-F]{1,6});"
)
_ATTRIBUTE = re.compile(r"""([\w:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_BREAKS = {"none": 0, "x-weak": 100, "weak": 200, "medium": 400, "strong": 700, "x-strong": 1200}
_RATES = {"x-slow": 0.5, "slow": 0.8, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
_PITCHES = {"x-low": 0.75, "low": 0.87, "medium": 1.0, "default": 1.0, "high": 1.15, "x-high": 1.33}
_VOLUMES = {
    "silent": -96.0,
    "x-soft": -12.0,
    "soft": -6.0,
    "medium": 0.0,
    "default": 0.0,
    "loud": 4.0,
    "x-loud": 6.0,
}
_LEVELS = ("strong", "moderate", "none", "reduced")


@dataclass(frozen=True, slots=True)
class Fault:
    """A tag that cannot be meant so."""

    at: int  # characters of the source
    message: str


@dataclass(frozen=True, slots=True)
class Marked:
    """A text, read."""

    nodes: tuple[Node, ...]
    faults: tuple[Fault, ...] = ()

    @property
    def words(self) -> str:
        """What is heard."""
        return "".join(_words(self.nodes))

    @property
    def bare(self) -> bool:
        """Nothing but words."""
        return all(isinstance(node, str) for node in self.nodes)


@dataclass(slots=True)
class _Open:
    name: str
    at: int
    style: Style | None  # None: the tag has no meaning, or a wrong one
    nodes: list[Node] = field(default_factory=list)


def parse(text: str) -> Marked:
    """Read markup. Never fails."""
    if "<" not in text and "&" not in text:
        return Marked((text,) if text else ())
    faults: list[Fault] = []
    stack = [_Open("", 0, None)]
    done = 0
    for match in _TAG.finditer(text):
        _add(stack[-1].nodes, text[done : match.start()])
        done = match.end()
        if match["entity"]:
            _add(stack[-1].nodes, _entity(match["entity"]))
        elif match["end"]:
            _close(stack, match["name"], match.start(), faults)
        else:
            _open(stack, match, faults)
    _add(stack[-1].nodes, text[done:])
    while len(stack) > 1:
        faults.append(Fault(stack[-1].at, f"<{stack[-1].name}> has no end"))
        _pop(stack)
    return Marked(tuple(stack[0].nodes), tuple(sorted(faults, key=lambda fault: fault.at)))


def plain(text: str) -> str:
    """The words alone."""
    return parse(text).words if "<" in text or "&" in text else text


def escape(text: str) -> str:
    """Text that means itself."""
    return _escape(text, quote=False)


def write(nodes: Sequence[Node]) -> str:
    """As text again."""
    return "".join(_written(node) for node in nodes)


def cut(nodes: Sequence[Node], start: int, end: int) -> tuple[Node, ...]:
    """The part that holds the words from `start` to `end`, with its styles; breaks with the word before."""
    return tuple(_cut(nodes, start, end, 0)[0])


def split(text: str) -> list[str]:
    """The sentences of a text, each with markup of its own that is whole."""
    if "<" not in text and "&" not in text:
        return _split(text)
    marked = parse(text)
    found, at = [], 0
    for sentence in _split(marked.words) or ([marked.words] if marked.nodes else []):
        found.append(write(cut(marked.nodes, at, at + len(sentence))))
        at += len(sentence)
    return found


def rest(text: str, chars: int) -> str:
    """What is left of a text behind so many characters of its words."""
    if "<" not in text and "&" not in text:
        return text[chars:]
    marked = parse(text)
    return write(cut(marked.nodes, chars, len(marked.words)))


def _words(nodes: Sequence[Node]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Span):
            yield from _words(node.children)


def _add(nodes: list[Node], text: str) -> None:
    if not text:
        return
    if nodes and isinstance(nodes[-1], str):
        nodes[-1] += text
    else:
        nodes.append(text)


def _entity(name: str) -> str:
    if name in _ENTITIES:
        return _ENTITIES[name]
    code = int(name[2:], 16) if name[1] == "x" else int(name[1:])
    valid = 0 < code < 0xD800 or 0xE000 <= code < 0x110000
    return chr(code) if valid else f"&{name};"


def _open(stack: list[_Open], match: re.Match[str], faults: list[Fault]) -> None:
    name, at = match["name"], match.start()
    attributes = {key: a or b for key, a, b in _ATTRIBUTE.findall(match["attributes"])}
    try:
        if name == "break":
            stack[-1].nodes.append(Break(_break_ms(attributes)))
            return
        style = _style(name, {key: _unescaped(value) for key, value in attributes.items()})
    except ValueError as error:
        faults.append(Fault(at, f"<{name}>: {error}"))
        style = None
        if name == "break":
            return
    if not match["empty"]:
        stack.append(_Open(name, at, style))
    elif style is not None:
        faults.append(Fault(at, f"<{name}/> has no words"))


def _unescaped(value: str) -> str:
    return re.sub(r"&(amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});", lambda m: _entity(m[1]), value)


def _close(stack: list[_Open], name: str, at: int, faults: list[Fault]) -> None:
    names = [one.name for one in stack]
    if name not in names[1:]:
        if name != "break":
            faults.append(Fault(at, f"</{name}> has no beginning"))
        return
    while stack[-1].name != name:
        faults.append(Fault(stack[-1].at, f"<{stack[-1].name}> has no end"))
        _pop(stack)
    _pop(stack)


def _pop(stack: list[_Open]) -> None:
    done = stack.pop()
    if done.style is None:
        for node in done.nodes:
            if isinstance(node, str):
                _add(stack[-1].nodes, node)
            else:
                stack[-1].nodes.append(node)
    elif done.nodes:
        stack[-1].nodes.append(Span(done.style, tuple(done.nodes)))


def _style(name: str, attributes: Mapping[str, str]) -> Style | None:
    """Raises ValueError."""
    match name:
        case "say-as":
            what = _needed(attributes, "interpret-as")
            if what not in SAY_AS:
                raise ValueError(f"interpret-as is {what!r}, not one of {', '.join(SAY_AS)}")
            return SayAs({"spell-out": "characters", "number": "cardinal"}.get(what, what))
        case "prosody":
            return Prosody(
                _factor(attributes.get("rate", "medium"), _RATES, "rate", 0.25, 4),
                _factor(attributes.get("pitch", "medium"), _PITCHES, "pitch", 0.5, 2),
                _volume_db(attributes.get("volume", "medium")),
            )
        case "phoneme":
            if (alphabet := attributes.get("alphabet", "ipa")) != "ipa":
                raise ValueError(f"alphabet is {alphabet!r}; ipa is understood")
            return Phoneme(_needed(attributes, "ph"))
        case "sub":
            return Sub(_needed(attributes, "alias"))
        case "emphasis":
            if (level := attributes.get("level", "moderate")) not in _LEVELS:
                raise ValueError(f"level is {level!r}, not one of {', '.join(_LEVELS)}")
            return Emphasis(level)
        case "lang":
            return Lang(_needed(attributes, "xml:lang"))
        case "voice":
            return Voice(attributes.get("name") or _needed(attributes, "name"))
    return None


def _needed(attributes: Mapping[str, str], name: str) -> str:
    value = attributes.get(name, "").strip()
    if not value:
        raise ValueError(f"{name} is missing")
    return value


def _break_ms(attributes: Mapping[str, str]) -> int:
    if "time" in attributes:
        match = re.fullmatch(r"\+?(\d{1,6}(?:\.\d{1,6})?|\.\d{1,6})(ms|s)", attributes["time"].strip())
        if match is None:
            raise ValueError(f"time is {attributes['time']!r}; write 500ms or 1.5s")
        ms = round(float(match[1]) * (1000 if match[2] == "s" else 1))
        if ms > LONGEST_BREAK_MS:
            raise ValueError(f"time is {attributes['time']}, more than {LONGEST_BREAK_MS // 1000} s")
        return ms
    strength = attributes.get("strength", "medium")
    if strength not in _BREAKS:
        raise ValueError(f"strength is {strength!r}, not one of {', '.join(_BREAKS)}")
    return _BREAKS[strength]


def _factor(text: str, names: Mapping[str, float], what: str, low: float, high: float) -> float:
    if text in names:
        return names[text]
    if match := re.fullmatch(r"([+-]?)(\d{1,4}(?:\.\d{1,4})?)%", text):
        number = float(match[2]) / 100
        factor = 1 + number if match[1] == "+" else 1 - number if match[1] == "-" else number
    elif what == "pitch" and (match := re.fullmatch(r"([+-]\d{1,3}(?:\.\d{1,4})?)st", text)):
        factor = 2 ** (float(match[1]) / 12)
    else:
        raise ValueError(f"{what} is {text!r}; write {', '.join(names)}, 80% or +10%")
    if not low <= factor <= high:
        raise ValueError(f"{what} is {text!r}, outside of {low:.0%} to {high:.0%}")
    return round(factor, 4)


def _volume_db(text: str) -> float:
    if text in _VOLUMES:
        return _VOLUMES[text]
    match = re.fullmatch(r"([+-]\d{1,2}(?:\.\d{1,4})?)dB", text)
    if match is None:
        raise ValueError(f"volume is {text!r}; write {', '.join(_VOLUMES)} or +3dB")
    return min(12.0, float(match[1]))


def _written(node: Node) -> str:
    match node:
        case str():
            return escape(node)
        case Break(ms):
            return f'<break time="{ms}ms"/>'
        case Span(style, children):
            inside = write(children)
            match style:
                case SayAs(what):
                    return f'<say-as interpret-as="{what}">{inside}</say-as>'
                case Prosody():
                    return f"<prosody{prosody_attributes(style)}>{inside}</prosody>"
                case Phoneme(ipa):
                    return f'<phoneme alphabet="ipa" ph="{_escape(ipa)}">{inside}</phoneme>'
                case Sub(alias):
                    return f'<sub alias="{_escape(alias)}">{inside}</sub>'
                case Emphasis(level):
                    return f'<emphasis level="{level}">{inside}</emphasis>'
                case Lang(code):
                    return f'<lang xml:lang="{_escape(code)}">{inside}</lang>'
                case Voice(name):
                    return f'<voice name="{_escape(name)}">{inside}</voice>'


def prosody_attributes(style: Prosody) -> str:
    """As attributes of a tag; those that change nothing are left out."""
    parts = []
    if style.rate != 1:
        parts.append(f' rate="{style.rate * 100:.6g}%"')
    if style.pitch != 1:
        parts.append(f' pitch="{(style.pitch - 1) * 100:+.6g}%"')
    if style.volume_db:
        parts.append(' volume="silent"' if style.volume_db <= -96 else f' volume="{style.volume_db:+.4g}dB"')
    return "".join(parts)


def _cut(nodes: Sequence[Node], start: int, end: int, at: int) -> tuple[list[Node], int]:
    """The nodes' part between `start` and `end`, the first node beginning at `at`; and where they end."""
    found: list[Node] = []
    for node in nodes:
        match node:
            case str():
                part = node[max(0, start - at) : max(0, end - at)]
                at += len(node)
                if part:
                    found.append(part)
            case Break():
                if start < at <= end or at == start == 0:
                    found.append(node)
            case Span(style, children):
                inside, at = _cut(children, start, end, at)
                if any(_words(inside)):
                    found.append(Span(style, tuple(inside)))
                else:
                    found += [one for one in inside if isinstance(one, Break)]
    return found, at
