"""Look-ahead: what a flow may say next is synthesised while the caller is listened to, so that a fixed prompt
starts at once even with a slow voice.

One task for all calls, one text at a time, the latest wishes first; calls go before it. What it makes is kept
in the cache of the voices, and serves every call.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from dialog.markup import plain, split
from dialog.sentences import speakable
from dialog.types import Say
from media.errors import ProviderError

log = logging.getLogger(__name__)

MOST = 200  # sentences that wait; of more calls at once than that the oldest wishes are dropped
PAUSE_S = 1.0  # after an engine has failed

Prepare = Callable[[str], Coroutine[Any, Any, None]]
"""Synthesises a sentence and keeps it. Raises ProviderError."""


class Foresight:
    """`run` is its task."""

    def __init__(self, voices: Mapping[str, Prepare], most: int) -> None:
        """`voices` by language, "" being the flow's own; `most`: texts taken of one wish."""
        self._voices, self._most = voices, most
        self._wanted: OrderedDict[tuple[str, str], None] = OrderedDict()  # language, sentence
        self._changed = asyncio.Event()
        self.done = 0
        self.failures = 0

    def want(self, says: Iterable[Say]) -> None:
        """A flow may say these next, the likeliest first. Returns at once."""
        sentences = [
            (say.language if say.language in self._voices else "", sentence)
            for say in list(says)[: self._most]
            for sentence in split(say.text)
            if speakable(plain(sentence))
        ]
        for wish in reversed(sentences):
            self._wanted.pop(wish, None)
            self._wanted[wish] = None
        while len(self._wanted) > MOST:
            self._wanted.popitem(last=False)
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            while self._wanted:
                (language, sentence), _ = self._wanted.popitem()
                prepare = self._voices.get(language)
                if prepare is not None:
                    await self._prepare(prepare, sentence)
            self._changed.clear()
            await self._changed.wait()

    async def _prepare(self, prepare: Prepare, sentence: str) -> None:
        try:
            await prepare(sentence)
            self.done += 1
        except ProviderError as error:
            self.failures += 1
            log.info("no look-ahead", extra={"error": str(error)})
            await asyncio.sleep(PAUSE_S)
