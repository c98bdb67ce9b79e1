"""What lost packets cost the embedded recogniser, in a grammar of 80 phrases: accuracy by loss, with the
concealment that calls have.

    .venv/bin/python -m bench.concealment [--quick]

Recorded prompts (bench/speech.py) as G.711 packets of 20 ms through `media.rtpstream.RtpReceiver`; each
packet is lost at random, alone. Target: at 10 % loss less than 5 points below no loss.
"""

import argparse
import random
import sys

import numpy as np

from bench.speech import Clip, Cost, ears_for, listen, prompts
from dialog.types import Hints
from media.codecs.g711 import PCMU
from media.rtp import ReceptionStats, RtpSource
from media.rtpstream import ReceiveTypes, RtpReceiver

FRAME = 320  # bytes: 20 ms at 8 kHz
TARGET = 5.0  # points
LOSSES = (0.0, 0.05, 0.1, 0.2)
SEEDS = 3  # runs with loss: the figure moves by a point from one to the next


def through(pcm: bytes, loss: float, chance: random.Random) -> bytes:
    """The clip as the bot hears it over a line with this loss."""
    source = RtpSource(1, 0, 0)
    receiver = RtpReceiver(PCMU, ReceiveTypes(frozenset({0})), ReceptionStats())
    encode, out = PCMU.encoder(), []
    pcm += bytes(-len(pcm) % FRAME + 5 * FRAME)  # the buffer's delay comes out too
    for n in range(len(pcm) // FRAME):
        packet = source.packet(0, encode(pcm[n * FRAME : (n + 1) * FRAME]), 160)
        if n < 2 or chance.random() >= loss:
            receiver.datagram(packet, n * 0.02)
        out.append(receiver.frame())
    return b"".join(out)


def accuracy(clips: list[Clip], loss: float, seed: int) -> float:
    """Percent of phrases that were heard right, rejections being wrong."""
    ears = ears_for([Hints(phrases=tuple(dict.fromkeys(clip.text for clip in clips)))])
    chance, right = random.Random(seed), 0
    for clip in clips:
        right += listen(ears, 0, through(clip.pcm, loss, chance), Cost()).text == clip.text
    return 100 * right / len(clips)


def main() -> int:
    """Returns 1 if the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the prompts, one run")
    quick = parser.parse_args().quick
    everything = prompts()
    order = np.random.default_rng(1).permutation(len(everything))[: 20 if quick else 80]
    clips = [everything[i] for i in sorted(order)]
    found = {}
    for loss in LOSSES:
        runs = [accuracy(clips, loss, seed) for seed in range(1 if quick or not loss else SEEDS)]
        found[loss] = sum(runs) / len(runs)
        print(
            f"{loss:4.0%} lost: {found[loss]:5.1f} % right  ({', '.join(f'{r:.1f}' for r in runs)})",
            flush=True,
        )
    drop = found[0.0] - found[0.1]
    print(f"at 10 % loss {drop:.1f} points below no loss; target < {TARGET:g}")
    return int(drop >= TARGET)


if __name__ == "__main__":
    sys.exit(main())
