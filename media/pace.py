"""Makes a jitter buffer's delay shorter or longer without a glitch: sound is left out or put in. A core.

In a pause a whole frame goes or comes, in speech one period of the voice (media/pitch.py). Speech is
touched only when it matters: far too much delay, as after a stall, or too little for the line's jitter.
So the drift of the far end's clock is made up for too: some frame in some pause, every few minutes.
"""

import numpy as np

from media.pitch import crossfade, lengthen, pcm, samples, shorten

QUIET = 160  # mean level of a frame (of 32768, -46 dB) below which it is a pause
# In packets. The measured delay moves by one with the phase of the arrivals: these lie well apart.
SLACK = 1.75  # too deep by this: shorten in a pause
HURRY = 3.0  # too deep by this: shorten in speech too
LACK = 1.25  # too shallow by this: lengthen


def quiet(frame: bytes) -> bool:
    """Whether a frame is a pause between words."""
    return bool(np.abs(np.frombuffer(frame, "<i2").astype(np.int32)).mean() < QUIET)


def shorter(frame: bytes, following: bytes, rate: int) -> tuple[bytes, int]:
    """Both frames in less time: the sound, and how many samples less."""
    before = len(frame) + len(following) >> 1
    if quiet(frame):
        sound = crossfade(samples(frame), samples(following))
    else:
        sound = shorten(samples(frame + following), rate)
    return pcm(sound), before - len(sound)


def longer(frame: bytes, rate: int) -> tuple[bytes, int]:
    """The frame in more time: the sound, and how many samples more."""
    sound = samples(frame)
    if quiet(frame):
        return frame + pcm(crossfade(sound, sound[::-1])), len(sound)
    stretched = lengthen(sound, rate)
    return pcm(stretched), len(stretched) - len(sound)
