"""Is the server well? One answer for load balancers (ready), supervisors (live) and people."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from voicegw import __version__

Check = Callable[[], str | None]
"""None when all is well, else what is wrong, in a few words."""


@dataclass(frozen=True, slots=True)
class _Part:
    check: Check
    vital: bool


class Health:
    """Asks every part; made anew for each request, so it is cheap and never stale."""

    def __init__(self, calls: Callable[[], int], draining: Callable[[], bool]) -> None:
        self._calls, self._draining = calls, draining
        self._parts: dict[str, _Part] = {}
        self._started = asyncio.get_running_loop().time()
        self.complete = False  # every part has been started

    def add(self, name: str, check: Check, *, vital: bool = True) -> None:
        """A part of the server. Without a vital one no call should come here."""
        self._parts[name] = _Part(check, vital)

    def report(self) -> dict[str, object]:
        """`status` is ok, degraded (calls are taken, something is wrong), failing, draining or starting."""
        faults = {name: fault for name, part in self._parts.items() if (fault := part.check()) is not None}
        if self._draining():
            status = "draining"
        elif not self.complete:
            status = "starting"
        elif any(self._parts[name].vital for name in faults):
            status = "failing"
        else:
            status = "degraded" if faults else "ok"
        return {
            "status": status,
            "uptime_s": round(asyncio.get_running_loop().time() - self._started, 1),
            "calls": self._calls(),
            "version": __version__,
            "checks": {name: faults.get(name, "ok") for name in self._parts},
        }

    @staticmethod
    def is_ready(report: dict[str, object]) -> bool:
        """Whether a call may be sent here."""
        return report["status"] in {"ok", "degraded"}
