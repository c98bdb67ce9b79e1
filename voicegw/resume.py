"""Where conversations stand, kept while their calls live: after a crash a call that FreeSWITCH still has goes
on where it was.

One small JSON file a call, written by the disk thread after each turn, removed when the call ends. What a
crash left is read once, at the next start, and kept for as long as FreeSWITCH has the call's channel. A call
that FreeSWITCH brings anew while we still have it goes on in the same way, without a restart.
"""

import json
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialog.errors import FlowRunError
from dialog.flow.engine import FlowEngine
from dialog.types import Act, AnsweredBy, DialogInput, Domain, Note, Say
from media.leg import CallInfo
from recordings.paths import FILE_MODE, FOLDER_MODE
from recordings.writer import DiskWriter
from sip.freeswitch.inbound import CARRIER, RESUMES
from voicegw.routing import Router

log = logging.getLogger(__name__)

STALE_S = 3600  # no caller waits longer than this for a server to start
CHANNEL = "channel"  # beside the flow's state


@dataclass(frozen=True, slots=True)
class KeptDialog:
    """The state of one conversation."""

    flow: str
    state: Mapping[str, Any]
    channel: str  # FreeSWITCH's: once it is gone, nobody can go on with this


class DialogStates:
    """Of one server."""

    def __init__(self, folder: Path, writer: DiskWriter, now: Callable[[], float]) -> None:
        """Reads what a crash has left. `now`: seconds since 1970."""
        self._folder, self._writer = folder, writer
        self._left = dict(_read(folder, now()))
        self._live: dict[str, str] = {}  # calls of ours -> what stands in their files
        self.channel_of: Callable[[str], str] = lambda call_id: ""
        """FreeSWITCH's channel of a call of ours."""

    def left(self, info: CallInfo) -> KeptDialog | None:
        """What was kept of the call that `info` goes on with. Only FreeSWITCH's own word counts: a header of
        a caller gets nowhere."""
        return self._left.get(info.headers.get(RESUMES, "")) if info.carrier == CARRIER else None

    def channels(self) -> Mapping[str, str]:
        """Calls that nobody has gone on with yet, and their channels."""
        return {call_id: kept.channel for call_id, kept in self._left.items()}

    def save(self, call_id: str, state: Mapping[str, object]) -> None:
        """Soon on the disk. A failure is logged: the call goes on."""
        if call_id in self._left:
            return  # another session goes on with it
        text = json.dumps({**state, CHANNEL: self.channel_of(call_id)})
        self._live[call_id] = text
        self._writer.submit(lambda: self._write(call_id, text))

    def leave(self, call_id: str) -> None:
        """Another session goes on with the call."""
        text = self._live.pop(call_id, None)
        if text is not None:
            self._left[call_id] = _kept(text)

    def forget(self, call_id: str) -> None:
        """The call is over."""
        self._left.pop(call_id, None)
        self._live.pop(call_id, None)
        self._writer.submit(lambda: self._path(call_id).unlink(missing_ok=True))

    def _path(self, call_id: str) -> Path:
        return self._folder / f"{call_id}.json"

    def _write(self, call_id: str, text: str) -> None:
        path = self._path(call_id)
        try:
            self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)  # what callers said is in it
            part = path.with_suffix(".part")
            part.touch(FILE_MODE)
            part.write_text(text)
            part.replace(path)
        except OSError as error:
            log.error("dialog state not kept", extra={"call_id": call_id, "error": str(error)})


def _kept(text: str) -> KeptDialog:
    """Raises ValueError, KeyError for what `save` has not written."""
    state = json.loads(text)
    if not isinstance(state, dict):
        raise ValueError("no object")
    channel = str(state.pop(CHANNEL))
    return KeptDialog(str(state["flow"]), state, channel)


def _read(folder: Path, now: float) -> list[tuple[str, KeptDialog]]:
    found = []
    for part in folder.glob("*.part") if folder.is_dir() else ():
        _remove(part)
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            if now - path.stat().st_mtime < STALE_S:
                found.append((path.stem, _kept(path.read_text())))
            else:
                path.unlink()
        except (ValueError, KeyError) as error:  # no call can go on with it
            log.warning("dialog state not readable", extra={"path": str(path), "error": str(error)})
            _remove(path)
        except OSError as error:
            log.warning("dialog state not readable", extra={"path": str(path), "error": str(error)})
    return found


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("cannot be removed", extra={"path": str(path), "error": str(error)})


class ResumingRouter(Router):
    """A call that goes on keeps its flow, whatever the table says."""

    def __init__(self, router: Router, states: DialogStates) -> None:
        self._router, self._states = router, states

    def flow_for(self, call: CallInfo) -> str | None:
        """Name of the flow; None: nobody lives here, answer 404."""
        left = self._states.left(call)
        return left.flow if left is not None else self._router.flow_for(call)


class ResumableDialog:
    """A conversation that is kept after each turn. Implements `dialog.types.DialogEngine`."""

    def __init__(self, engine: FlowEngine, states: DialogStates, info: CallInfo, phrase: str) -> None:
        """`phrase` is said first where the conversation goes on after a crash."""
        self._engine, self._states, self._call_id, self._phrase = engine, states, info.call_id, phrase
        self._resumes = False
        left = states.left(info)
        if left is not None:
            try:
                engine.restore(left.state)
                self._resumes = True
            except FlowRunError as error:
                log.warning("conversation begins anew", extra={"call_id": info.call_id, "error": str(error)})
            states.forget(info.headers[RESUMES])

    @property
    def domain(self) -> Domain:
        """All that may be expected in this conversation."""
        return self._engine.domain

    @property
    def answered_by(self) -> frozenset[AnsweredBy]:
        """For whom else than a person there is something; on a call that goes on it is known who is there."""
        return frozenset() if self._resumes else self._engine.answered_by

    async def greet(self) -> AsyncGenerator[Act, None]:
        """Open the conversation, or go on with it."""
        if self._resumes:
            yield Note("resumed", {"node": self._engine.node})
            yield Say(self._phrase)
        async with aclosing(self._kept(self._engine.greet())) as acts:
            async for act in acts:
                yield act

    async def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        """Answer."""
        async with aclosing(self._kept(self._engine.reply(turn))) as acts:
            async for act in acts:
                yield act

    def heard(self, text: str, complete: bool) -> None:  # noqa: FBT001 - the port has it so
        """The truth for the history."""
        self._engine.heard(text, complete)

    async def _kept(self, acts: AsyncGenerator[Act, None]) -> AsyncGenerator[Act, None]:
        """The turn is decided with its first act: kept then, also if it is cut."""
        async with aclosing(acts):
            first = True
            async for act in acts:
                if first:
                    self._states.save(self._call_id, self._engine.dump())
                    first = False
                yield act
