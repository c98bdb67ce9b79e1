"""The small language of conditions and settings in flows: `weekday(day) == "sunday" or time < "09:00"`.

Python's grammar, read by `ast` and then only what is listed here: names, literals, lists, and / or /
not, comparisons, in, + - * / // %, a if b else c, and the functions below. There is no attribute, no
index, no lambda, no power, nothing that runs code; sizes are bounded, so an expression always ends at
once. Texts compared with a day or time are read as one ("2026-05-03", "09:00"). Comparing with nothing
(an unfilled slot) is False, not an error. Anything else that does not fit raises ExpressionError.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from dialog.capture.day import WEEKDAYS
from dialog.errors import ExpressionError
from dialog.flow.values import Value, plain, type_name

MAX_CHARS = 500
MAX_NODES = 200
MAX_NUMBER = 10**15  # about what a float still tells apart
MAX_TEXT = 1_000
CONSTANTS: Mapping[str, Value] = {"true": True, "false": False, "none": None}
CLOCKS = ("today", "now")  # the day and the time of day of this turn

_COMPARE: Mapping[type[ast.cmpop], Callable[..., bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_PLAIN = (ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, ast.IfExp)
_ALLOWED = (
    *_PLAIN,
    ast.Compare,
    ast.Eq,
    ast.NotEq,
    ast.In,
    ast.NotIn,
    ast.Name,
    ast.Load,
    ast.List,
    ast.Tuple,
    ast.Constant,
    ast.Call,
    *_COMPARE,
    *_ARITHMETIC,
)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. Make it with `compile_expression`."""

    source: str
    names: frozenset[str]  # slots and variables it reads
    tree: ast.expr

    def evaluate(self, values: Mapping[str, Value], now: datetime) -> Value:
        """Compute it. `values` holds every name; raises ExpressionError if the values do not fit."""
        try:
            return _Evaluation({**values, "today": now.date(), "now": now.time()}).value(self.tree)
        except ExpressionError as error:
            raise ExpressionError(f"{error} in {self.source!r}") from None


