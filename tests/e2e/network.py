"""Two hosts, made of network namespaces, and a bad network between them, for signalling and sound alike.

    with two_hosts(Impairment(loss=20, jitter_ms=80)) as (server, phone, network):
        subprocess.Popen([*server.inside, "voicegw", "run"])  # at server.address

Each host has a tun device; what the kernel puts into one, a thread takes out, loses, delays or reorders, and
gives to the other. TCP passes untouched. Needs the right to make namespaces.
"""

import fcntl
import heapq
import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from media.impairment import Channel, Impairment

# Linux, <linux/if_tun.h>
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
UDP = 17  # protocol number in IPv4


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace with one address."""

    name: str
    address: str
    tun: int  # file descriptor of the far end of its cable

    @property
    def inside(self) -> list[str]:
        """What a command begins with that runs there."""
        return ["ip", "netns", "exec", self.name]


class Network:
    """Carries packets until it is closed. `lost` and `carried` count UDP, both ways."""

    def __init__(self, hosts: tuple[Host, Host], quality: Impairment) -> None:
        here, there = hosts
        self._ways = {
            here.tun: (there.tun, Channel(quality, "there")),
            there.tun: (here.tun, Channel(quality, "back")),
        }
        self.carried = 0
        self._stop_out, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._carry, name="network")
        self._thread.start()

    @property
    def lost(self) -> int:
        return sum(channel.lost for _, channel in self._ways.values())

    def close(self) -> None:
        os.write(self._stop, b".")
        self._thread.join()
        os.close(self._stop)
        os.close(self._stop_out)

    def _carry(self) -> None:
        waiting: list[tuple[float, int, int, bytes]] = []  # due, order, to, packet
        while True:
            left = None if not waiting else max(0.0, waiting[0][0] - time.monotonic())
            ready, _, _ = select.select([*self._ways, self._stop_out], [], [], left)
            if self._stop_out in ready:
                return
            for source in ready:
                packet = os.read(source, 65535)
                to, channel = self._ways[source]
                if packet[0] >> 4 != 4 or packet[9] != UDP:
                    os.write(to, packet)
                    continue
                self.carried += 1
                for due in channel.arrivals(time.monotonic()):
                    heapq.heappush(waiting, (due, self.carried, to, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, to, packet = heapq.heappop(waiting)
                os.write(to, packet)


@contextmanager
def two_hosts(quality: Impairment) -> Iterator[tuple[Host, Host, Network]]:
    """While the block lasts. Skips the test where namespaces cannot be made."""
    with ExitStack() as stack:
        one = stack.enter_context(_host("10.77.0.1", "10.77.0.2"))
        two = stack.enter_context(_host("10.77.0.2", "10.77.0.1"))
        network = Network((one, two), quality)
        stack.callback(network.close)
        yield one, two, network


@contextmanager
def _host(address: str, peer: str) -> Iterator[Host]:
    # An interface's name has at most 15 characters.
    name = f"vg{os.getpid()}-{address.rpartition('.')[2]}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces here: {made.stderr.strip()}")
    try:
        tun = _tun(name)
        try:
            _ip("link", "set", name, "netns", name)
            within = ("-n", name)
            _ip(*within, "link", "set", "lo", "up")
            _ip(*within, "address", "add", address, "peer", peer, "dev", name)
            _ip(*within, "link", "set", name, "up")
            yield Host(name, address, tun)
        finally:
            os.close(tun)
    finally:
        _ip("netns", "delete", name)


def _tun(name: str) -> int:
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no tun devices here: {error}")
    try:
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError as error:
        os.close(tun)
        pytest.skip(f"no tun devices here: {error}")
    return tun


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
