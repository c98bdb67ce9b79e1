"""Taking part in calls that go on, over HTTP. Everything answers 202: how it went is in the call's timeline.

POST /api/calls/{id}/transfer   {"to", "mode", "summary", "aloud", "music", "timeout_s"}   hand over
POST /api/calls/{id}/listen     {"to"}   a supervisor whom nobody hears
POST /api/calls/{id}/whisper    {"to"}   one whom the agents hear; the caller does not
POST /api/calls/{id}/barge      {"to"}   one whom everybody hears; the bot rests
POST /api/calls/{id}/invite     {"to", "name"}   one more in a conference
POST /api/calls/{id}/dtmf       {"digits"}       press keys towards the caller
POST /api/calls/{id}/play       {"text"}         say something to the caller
POST /api/calls/{id}/hold       {"on", "music"}  the caller waits with music
POST /api/calls/{id}/mute       {"on"}           nobody hears the caller
GET  /api/calls/{id}/parties    who is in the call
DELETE /api/calls/{id}/parties/{name}            take somebody out

`listen`, `whisper` and `barge` call the supervisor's phone; for one who is in already they change what he
does.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from dialog.types import Say, SendDtmf, Transfer, TransferMode
from media.company import Role
from media.dtmf import valid_keys
from media.errors import MediaError
from media.leg import HangupCause
from media.music import music
from media.session import CallSession
from voicegw.dialler import LiveDialler
from voicegw.jsonbody import BadBody, T, read_body
from voicegw.livecalls import LiveCalls

MAX_DIGITS, MAX_TEXT = 64, 2_000  # characters


@dataclass(frozen=True, slots=True)
class TransferBody:
    """Of /transfer."""

    to: str
    mode: TransferMode = TransferMode.BLIND
    summary: str = ""
    aloud: bool = False
    music: str = ""
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class InviteBody:
    """Of /listen, /whisper, /barge and /invite."""

    to: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class DigitsBody:
    """Of /dtmf."""

    digits: str


@dataclass(frozen=True, slots=True)
class PlayBody:
    """Of /play."""

    text: str


@dataclass(frozen=True, slots=True)
class SwitchBody:
    """Of /hold and /mute."""

    on: bool = True
    music: str = ""


class LiveApi:
    """A part of the web server (voicegw/mount.py)."""

    public: tuple[str, ...] = ()

    def __init__(self, live: LiveCalls, dialler: LiveDialler) -> None:
        self._live, self._dialler = live, dialler

    def routes(self) -> Iterable[web.AbstractRouteDef]:
        """What is answered."""
        call = "/api/calls/{id}"
        roles = {"listen": Role.LISTEN, "whisper": Role.WHISPER, "barge": Role.BARGE, "invite": Role.GUEST}
        return [
            web.post(f"{call}/transfer", self._transfer),
            *(web.post(f"{call}/{name}", self._inviting(role)) for name, role in roles.items()),
            web.post(f"{call}/dtmf", self._dtmf),
            web.post(f"{call}/play", self._play),
            web.post(f"{call}/hold", self._hold),
            web.post(f"{call}/mute", self._mute),
            web.get(f"{call}/parties", self._parties),
            web.delete(f"{call}/parties/{{name}}", self._remove),
        ]

    async def _transfer(self, request: web.Request) -> web.Response:
        session, body = self._session(request), await _read(request, TransferBody)
        if body.mode is TransferMode.ATTENDED and not body.summary:
            raise _wrong("an attended transfer needs a summary")
        if body.mode is TransferMode.ATTENDED:
            self._check(body.to)
        if body.timeout_s is not None and not 1 <= body.timeout_s <= 600:
            raise _wrong(f"timeout_s: 1 to 600 seconds, not {body.timeout_s:g}")
        self._sound(session, body.music)
        if session.board.handing_over:
            raise _wrong("the caller is being handed over already", 409)
        session.do(Transfer(body.to, body.mode, body.summary, body.aloud, body.music, body.timeout_s))
        return _taken(request)

    def _inviting(self, role: Role) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def invite(request: web.Request) -> web.Response:
            session, body = self._session(request), await _read(request, InviteBody)
            name = body.name or ("guest" if role is Role.GUEST else "supervisor")
            company = session.board.company
            here = company.find(name) if company is not None else None
            if company is not None and here is not None and role is not Role.GUEST:
                self._whispers(session, role)
                company.change(here, role)
                return _taken(request, name)
            self._check(body.to)
            self._whispers(session, role)
            session.board.call_in(body.to, role, name)
            return _taken(request, name)

        return invite

    def _whispers(self, session: CallSession, role: Role) -> None:
        company = session.board.company
        people = {p.role for p in company} if company is not None else set()
        if role is Role.WHISPER and not people & {Role.AGENT, Role.GUEST}:
            raise _wrong("there is nobody to whisper to: the caller talks with the bot", 409)

    async def _dtmf(self, request: web.Request) -> web.Response:
        session, body = self._session(request), await _read(request, DigitsBody)
        if not 0 < len(body.digits) <= MAX_DIGITS:
            raise _wrong(f"digits: 1 to {MAX_DIGITS} keys")
        try:
            session.do(SendDtmf(valid_keys(body.digits)))
        except ValueError as error:
            raise _wrong(f"digits: {error}") from error
        return _taken(request)

    async def _play(self, request: web.Request) -> web.Response:
        session, body = self._session(request), await _read(request, PlayBody)
        if not 0 < len(body.text) <= MAX_TEXT:
            raise _wrong(f"text: 1 to {MAX_TEXT} characters")
        session.do(Say(body.text))
        return _taken(request)

    async def _hold(self, request: web.Request) -> web.Response:
        session, body = self._session(request), await _read(request, SwitchBody)
        self._sound(session, body.music)
        session.board.hold(on=body.on, name=body.music)
        return _taken(request)

    async def _mute(self, request: web.Request) -> web.Response:
        session, body = self._session(request), await _read(request, SwitchBody)
        session.board.mute(on=body.on)
        return _taken(request)

    async def _parties(self, request: web.Request) -> web.Response:
        company = self._session(request).board.company
        parties = [{"name": p.name, "role": p.role.value} for p in company or ()]
        speaker = company.room.speaker if company is not None else ""
        return web.json_response({"parties": parties, "speaker": speaker or None})

    async def _remove(self, request: web.Request) -> web.Response:
        company = self._session(request).board.company
        party = company.find(request.match_info["name"]) if company is not None else None
        if party is None:
            raise _wrong("there is nobody of that name in the call", 404)
        await party.leg.hangup(HangupCause.NORMAL)
        return _taken(request)

    def _session(self, request: web.Request) -> CallSession:
        call = self._live.find(request.match_info["id"])
        if call is None or call.session is None or call.state != "answered":
            raise _wrong("there is no such call in progress", 404)
        return call.session

    def _check(self, target: str) -> None:
        try:
            self._dialler.check(target)
        except MediaError as error:
            raise _wrong(f"to: {error}") from error

    def _sound(self, session: CallSession, name: str) -> None:
        """Only sounds that the product has: a path in a request is no business of ours."""
        if name not in {"", "music", "ringing", "silence"}:
            raise _wrong("music: music, ringing or silence")
        music(name or "silence", session.board.rate)


def _taken(request: web.Request, name: str = "") -> web.Response:
    answer = {"id": request.match_info["id"]} | ({"name": name} if name else {})
    return web.json_response(answer, status=202)


def _wrong(message: str, status: int = 400) -> web.HTTPException:
    kinds: dict[int, type[web.HTTPError]] = {
        404: web.HTTPNotFound,
        409: web.HTTPConflict,
        415: web.HTTPUnsupportedMediaType,
    }
    text = web.json_response({"error": message}).text or ""
    return kinds.get(status, web.HTTPBadRequest)(text=text, content_type="application/json")


async def _read(request: web.Request, kind: type[T]) -> T:
    try:
        return await read_body(request, kind)
    except BadBody as error:
        raise _wrong(str(error), error.status) from error
