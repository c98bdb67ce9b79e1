"""What systemd wants to know of a service (sd_notify(3)): ready, stopping, alive. Nothing without it.

With `WatchdogSec=` in the unit, an event loop that does not come round in that time is killed and started
anew: no call hears anything from it anyway.
"""

import asyncio
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells the service manager. `environ` names its socket."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # Names that begin with @ are abstract: a zero byte stands there.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        self._watchdog_s = int(usec) / 1e6 if mine and usec.isdecimal() else 0.0

    def say(self, text: str) -> None:
        """One message, such as READY=1. Never fails: the service works without."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.setblocking(False)
                sock.sendto(text.encode(), self._address)
        except OSError:
            return

    async def keep_alive(self) -> None:
        """Signs of life at half the watchdog's time, until cancelled."""
        while self._address and self._watchdog_s:
            self.say("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)
