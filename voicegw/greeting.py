"""Greeting callers before their call is answered (early media)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from dialog.types import Act, DialogEngine, DialogInput, Domain, Say
from voicegw.journal import CallJournal


class GreetedDialog:
    """A dialog that says when its greeting is over: heard whole, or the caller takes part in some way."""

    def __init__(self, dialog: DialogEngine) -> None:
        self._dialog = dialog
        self._all_said = False
        self.greeted = asyncio.Event()

    @property
    def domain(self) -> Domain:
        """The dialog's."""
        return self._dialog.domain

    async def greet(self) -> AsyncGenerator[Act, None]:
        """The dialog's greeting."""
        speaks = False
        async with aclosing(self._dialog.greet()) as acts:
            async for act in acts:
                speaks = speaks or isinstance(act, Say)
                yield act
        self._all_said = True
        if not speaks:
            self.greeted.set()

    async def reply(self, turn: DialogInput) -> AsyncGenerator[Act, None]:
        """The dialog's reply."""
        self.greeted.set()
        async with aclosing(self._dialog.reply(turn)) as acts:
            async for act in acts:
                yield act

    def heard(self, text: str, complete: bool) -> None:
        """To the dialog; what is heard last of the greeting ends it."""
        self._dialog.heard(text, complete)
        if self._all_said or not complete:
            self.greeted.set()


class LateTap:
    """Takes audio once there is a recording: from the answer on."""

    def __init__(self, journal: CallJournal) -> None:
        self._journal = journal

    def received(self, pcm: bytes, at_ms: float) -> None:
        """From the far end."""
        if (tap := self._journal.tap) is not None:
            tap.received(pcm, at_ms)

    def played(self, pcm: bytes, at_ms: float) -> None:
        """To the far end's ear."""
        if (tap := self._journal.tap) is not None:
            tap.played(pcm, at_ms)
