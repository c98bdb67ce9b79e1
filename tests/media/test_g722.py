"""G.722: quality of both bands, state of its own for each call and direction."""

import numpy as np
import pytest

from media.codecs import codec

FRAME = 640  # bytes of PCM


def run(pcm: bytes) -> bytes:
    encode, decode = codec("G722").encoder(), codec("G722").decoder()
    frames = [pcm[i : i + FRAME] for i in range(0, len(pcm), FRAME)]
    return b"".join(decode(encode(f)) for f in frames)


@pytest.mark.parametrize("hz, least_db", [(300, 20), (1000, 20), (3000, 18), (6000, 8)])
def test_a_sine_survives(hz: int, least_db: int) -> None:
    sine = (np.sin(np.arange(16000) * 2 * np.pi * hz / 16000) * 8000).astype("<i2")
    out = np.frombuffer(run(sine.tobytes()), "<i2").astype(float)
    # The delay of the filters is not a whole number of periods: fit amplitude and phase.
    t = np.arange(4000, 16000)
    basis = np.stack([np.sin(t * 2 * np.pi * hz / 16000), np.cos(t * 2 * np.pi * hz / 16000)])
    fitted = np.linalg.lstsq(basis.T, out[4000:], rcond=None)[0] @ basis
    ratio = 10 * np.log10((fitted**2).mean() / ((out[4000:] - fitted) ** 2).mean())
    assert ratio > least_db
    assert 0.8 < np.sqrt((fitted**2).mean()) / np.sqrt((sine.astype(float) ** 2).mean()) < 1.2


def test_the_clock_is_8_khz_although_the_audio_has_16() -> None:
    chosen = codec("G722")
    assert (chosen.clock, chosen.rate, chosen.payload_type) == (8000, 16000, 9)
    assert len(chosen.encoder()(bytes(FRAME))) == 160


def test_coders_share_no_state() -> None:
    noise = np.random.default_rng(1).integers(-8000, 8000, 3200).astype("<i2").tobytes()
    one, other = codec("G722").encoder(), codec("G722").encoder()
    first = one(noise)
    one(noise)
    assert other(noise) == first


def test_silence_stays_silent() -> None:
    out = np.frombuffer(run(bytes(16000)), "<i2")
    assert abs(out.astype(int)).max() <= 16
