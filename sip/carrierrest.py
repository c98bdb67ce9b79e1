"""Requests to a carrier: time-outs, retries, one kind of error.

What may be repeated is: everything where the carrier says that it did nothing (no connection, 429, 503), and
besides, after a time-out or a 5xx, what does the same twice (`again`): a hang-up, but not a new call.
"""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import ClientTimeout

from media.errors import MediaError

FIRST_WAIT_S = 0.25  # then twice that: somebody is on the phone meanwhile
LONGEST_WAIT_S = 2.0
CONNECT_S = 3.0


class CarrierError(MediaError):
    """A carrier refused a request, or could not be reached. `status` 0: it could not; `code` is its own."""

    def __init__(self, message: str, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(slots=True)
class RestStats:
    """Requests to one carrier."""

    requests: int = 0
    retries: int = 0
    refused: int = 0  # 4xx
    failed: int = 0  # 5xx, time-outs, no connection; after all retries


@dataclass(frozen=True, slots=True)
class Answer:
    """What the carrier says."""

    status: int
    body: Mapping[str, Any]  # of the JSON object; else empty
    text: str


@dataclass(frozen=True, slots=True)
class RestConfig:
    """Requests to the carrier."""

    timeout_s: float = 8.0
    """Seconds that one attempt may take."""
    tries: int = 3
    """Attempts at a request that got no answer."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `form` or `body` (JSON), not both."""

    method: str
    url: str
    form: Sequence[tuple[str, str]] | None = None
    body: Mapping[str, Any] | None = None
    again: bool = False  # does the same if it is repeated


class RestClient:
    """One carrier's HTTP interface. Belongs to one loop."""

    def __init__(self, name: str, config: RestConfig, authorization: Callable[[], str]) -> None:
        """`authorization`: the header of that name, asked for with each attempt."""
        self._name, self._config, self._authorization = name, config, authorization
        self._session: aiohttp.ClientSession | None = None
        self.stats = RestStats()

    async def ask(self, ask: Ask) -> Answer:
        """Raises CarrierError only if no answer came; what a 4xx means is the caller's business."""
        self.stats.requests += 1
        wait = FIRST_WAIT_S
        for left in range(self._config.tries - 1, -1, -1):
            answer, error = await self._try(ask)
            if answer is not None and answer.status < 500 and answer.status != 429:
                self.stats.refused += answer.status >= 400
                return answer
            if not left or not self._may_repeat(ask, answer, error):
                break
            self.stats.retries += 1
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT_S, 2 * wait)
        self.stats.failed += 1
        if answer is not None:
            return answer
        raise CarrierError(f"{self._name} cannot be reached: {error}")

    async def close(self) -> None:
        """Close connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @staticmethod
    def _may_repeat(ask: Ask, answer: Answer | None, error: str) -> bool:
        if answer is not None:
            return ask.again or answer.status in {429, 503}
        return ask.again or error.startswith("no connection")

    async def _try(self, ask: Ask) -> tuple[Answer | None, str]:
        if self._session is None:
            timeout = ClientTimeout(total=self._config.timeout_s, connect=CONNECT_S)
            self._session = aiohttp.ClientSession(timeout=timeout)
        headers = {"Authorization": self._authorization()}
        data = aiohttp.FormData(list(ask.form), charset="utf-8") if ask.form is not None else None
        try:
            async with self._session.request(
                ask.method, ask.url, data=data, json=ask.body, headers=headers, allow_redirects=False
            ) as response:
                text = await response.text(errors="replace")
                return Answer(response.status, _object(text), text), ""
        except aiohttp.ClientConnectorError as error:
            return None, f"no connection: {error.os_error.strerror or error.os_error}"
        except TimeoutError:
            return None, f"no answer within {self._config.timeout_s:g} s"
        except aiohttp.ClientError as error:
            return None, f"{type(error).__name__}: {error}"


def _object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def basic(user: str, password: str) -> str:
    """`Authorization` by user and password (RFC 7617)."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def problem(name: str, answer: Answer, code: str, said: str, hints: Mapping[str, str]) -> CarrierError:
    """What a refusal means: in the carrier's words, and in ours, by its code or the HTTP status."""
    words = [f"{name} error {code}" if code else f"{name} answered {answer.status}"]
    words += [said] if said else []
    hint = hints.get(code) or hints.get(str(answer.status))
    return CarrierError(": ".join([*words, hint] if hint else words), answer.status, code)
