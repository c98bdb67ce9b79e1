"""What it costs when people hear each other: a room of so many legs, each of whom talks all the time.

    .venv/bin/python -m bench.mixing

Prints the CPU for one leg in one packet time: its frame put in, the sum of the others' taken out.
"""

import time

import numpy as np

from media.room import Room

ROUNDS = 2000


def cost_us(legs: int, rate: int) -> float:
    """Microseconds of CPU a leg and packet time; the room is at 8 kHz, the legs at `rate`."""
    room = Room(8000)
    members = [room.join(str(n), rate) for n in range(legs)]
    frame = np.random.default_rng(1).integers(-9000, 9000, rate // 50, dtype=np.int16).tobytes()
    start = time.process_time()
    for _ in range(ROUNDS):
        for member in members:
            member.put(frame)
        for member in members:
            member.take()
    return (time.process_time() - start) / ROUNDS / legs * 1e6


def main() -> None:
    for legs, rate in ((2, 8000), (10, 8000), (20, 8000), (2, 16000)):
        print(f"{legs:3} legs at {rate} Hz: {cost_us(legs, rate):5.1f} us a leg and packet time")


if __name__ == "__main__":
    main()
