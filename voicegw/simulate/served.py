"""What the server knows of a call: asked over HTTP, as anybody may (docs/interface.md)."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from voicegw.errors import VoicegwError
from voicegw.phone.script import Standing

SETTLE_S = 15.0  # recordings and rows are finished within a second or two of a call's end
LOOK_S = 0.25
LATEST = 1000  # calls looked through


@dataclass(frozen=True, slots=True)
class Served:
    """One call as the server kept it."""

    call: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    calls: int = 1  # how many of its calls are this one


class Server:
    """The HTTP interface of a voicegw. Made by `server_at`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def call_of(self, sip_call_id: str, caller: str) -> Served:
        """The call with this Call-ID (or, without one, the last of this caller), once it is all written.
        Raises VoicegwError if there is none."""
        ours = await self._finished(sip_call_id, caller)
        for _ in range(round(SETTLE_S / LOOK_S)):
            if ours:
                break
            await asyncio.sleep(LOOK_S)
            ours = await self._finished(sip_call_id, caller)
        else:
            raise VoicegwError(f"the server has no finished call of {sip_call_id or caller}")
        found = ours[0]
        call = json.loads(await self._get(f"api/calls/{found['id']}"))
        events = await self._events(found["id"]) if found["timeline"] else ()
        return Served(call, events, len(ours))

    async def standing(self, sip_call_id: str) -> Standing:
        """Where the call with this Call-ID stands now; it is known a second later. Raises VoicegwError."""
        for call in await self._listed():
            if call["carrier_id"] == sip_call_id and call["timeline"]:
                events = await self._events(call["id"])
                notes = [(e["name"], e.get("data") or {}) for e in events if e.get("event") == "note"]
                nodes = [str(data["id"]) for name, data in notes if name == "node"]
                slots = {str(data["name"]): data.get("value") for name, data in notes if name == "slot"}
                return Standing(nodes[-1] if nodes else "", slots)
        return Standing()

    async def _finished(self, sip_call_id: str, caller: str) -> list[dict[str, Any]]:
        listed = await self._listed()
        key, value = ("carrier_id", sip_call_id) if sip_call_id else ("from", caller)
        ours = [call for call in listed if call[key] == value]
        return ours if all(_written(call) for call in ours) else []

    async def _listed(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(await self._get(f"api/calls?limit={LATEST}"))["calls"]
        return listed

    async def _events(self, call_id: str) -> tuple[dict[str, Any], ...]:
        """Of a call that may still go on: only whole lines are written."""
        timeline = await self._get(f"api/calls/{call_id}/timeline")
        return tuple(json.loads(line) for line in timeline.splitlines())

    async def _get(self, path: str) -> str:
        try:
            async with self._session.get(path) as answer:
                text = await answer.text()
                if answer.status != 200:
                    raise VoicegwError(f"{answer.url} answers {answer.status}: {text.strip()[:200]}")
                return text
        except (aiohttp.ClientError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            raise VoicegwError(f"the server's HTTP interface cannot be asked: {why}") from error


def _written(call: Mapping[str, Any]) -> bool:
    return call["state"] == "ended" and (not call["answered_at"] or not _recorded_late(call))


def _recorded_late(call: Mapping[str, Any]) -> bool:
    return bool(call["recording"]) and not call["recording_state"]


@asynccontextmanager
async def server_at(url: str, token: str = "") -> AsyncIterator[Server]:
    """`url` as the ready line says it: http://host:port/."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(url.rstrip("/") + "/", headers=headers, timeout=timeout) as session:
        yield Server(session)
