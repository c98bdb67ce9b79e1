"""Status callbacks: one POST for each change of a call that somebody wants to hear of.

    report(url, change) -> that URL's queue, in order -> POST, signed; again after 1, 2, 4, ... s

One call's changes arrive in order: the next is sent when the one before has arrived or is given up. A
receiver that is slow or away holds up its own URL alone. Memory is bounded; what is lost is counted.
"""

import asyncio
import hashlib
import hmac
import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from media.tasks import Start
from voicegw import clock
from voicegw.config.outbound import CallbackConfig
from voicegw.storage.view import stamp

log = logging.getLogger(__name__)

SIGNATURE = "X-Voicegw-Signature"
FLUSH_S = 5.0  # when the server stops: for what is under way
AT_ONCE = 20  # URLs that are posted to at the same time
RETRY_S = 1.0


@dataclass(slots=True)
class CallbackCounters:
    """Since the start of the process."""

    delivered: int = 0
    retried: int = 0
    lost: int = 0  # given up, or too many waited


def signature(secret: str, body: bytes, at_s: int) -> str:
    """``t=<unix seconds>,v1=<hex>``: HMAC-SHA256 over "<seconds>.<body>". The time lets receivers refuse
    what somebody has recorded and sends again."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


class Callbacks:
    """Delivers them. Belongs to one loop; `start` owns the tasks, one for each URL with something to say."""

    def __init__(self, config: CallbackConfig, start: Start) -> None:
        self._config, self._start = config, start
        self._queues: dict[str, deque[bytes]] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._session: aiohttp.ClientSession | None = None
        self.counters = CallbackCounters()

    @property
    def waiting(self) -> int:
        """Callbacks that are not delivered yet."""
        return sum(map(len, self._queues.values()))

    def report(self, url: str, change: Mapping[str, Any]) -> None:
        """Have it delivered. Never waits, never raises."""
        if self.waiting >= self._config.max_waiting:
            self.counters.lost += 1
            log.warning("too many status callbacks wait", extra={"waiting": self.waiting})
            return
        body = json.dumps({"event": "call", "at": stamp(clock.utc()), **change}).encode()
        queue = self._queues.get(url)
        if queue is not None:
            queue.append(body)
            return
        self._queues[url] = deque([body])
        self._idle.clear()
        self._start(self._deliver(url), "status callbacks")

    async def close(self) -> None:
        """Deliver what waits, for a moment; then give up. Idempotent."""
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._idle.wait()
        except TimeoutError:
            self.counters.lost += self.waiting
            log.warning("status callbacks not delivered", extra={"waiting": self.waiting})
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, url: str) -> None:
        queue = self._queues[url]
        try:
            while queue:
                await self._insist(url, queue[0])
                queue.popleft()
        finally:
            del self._queues[url]
            if not self._queues:
                self._idle.set()

    async def _insist(self, url: str, body: bytes) -> None:
        error = ""
        for attempt in range(self._config.tries):
            if attempt:
                self.counters.retried += 1
                await asyncio.sleep(RETRY_S * 2 ** (attempt - 1))
            async with self._places:
                error, again = await self._post(url, body)
            if not error:
                self.counters.delivered += 1
                return
            if not again:
                break
        self.counters.lost += 1
        log.warning("status callback lost", extra={"url": _without_secrets(url), "error": error})

    async def _post(self, url: str, body: bytes) -> tuple[str, bool]:
        """What went wrong ("": nothing), and whether another try may help."""
        headers = {"Content-Type": "application/json", "User-Agent": "voicegw"}
        if self._config.secret:
            headers[SIGNATURE] = signature(self._config.secret, body, int(clock.utc().timestamp()))
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._config.timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        try:
            # A redirect would carry the call's data to somebody that was not named.
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                if response.status < 300:
                    return "", False
                return f"HTTP {response.status}", response.status >= 500 or response.status in (408, 429)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
            return f"{type(error).__name__}: {error}", True


def _without_secrets(url: str) -> str:
    """Without user, password and query."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
