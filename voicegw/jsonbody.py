"""The JSON body of a request that changes something, read into a dataclass.

Only JSON is taken: a form of a web page cannot send that, so no page that an operator happens to visit can
place calls, or take part in them, from this machine.
"""

from dataclasses import fields
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
    names = tuple(field.name for field in fields(kind))
    try:
        body: T = _adapter(kind).validate_json(text)
        unknown = set(_OBJECT.validate_json(text)) - set(names)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where, message = ".".join(map(str, first["loc"])), str(first["msg"]).removeprefix("Value error, ")
        raise BadBody(400, f"{where}: {message}" if where else message) from error
    if unknown:
        raise BadBody(400, f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(names)}")
    return body
