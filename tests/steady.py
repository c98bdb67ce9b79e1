"""Did the machine give this process its time?

Tests of calls in real time prove nothing about the server while the machine stands still: packets come in
bursts, recognisers give up, a sentence loses its first word. A thread in each test process looks twenty times
a second how late it wakes, and how many processes want a core. tests/conftest.py asks it when such a test
has failed.
"""

import bisect
import os
import threading
import time
from pathlib import Path

BEAT_S = 0.05
LATE_S = 0.2  # ten packets of a call at once: more than a jitter buffer evens out
CROWDED = 2.0  # processes that want to run, for each core: each gets half of what it asks for
KEPT = 20 * 3600  # looks


class Witness:
    """Looks until the process ends."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._late: list[float] = []
        self._wanting: list[int] = []
        threading.Thread(target=self._watch, name="witness", daemon=True).start()

    def _watch(self) -> None:
        load = Path("/proc/loadavg")
        due = time.monotonic()
        while len(self._times) < KEPT:
            due = max(due + BEAT_S, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            now = time.monotonic()
            self._late.append(now - due)
            self._wanting.append(int(load.read_text().split()[3].partition("/")[0]) if load.exists() else 0)
            self._times.append(now)

    def disturbed(self, since: float) -> str:
        """What was wrong with the machine from then (time.monotonic()) until now; "" if all was well."""
        first, end = bisect.bisect_left(self._times, since), len(self._times)
        if first == end:  # no look since then
            return "the machine stood still" if time.monotonic() - since > LATE_S else ""
        late = max(self._late[first:end])
        wanting = sum(self._wanting[first:end]) / (end - first) / (os.cpu_count() or 1)
        if late >= LATE_S:
            return f"the machine stood still for {1000 * late:.0f} ms"
        return f"{wanting:.1f} processes wanted each core" if wanting >= CROWDED else ""
