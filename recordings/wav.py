"""The WAV container, exactly as recorder and recovery need it: 16-bit PCM behind a header of 44 bytes.

Written here and not by soundfile or `wave`, because both patch the sizes only when the file is closed:
after a crash it would say that it is empty. Here the header can be made for any moment, and the sizes of
a file that was left open follow from its length.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
HEADER_SIZE = _HEADER.size  # 44
MAX_DATA = (0xFFFF_FFFF - HEADER_SIZE) & ~0xF  # bytes; sizes have 32 bits: 37 h of stereo at 8 kHz


@dataclass(frozen=True, slots=True)
class WavInfo:
    """What a header says."""

    rate: int  # Hz
    channels: int
    samples: int  # per channel

    @property
    def duration_ms(self) -> int:
        """Length, rounded down."""
        return self.samples * 1000 // self.rate


def header(info: WavInfo) -> bytes:
    """The header of a file with so many samples."""
    block = 2 * info.channels
    data = info.samples * block
    return _HEADER.pack(
        b"RIFF",
        HEADER_SIZE - 8 + data,
        b"WAVE",
        b"fmt ",
        16,
        1,  # PCM
        info.channels,
        info.rate,
        info.rate * block,
        block,
        16,
        b"data",
        data,
    )


def parse(data: bytes) -> WavInfo:
    """What the first 44 bytes say. Raises ValueError for anything that `header` did not make."""
    if len(data) < HEADER_SIZE:
        raise ValueError(f"{len(data)} bytes are no WAV header")
    riff, _, wave, fmt, _, kind, channels, rate, _, block, bits, tag, size = _HEADER.unpack_from(data)
    if (riff, wave, fmt, tag, kind, bits) != (b"RIFF", b"WAVE", b"fmt ", b"data", 1, 16):
        raise ValueError("not a 16-bit PCM file of ours")
    if not channels or not rate or block != 2 * channels:
        raise ValueError(f"impossible format: {channels} channels, {rate} Hz")
    return WavInfo(rate, channels, size // block)


def repair(path: Path) -> WavInfo:
    """Make header and length agree after a crash: the header follows the length, a torn last sample
    goes. Raises OSError, and ValueError if this is no file of ours."""
    with path.open("r+b") as file:
        said = parse(file.read(HEADER_SIZE))
        block = 2 * said.channels
        samples = (file.seek(0, os.SEEK_END) - HEADER_SIZE) // block
        found = WavInfo(said.rate, said.channels, samples)
        file.truncate(HEADER_SIZE + samples * block)
        file.seek(0)
        file.write(header(found))
    return found
