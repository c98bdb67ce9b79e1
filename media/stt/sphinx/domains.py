"""The domains that the workers can hear, and who of them has said so."""

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass

from dialog.types import Domain
from media.errors import ProviderError
from media.stt.sphinx.config import Config
from media.stt.sphinx.slot import Slot
from media.stt.sphinx.wire import Kind, domain_to_json

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    domain: Domain
    key: int
    json: bytes
    answer: asyncio.Future[str]  # "" or why it cannot be built
    waiting: set[int]  # workers that have not answered
    users: int = 0  # calls
    deaths: int = 0  # workers that died building it


class Domains:
    """Kept by key; the one used longest ago is forgotten when there are too many."""

    def __init__(self, config: Config, slots: list[Slot]) -> None:
        self._config, self._slots = config, slots
        self._by_key: OrderedDict[int, _Entry] = OrderedDict()
        self._keys: dict[Domain, int] = {}
        self._last_key = 0

    def __contains__(self, key: int) -> bool:
        return key in self._by_key

    def request(self, domain: Domain) -> int:
        """Have it built, unless it was; messages sent after this may refer to its key at once."""
        key = self._keys.get(domain)
        if key is None:
            self._last_key = key = self._last_key + 1
            answer = asyncio.get_running_loop().create_future()
            entry = _Entry(domain, key, domain_to_json(domain), answer, {slot.index for slot in self._slots})
            self._by_key[key], self._keys[domain] = entry, key
            for slot in self._slots:
                slot.build(key, entry.json)
            self._make_room()
        self._by_key.move_to_end(key)
        return key

    async def prepare(self, domain: Domain) -> int:
        """The same, and wait until all workers have built it. Raises ProviderError."""
        key = self.request(domain)
        try:
            async with asyncio.timeout(self._config.prepare_timeout_s):
                problem = await asyncio.shield(self._by_key[key].answer)
        except TimeoutError:
            raise ProviderError("no speech worker is ready", retryable=True) from None
        if problem:
            raise ProviderError(f"{domain.name!r} cannot be heard: {problem}")
        return key

    def use(self, key: int, calls: int) -> None:
        """A call began (1) or ceased (-1) to use it: meanwhile it is not forgotten."""
        if key in self._by_key:
            self._by_key[key].users += calls

    def tell(self, slot: Slot) -> None:
        """All of them, to a new worker."""
        for entry in self._by_key.values():
            slot.build(entry.key, entry.json)

    def on_answer(self, slot: Slot, key: int, problem: str) -> None:
        """A worker has built it, or cannot."""
        entry = self._by_key.get(key)
        if entry is None:
            return
        entry.waiting.discard(slot.index)
        if problem:
            self._refuse(entry, problem)
        elif not entry.waiting and not entry.answer.done():
            entry.answer.set_result("")

    def on_death(self, slot: Slot) -> None:
        """The worker died; what it was building may be why."""
        entry = self._by_key.get(slot.pending[0]) if slot.pending else None
        if entry is not None:
            entry.deaths += 1
            if entry.deaths > self._config.max_replays:
                self._refuse(entry, f"{entry.deaths} speech workers died of it")

    def _refuse(self, entry: _Entry, problem: str) -> None:
        log.error("speech domain refused", extra={"domain": entry.domain.name, "problem": problem})
        self._forget(entry)
        if not entry.answer.done():
            entry.answer.set_result(problem)

    def _make_room(self) -> None:
        for entry in list(self._by_key.values()):
            if len(self._by_key) <= self._config.max_domains:
                return
            if not entry.users and entry.answer.done():
                self._forget(entry)

    def _forget(self, entry: _Entry) -> None:
        del self._by_key[entry.key], self._keys[entry.domain]
        for slot in self._slots:
            slot.send(Kind.DROP, entry.key)
