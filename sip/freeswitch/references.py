"""Which SIP call from FreeSWITCH belongs to which call that we control: by a number used once."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sip.endpoint import IncomingCall

HEADER = "X-VoiceGW-Ref"


@dataclass(slots=True)
class Reference:
    """One number, and the SIP call that will bring it."""

    number: str
    arrival: "asyncio.Future[IncomingCall]"
    taken: bool = False  # somebody has taken the call over: it is not refused at the end of waiting


@dataclass(slots=True)
class ReferenceCounters:
    """SIP calls with a reference."""

    matched: int = 0
    refused: int = 0  # unknown, used before, or too late


class References:
    """Of one edge. A reference holds while somebody waits for its call, and for one call."""

    def __init__(self) -> None:
        self.counters = ReferenceCounters()
        self._waiting: dict[str, asyncio.Future[IncomingCall]] = {}

    @contextmanager
    def issued(self) -> Iterator[Reference]:
        """A new reference. A call that came by it and was not taken is refused."""
        arrival: asyncio.Future[IncomingCall] = asyncio.get_running_loop().create_future()
        reference = Reference(secrets.token_hex(16), arrival)
        self._waiting[reference.number] = arrival
        try:
            yield reference
        finally:
            self._waiting.pop(reference.number, None)
            if arrival.done() and not arrival.cancelled() and not reference.taken:
                arrival.result().reject(487)
            arrival.cancel()

    def arrived(self, call: IncomingCall) -> bool:
        """Hand a SIP call with a reference to whoever waits for it. False: nobody does; it was refused."""
        arrival = self._waiting.pop(call.info.headers[HEADER.lower()].strip(), None)
        if arrival is None or arrival.done():
            self.counters.refused += 1
            call.reject(403, "Unknown Reference")
            return False
        self.counters.matched += 1
        arrival.set_result(call)
        return True
