"""How often speech is taken for a key: all recorded prompts of Debian's asterisk-core-sounds-en-wav and
sentences by flite, over G.711, through the in-band detector.

    .venv/bin/python -m bench.talkoff        target: less than one false key in 10 minutes
"""

import sys
import time
import wave

import numpy as np

from bench.speech import SOUNDS
from media.codecs.g711 import PCMU
from media.inband import InbandKeys
from tests.callers import VOICES, caller, over_the_line
from tests.media.stt.intents import SENTENCES

FRAME = 320  # bytes: 20 ms at 8 kHz
TARGET_S = 600.0  # of speech for one false key, at least


def keys_in(pcm: bytes) -> str:
    """False keys."""
    encode, decode, keys = PCMU.encoder(), PCMU.decoder(), InbandKeys(8000)
    frames = (pcm[at : at + FRAME] for at in range(0, len(pcm) - FRAME + 1, FRAME))
    return "".join(keys.frame(decode(encode(frame))) for frame in frames)


def main() -> int:
    """Returns 1 if the target was missed."""
    clips = []
    for path in sorted(SOUNDS.rglob("*.wav")):
        with wave.open(str(path)) as wav:
            samples = np.frombuffer(wav.readframes(wav.getnframes()), np.int16).astype(np.float32)
            if len(samples):
                clips.append((path.stem, over_the_line(samples, wav.getframerate())))
    clips += [(text, caller(text, voice)) for voice in VOICES for _, text in SENTENCES]
    found, start = [], time.process_time()
    for name, pcm in clips:
        if keys := keys_in(pcm):
            found.append(f"{name}: {keys}")
    used, seconds = time.process_time() - start, sum(len(pcm) for _, pcm in clips) / 16000
    for line in found:
        print(line)
    print(
        f"{seconds / 60:.1f} minutes of speech in {len(clips)} clips: {len(found)} with false keys; "
        f"{used / seconds / 50 * 1e6:.0f} us a frame with G.711 both ways"
    )
    return int(len(found) > seconds / TARGET_S)


if __name__ == "__main__":
    sys.exit(main())
