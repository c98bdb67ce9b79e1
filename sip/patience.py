"""How long a call may be silent on the wire: the media time-out. A core.

Any RTP or RTCP counts as life. On hold, and while the far end suppresses its silence, more time is given:
a dead line and a quiet one look the same.
"""

import math

from media.rtpstream import FRAME_MS
from sip.rtpmedia import RtpConfig


class Patience:
    """Of one call. Times in packet times."""

    def __init__(self, config: RtpConfig) -> None:
        self._patience = _beats(config.inactivity_s)
        self._quiet = max(self._patience, _beats(config.quiet_s))
        self._hold = _beats(config.hold_s)
        self._idle = 0

    def renew(self) -> None:
        """Something came that shows that the far end is there."""
        self._idle = 0

    def ends(self, *, on_hold: bool, noisy: bool) -> bool:
        """A packet time has passed: whether it was one too many."""
        self._idle += 1
        if self._idle <= self._patience and not on_hold:
            return False
        quiet = self._quiet if noisy else self._patience
        return self._idle > (self._hold if on_hold else quiet)


def _beats(seconds: float) -> float:
    """Packet times in so many seconds; 0 stands for ever."""
    return seconds * 1000 / FRAME_MS if seconds else math.inf
