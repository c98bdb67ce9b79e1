"""The JSON body of a request that changes something, read into a dataclass.

Only JSON is taken: a form of a web page cannot send that, so no page that an operator happens to visit can
place calls, or take part in them, from this machine.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_OBJECT = TypeAdapter(dict[str, Any])


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class BadBody(Exception):
    """What is wrong with it; `status` is the HTTP answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read_body(request: web.Request, kind: type[T]) -> T:
    """Raises BadBody. One that is too long is refused by the web server (voicegw/server.py)."""
    if request.content_type != "application/json":
        raise BadBody(415, "the body must be application/json")
    text = await request.read()
    try:
        body: T = _adapter(kind).validate_json(text)
        raw = _OBJECT.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where, message = ".".join(map(str, first["loc"])), str(first["msg"]).removeprefix("Value error, ")
        raise BadBody(400, f"{where}: {message}" if where else message) from error
    _refuse_unknown(body, raw, "")
    return body


def _refuse_unknown(body: "DataclassInstance", raw: Mapping[str, Any], where: str) -> None:
    """A misspelt key must not be a default."""
    names = [field.name for field in fields(body)]
    if unknown := sorted(set(raw) - set(names)):
        raise BadBody(400, f"{where}unknown: {', '.join(unknown)}; known: {', '.join(names)}")
    for name, value in raw.items():
        part = getattr(body, name)
        if is_dataclass(part) and not isinstance(part, type):
            _refuse_unknown(part, value, f"{name}: ")
