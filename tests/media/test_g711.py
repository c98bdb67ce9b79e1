"""G.711 against the values of ITU-T G.711 and against its own promise of quality."""

import numpy as np
import pytest

from media.codecs import codec, names

# ITU-T G.711, tables 2a and 1a: character signal -> decoder output, scaled to 16 bits (mu: x4, A: x8).
ULAW = [(0x80, 32124), (0x8F, 16764), (0x9F, 8316), (0xAF, 4092), (0xBF, 1980), (0xCF, 924), (0xDF, 396)]
ULAW += [(0xEF, 132), (0xFE, 8), (0xFF, 0), (0x00, -32124), (0x7F, 0), (0x7E, -8), (0x6F, -132)]
ALAW = [(0xAA, 32256), (0xA5, 16896), (0xB5, 8448), (0x85, 4224), (0x95, 2112), (0xE5, 1056), (0xF5, 528)]
ALAW += [(0xD5, 8), (0x2A, -32256), (0x55, -8)]


@pytest.mark.parametrize("byte, sample", ULAW)
def test_mu_law_decodes_as_the_standard_says(byte: int, sample: int) -> None:
    assert int.from_bytes(codec("PCMU").decoder()(bytes([byte])), "little", signed=True) == sample


@pytest.mark.parametrize("byte, sample", ALAW)
def test_a_law_decodes_as_the_standard_says(byte: int, sample: int) -> None:
    assert int.from_bytes(codec("PCMA").decoder()(bytes([byte])), "little", signed=True) == sample


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_every_code_but_negative_zero_survives_a_round_trip(name: str) -> None:
    chosen = codec(name)
    codes = bytes(b for b in range(256) if (name, b) != ("PCMU", 0x7F))
    assert chosen.encoder()(chosen.decoder()(codes)) == codes


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_every_sample_is_coded_as_the_nearest_level(name: str) -> None:
    chosen = codec(name)
    samples = np.arange(-32768, 32768)
    levels = np.sort(np.frombuffer(chosen.decoder()(bytes(range(256))), "<i2").astype(int))
    coded = np.frombuffer(chosen.decoder()(chosen.encoder()(samples.astype("<i2").tobytes())), "<i2")
    place = np.clip(np.searchsorted(levels, samples), 1, 255)
    best = np.minimum(abs(levels[place] - samples), abs(levels[place - 1] - samples))
    assert (abs(coded.astype(int) - samples) == best).all()


@pytest.mark.parametrize("name, silence", [("PCMU", b"\xff"), ("PCMA", b"\xd5")])
def test_silence_has_its_usual_byte(name: str, silence: bytes) -> None:
    assert codec(name).encoder()(bytes(320)) == silence * 160


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
@pytest.mark.parametrize("level_db", [-3, -20, -35])
def test_a_sine_keeps_the_signal_to_noise_ratio_of_g712(name: str, level_db: int) -> None:
    chosen = codec(name)
    sine = np.sin(np.arange(8000) * 2 * np.pi * 1020 / 8000) * 32767 * 10 ** (level_db / 20)
    out = np.frombuffer(chosen.decoder()(chosen.encoder()(sine.astype("<i2").tobytes())), "<i2")
    ratio = 10 * np.log10((sine**2).mean() / ((out - sine) ** 2).mean())
    assert ratio > 33  # ITU-T G.712, figure 13: 33 dB from -30 dBm0 up


@pytest.mark.parametrize("name", ["L16", "L16/16000"])
def test_l16_is_big_endian_on_the_wire_and_lossless(name: str) -> None:
    chosen = codec(name)
    assert chosen.encoder()(b"\x01\x02\xff\x7f") == b"\x02\x01\x7f\xff"
    assert chosen.decoder()(b"\x02\x01\x7f\xff\x00") == b"\x01\x02\xff\x7f"  # half a sample is cut
    assert chosen.payload_type is None


@pytest.mark.parametrize("name", sorted(set(names()) - {"OPUS"}))  # its packets vary in size
def test_a_codec_says_the_truth_about_its_sizes(name: str) -> None:
    chosen = codec(name.lower())
    frame = bytes(2 * chosen.rate // 50)
    payload = chosen.encoder()(frame)
    assert len(payload) == chosen.octets * chosen.clock // 50
    assert len(chosen.decoder()(payload)) == len(frame)


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(KeyError, match="speex"):
        codec("speex")
