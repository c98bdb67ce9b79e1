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
# Answers by which a carrier says that it did nothing, and that it may be asked again.
BUSY = frozenset({429, 503})


class CarrierError(MediaError):
    """A carrier refused a request, or could not be reached. `status` 0: no answer came; `code` is its own.
    `undone`: it has done nothing for certain, and may be asked again whatever the request was."""

    def __init__(self, message: str, status: int = 0, code: str = "", *, undone: bool = False) -> None:
        super().__init__(message)
        self.status, self.code, self.undone = status, code, undone


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

    @property
    def undone(self) -> bool:
        """As that of CarrierError."""
        return self.status in BUSY


@dataclass(frozen=True, slots=True)
class RestConfig:
    """Requests to the carrier."""

    timeout_s: float = 8.0
    """Seconds that one attempt may take, 60 at most: somebody waits on the line."""
    tries: int = 3
    """Attempts at a request that got no answer."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout_s <= 60:  # of an HTTP client 0 is no limit at all
            raise ValueError(f"timeout_s must be above 0 and 60 at most, not {self.timeout_s:g}")


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
            got = await self._try(ask)
            if isinstance(got, Answer) and got.status < 500 and not got.undone:
                self.stats.refused += got.status >= 400
                return got
            if not left or not (ask.again or got.undone):
                break
            self.stats.retries += 1
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT_S, 2 * wait)
        self.stats.failed += 1
        if isinstance(got, CarrierError):
            raise got
        return got

    async def close(self) -> None:
        """Close connections. Idempotent."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _try(self, ask: Ask) -> Answer | CarrierError:
        """One attempt: the answer, or why none came."""
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
                return Answer(response.status, _object(text), text)
        except aiohttp.ClientConnectorCertificateError as error:
            return self._unreached(f"no connection: {error.certificate_error}")
        except aiohttp.ClientConnectorError as error:
            return self._unreached(f"no connection: {error.os_error.strerror or error.os_error}")
        except aiohttp.ConnectionTimeoutError:
            return self._unreached(f"no connection within {CONNECT_S:g} s")
        except TimeoutError:
            return self._unanswered(f"no answer within {self._config.timeout_s:g} s")
        except aiohttp.ClientError as error:
            return self._unanswered(f"{type(error).__name__}: {error}")

    def _unreached(self, why: str) -> CarrierError:
        return CarrierError(f"{self._name} cannot be reached: {why}", undone=True)

    def _unanswered(self, why: str) -> CarrierError:
        return CarrierError(f"{self._name} cannot be reached: {why}")


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
    return CarrierError(
        ": ".join([*words, hint] if hint else words), answer.status, code, undone=answer.undone
    )
