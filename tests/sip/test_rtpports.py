import random
import socket

import pytest

from sip.rtpports import REST_S, PortsExhausted, RtpPorts


def free_range(count: int) -> tuple[int, int]:
    """Ports that are free now, the first one even. Below those that the system hands out itself."""
    for first in random.sample(range(10_000, 30_000, 64), 50):
        try:
            for port in range(first, first + 2 * count, 2):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first, first + 2 * count - 1
    raise AssertionError("no free ports")


def test_only_even_ports_are_given_and_none_twice() -> None:
    first, last = free_range(4)
    ports = RtpPorts("127.0.0.1", first - 1, last)
    taken = [ports.bind(0) for _ in range(4)]
    numbers = [s.getsockname()[1] for s in taken]
    assert len(set(numbers)) == 4
    assert all(n % 2 == 0 and first <= n <= last for n in numbers)
    with pytest.raises(PortsExhausted):
        ports.bind(0)
    for sock in taken:
        ports.release(sock, 0)
    assert ports.free == 4


def test_a_port_rests_after_its_call_unless_it_is_the_last() -> None:
    first, last = free_range(2)
    ports = RtpPorts("127.0.0.1", first, last)
    one = ports.bind(0)
    port = one.getsockname()[1]
    ports.release(one, 0)
    two = ports.bind(1)
    assert two.getsockname()[1] != port
    three = ports.bind(2)  # all others are in use: better a tired port than a refused call
    assert three.getsockname()[1] == port
    ports.release(three, 3)
    ports.release(two, 3)
    again = ports.bind(3 + REST_S)
    assert again.getsockname()[1] == port
    again.close()


def test_a_port_of_somebody_else_is_passed_over() -> None:
    first, last = free_range(2)
    ports = RtpPorts("127.0.0.1", first, last)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", first))
        mine = ports.bind(0)
        assert mine.getsockname()[1] == first + 2
        mine.close()


def test_any_port_will_do_if_none_is_configured() -> None:
    ports = RtpPorts("127.0.0.1", 0, 0)
    one, two = ports.bind(0), ports.bind(0)
    assert one.getsockname()[1] != two.getsockname()[1]
    ports.release(one, 0)
    ports.release(two, 0)


@pytest.mark.parametrize("first, last", [(4001, 4001), (5000, 4000), (-2, 10), (60000, 70000)])
def test_an_empty_or_impossible_range_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match=str(first)):
        RtpPorts("127.0.0.1", first, last)


def test_a_crowd_of_somebody_else_is_passed_over() -> None:
    """A second server on this machine holds the first ports of the same range, one for each of its calls."""
    first, last = free_range(61)
    theirs, ours = RtpPorts("127.0.0.1", first, last), RtpPorts("127.0.0.1", first, last)
    taken = [theirs.bind(0) for _ in range(60)]
    mine = ours.bind(0)
    assert mine.getsockname()[1] == first + 120
    for sock in (*taken, mine):
        sock.close()