def compile_expression(source: str) -> Expression:
    """Check and compile. Raises ExpressionError; whether the names exist is the caller's to check."""
    if len(source) > MAX_CHARS:
        raise ExpressionError(f"the expression has {len(source)} characters, {MAX_CHARS} is the most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" and the like: the parser's remarks help nobody here
            tree = ast.parse(source.strip(), mode="eval").body
        nodes = list(ast.walk(tree))
    except SyntaxError as error:
        raise ExpressionError(f"cannot read {source!r}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"cannot read {source!r}: {error}") from None
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"the expression has {len(nodes)} parts, {MAX_NODES} is the most")
    for node in nodes:
        _check(node, source)
    called = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    names = {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in called}
    return Expression(source, frozenset(names - set(CONSTANTS) - set(CLOCKS)), tree)


def _check(node: ast.AST, source: str) -> None:
    if not isinstance(node, _ALLOWED):
        raise ExpressionError(f"{type(node).__name__} is not allowed in {source!r}")
    if isinstance(node, ast.Constant) and not isinstance(node.value, str | int | float | None):
        raise ExpressionError(f"{node.value!r} is not allowed in {source!r}")
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        _bounded(node.value)
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.keywords:
            raise ExpressionError(f"only plain function calls are allowed in {source!r}")
        function = FUNCTIONS.get(node.func.id)
        if function is None:
            raise UnknownFunction(node.func.id, source)
        if not function.least <= len(node.args) <= function.most:
            raise ExpressionError(f"{node.func.id}() is called with {len(node.args)} values in {source!r}")


class UnknownFunction(ExpressionError):
    """The loader adds a did-you-mean."""

    def __init__(self, name: str, source: str) -> None:
        super().__init__(f"unknown function {name!r} in {source!r}")
        self.name = name


class _Evaluation:
    """One walk over one expression."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=value):
                return value  # type: ignore[return-value]  # `_check` admits nothing else
            case ast.Name(id=name):
                return self._name(name)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return tuple(self.value(item) for item in items)
            case ast.BoolOp(op=op, values=parts):
                return self._and_or(isinstance(op, ast.And), parts)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return not self.value(part)
            case ast.UnaryOp(operand=part):
                return _bounded(-_number(self.value(part)))
            case ast.IfExp(test=test, body=body, orelse=other):
                return self.value(body if self.value(test) else other)
            case ast.Compare(left=left, ops=ops, comparators=others):
                values = [self.value(n) for n in (left, *others)]
                pairs = zip(values, values[1:], strict=False)
                return all(_compare(op, a, b) for op, (a, b) in zip(ops, pairs, strict=True))
            case ast.BinOp(left=left, op=op, right=right):
                return _arithmetic(op, self.value(left), self.value(right))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return _call(name, [self.value(a) for a in arguments])
        raise ExpressionError(
            f"{type(node).__name__} is not allowed"
        )  # pragma: no cover - `_check` forbids it

    def _name(self, name: str) -> Value:
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name not in self._values:
            raise ExpressionError(f"unknown name {name!r}")
        return self._values[name]

    def _and_or(self, conjunction: bool, parts: list[ast.expr]) -> Value:
        value: Value = None
        for part in parts:
            value = self.value(part)
            if bool(value) != conjunction:
                break
        return value


def _compare(op: ast.cmpop, a: Value, b: Value) -> bool:
    if isinstance(op, ast.In | ast.NotIn):
        return _contains(b, a) == isinstance(op, ast.In)
    a, b = _alike(a, b)
    if isinstance(op, ast.Eq | ast.NotEq):
        return (a == b) == isinstance(op, ast.Eq)
    if a is None or b is None:
        return False
    try:
        return _COMPARE[type(op)](a, b)
    except TypeError:
        raise ExpressionError(f"cannot compare {type_name(a)} with {type_name(b)}") from None


def _contains(container: Value, item: Value) -> bool:
    match container:
        case None:
            return False
        case str():
            return isinstance(item, str) and item in container
        case tuple():
            return any(_alike(item, member)[0] == _alike(item, member)[1] for member in container)
        case _:
            raise ExpressionError(f"{type_name(container)} has no parts to look in")


def _alike(a: Value, b: Value) -> tuple[Value, Value]:
    """Read a text as a day or time if it stands beside one."""
    if isinstance(a, str) and isinstance(b, date | time):
        return _from_text(a, type(b)), b
    if isinstance(b, str) and isinstance(a, date | time):
        return a, _from_text(b, type(a))
    return a, b


def _from_text(text: str, wanted: type[date] | type[time]) -> Value:
    try:
        return wanted.fromisoformat(text)
    except ValueError:
        kind = "day like 2026-05-03" if wanted is date else "time like 09:00"
        raise ExpressionError(f"{text!r} is no {kind}") from None


def _arithmetic(op: ast.operator, a: Value, b: Value) -> Value:
    if isinstance(op, ast.Add) and isinstance(a, str) and isinstance(b, str):
        return _short(a + b)
    if isinstance(a, date) and isinstance(op, ast.Add | ast.Sub) and isinstance(b, int):
        return _later(a, b if isinstance(op, ast.Add) else -b)
    if isinstance(a, date) and isinstance(b, date) and isinstance(op, ast.Sub):
        return (a - b).days
    try:
        return _bounded(_ARITHMETIC[type(op)](_number(a), _number(b)))
    except ZeroDivisionError:
        raise ExpressionError("division by zero") from None


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExpressionError(f"cannot calculate with {type_name(value)}")
    return value


def _bounded(value: float) -> float:
    if not -MAX_NUMBER <= value <= MAX_NUMBER:  # also catches NaN
        raise ExpressionError("a number is too large")
    return value


def _short(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ExpressionError(f"a text is longer than {MAX_TEXT} characters")
    return text


def _later(day: date, days: float) -> date:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        raise ExpressionError(f"no day is {days:g} days away") from None


def _call(name: str, arguments: list[Value]) -> Value:
    function = FUNCTIONS[name]
    if function.skips_nothing and any(a is None for a in arguments):
        return None
    try:
        return function.body(*arguments)
    except ExpressionError as error:
        raise ExpressionError(f"{name}(): {error}") from None


@dataclass(frozen=True, slots=True)
class _Function:
    body: Callable[..., Value]
    least: int
    most: int
    skips_nothing: bool = True  # an unfilled slot gives nothing instead of an error


def _day(value: Value) -> date:
    if not isinstance(value, date):
        raise ExpressionError(f"a day is wanted, not {type_name(value)}")
    return value


def _time(value: Value) -> time:
    parsed = _from_text(value, time) if isinstance(value, str) else value
    if not isinstance(parsed, time):
        raise ExpressionError(f"a time is wanted, not {type_name(value)}")
    return parsed


def _text(value: Value) -> str:
    return (
        value.isoformat()
        if isinstance(value, date)
        else f"{value:%H:%M}"
        if isinstance(value, time)
        else plain(value)
    )


def _length(value: Value) -> int:
    if isinstance(value, str | tuple):
        return len(value)
    raise ExpressionError(f"{type_name(value)} has no length")


def _integer(value: Value) -> int:
    if isinstance(value, str):
        if len(value) > 15 or not value.removeprefix("-").isdecimal():
            raise ExpressionError(f"{value!r} is no number")
        return int(value)
    return int(_number(value))


def _add_minutes(value: Value, minutes: Value) -> time:
    at = _time(value)
    total = at.hour * 60 + at.minute + int(_number(minutes))
    if not 0 <= total < 24 * 60:
        raise ExpressionError("the time leaves the day")
    return time(total // 60, total % 60)


def _checksum(*values: Value) -> str:
    """Four digits that depend on all values: a reference that is the same for the same booking."""
    total = 7
    for character in "|".join(_text(v) for v in values):
        total = (total * 31 + ord(character)) % 8_999
    return str(1_000 + total)


def _first(values: Iterator[Value]) -> Value:
    return next((v for v in values if v is not None), None)


FUNCTIONS: Mapping[str, _Function] = {
    "weekday": _Function(lambda d: WEEKDAYS[_day(d).weekday()], 1, 1),  # "monday" .. "sunday"
    "day_of_month": _Function(lambda d: _day(d).day, 1, 1),
    "month": _Function(lambda d: _day(d).month, 1, 1),
    "days_until": _Function(lambda d, today: (_day(d) - _day(today)).days, 2, 2),
    "hour": _Function(lambda t: _time(t).hour, 1, 1),
    "minute": _Function(lambda t: _time(t).minute, 1, 1),
    "add_minutes": _Function(_add_minutes, 2, 2),
    "text": _Function(_text, 1, 1),  # a day as 2026-05-03, a time as 09:30
    "lower": _Function(lambda v: _text(v).lower(), 1, 1),
    "spell": _Function(lambda v: " ".join(_text(v).replace(" ", "")), 1, 1),  # "4 7 1 1"
    "length": _Function(_length, 1, 1),
    "number": _Function(_integer, 1, 1),
    "first": _Function(lambda *vs: _first(iter(vs)), 1, 8, skips_nothing=False),  # the first that is known
    "known": _Function(lambda v: v is not None, 1, 1, skips_nothing=False),
    "reference": _Function(_checksum, 1, 8, skips_nothing=False),
}
"""What an expression can call."""
