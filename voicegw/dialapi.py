"""Placing and ending calls over HTTP, and what an outbound call looks like while it lives.

POST /api/calls              {"to": "+49301234", "flow": "reminder", ...} -> 202 and the call
GET /api/calls/{id}          (server.py) shows its state while it rings, and in the end its cause
DELETE /api/calls/{id}, POST /api/calls/{id}/hangup   end a call, whatever its state: 202
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from voicegw.config.outbound import RetryPolicy
from voicegw.jsonbody import BadBody, read_body
from voicegw.outbound import Dialer, DialOrder, DialRefused

MAX_HEADERS, MAX_VALUE = 20, 512  # of one order: a header of SIP has to fit into a datagram
_HEADER = re.compile(r"X-[A-Za-z0-9-]{1,60}", re.IGNORECASE)
_TEXT = re.compile(r"[^\x00-\x1f\x7f]*")
_CALLER = re.compile(r"\+?[A-Za-z0-9._*#-]{1,64}")


@dataclass(frozen=True, slots=True)
class DialBody:
    """The JSON of POST /api/calls."""

    to: str
    flow: str = ""
    variables: dict[str, str] | None = None
    caller: str = ""
    display_name: str = ""
    headers: dict[str, str] | None = None
    ring_timeout_s: float = 0.0
    anonymous: bool = False
    retry: RetryPolicy | None = None
    callback: str = ""

    def order(self) -> DialOrder:
        """Raises DialRefused."""
        headers = self.headers or {}
        if len(headers) > MAX_HEADERS:
            raise DialRefused(400, f"headers: {MAX_HEADERS} at most, not {len(headers)}")
        for name, value in headers.items():
            if not _HEADER.fullmatch(name):
                raise DialRefused(400, f"headers: only X-... may be set, not {name[:80]!r}")
            _text(f"headers.{name}", value)
        _text("display_name", self.display_name)
        for name, value in (self.variables or {}).items():
            if len(value) > MAX_VALUE * 8:
                raise DialRefused(400, f"variables.{name} is longer than {MAX_VALUE * 8} characters")
        if self.caller and not _CALLER.fullmatch(self.caller):
            raise DialRefused(400, f"caller: a number or a user name, not {self.caller[:80]!r}")
        if not (self.ring_timeout_s == 0 or 1 <= self.ring_timeout_s <= 600):
            raise DialRefused(400, f"ring_timeout_s: 1 to 600 seconds, not {self.ring_timeout_s:g}")
        return DialOrder(
            self.to, self.flow, self.variables or {}, self.caller, self.display_name, headers,
            self.ring_timeout_s, self.anonymous, self.retry, _url(self.callback),
        )  # fmt: skip


class DialApi:
    """A part of the web server (voicegw/mount.py)."""

    public: tuple[str, ...] = ()

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What is answered."""
        return [
            web.post("/api/calls", self._dial),
            web.delete("/api/calls/{id}", self._hang_up),
            web.post("/api/calls/{id}/hangup", self._hang_up),
        ]

    async def _dial(self, request: web.Request) -> web.Response:
        try:
            dial = self._dialer.dial((await read_body(request, DialBody)).order())
        except (BadBody, DialRefused) as error:
            headers = {"Retry-After": "10"} if error.status == 503 else {}
            return web.json_response({"error": str(error)}, status=error.status, headers=headers)
        headers = {"Location": f"/api/calls/{dial.id}"}
        return web.json_response(dial.json(), status=202, headers=headers)

    async def _hang_up(self, request: web.Request) -> web.Response:
        call_id = request.match_info["id"]
        if not await self._dialer.hang_up(call_id):
            return web.json_response({"error": "there is no such call in progress"}, status=404)
        return web.json_response({"id": call_id}, status=202)


def _text(name: str, value: str) -> None:
    if len(value) > MAX_VALUE or not _TEXT.fullmatch(value):
        raise DialRefused(400, f"{name}: {MAX_VALUE} characters at most, no control characters")


def _url(text: str) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and len(text) <= 2000
    except ValueError:
        good = False
    if not good:
        raise DialRefused(400, f"callback: an http or https URL, not {text[:80]!r}")
    return text


def live_view(dialer: Dialer, call_id: str, stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """A call as the store has it, with what is known of its order; an order that is not stored yet alone."""
    dial = dialer.find(call_id)
    if dial is None:
        return stored
    order = dial.json()
    return {**(stored or {"id": dial.id, "direction": "outbound", "state": "ringing"}), "outbound": order}
