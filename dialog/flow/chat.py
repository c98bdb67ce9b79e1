"""A conversation in text, for a console or a test: lines in, lines out, no clock and no printing.

A line of digits, * and # is taken as keys, an empty line as silence, anything else as speech.
"""

import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from dialog.markup import plain
from dialog.turn import TurnSource
from dialog.types import Act, DialogEngine, DialogInput, Hangup, NoInput, Say, Transfer, UserTurn

SILENCES = 3  # the third one in a row ends the conversation, as on the phone

_KEYS = re.compile(r"[0-9*#]+")


class Chat:
    """Talks to one DialogEngine. `ended` says how it ended: "" while it goes on."""

    def __init__(self, engine: DialogEngine) -> None:
        self._engine = engine
        self._silences = self._turns = 0
        self.ended = ""
        self.acts: list[Act] = []  # of the last turn

    @property
    def over(self) -> bool:
        return bool(self.ended)

    async def greet(self) -> list[str]:
        """What the bot says first."""
        return await self._play(self._engine.greet())

    async def send(self, line: str) -> list[str]:
        """What the bot answers to a line."""
        return await self.take(self._turn(line.strip()))

    async def take(self, turn: DialogInput) -> list[str]:
        """What the bot answers to a turn."""
        return await self._play(self._engine.reply(turn))

    def _turn(self, line: str) -> DialogInput:
        self._turns += 1
        at_ms = self._turns * 1000
        if not line:
            self._silences += 1
            return NoInput(self._silences, at_ms, last=self._silences >= SILENCES)
        self._silences = 0
        if _KEYS.fullmatch(line):
            return UserTurn(line, at_ms, TurnSource.DTMF)
        return UserTurn(line, at_ms, TurnSource.TEXT)

    async def _play(self, acts: AsyncGenerator[Act, None]) -> list[str]:
        self.acts = []
        async with aclosing(acts):
            async for act in acts:
                self.acts.append(act)
        lines = [plain(act.text) for act in self.acts if isinstance(act, Say)]
        if lines:
            self._engine.heard(" ".join(lines), complete=True)
        for act in self.acts:
            if isinstance(act, Hangup):
                self.ended = f"hangup: {act.reason}"
            elif isinstance(act, Transfer):
                self.ended = f"transfer: {act.target}"
        return lines


async def chat(engine: DialogEngine, lines: Iterable[str]) -> AsyncGenerator[str, None]:
    """Hold a whole conversation: every line of the bot, then how it ended. `lines` may block, as
    reading a console does."""
    talk = Chat(engine)
    for said in await talk.greet():
        yield said
    for line in lines:
        if talk.over:
            break
        for said in await talk.send(line):
            yield said
    if talk.over:
        yield f"({talk.ended})"
