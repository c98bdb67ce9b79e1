"""The worker's side of `media.tts.piper`: one voice, one thread."""

from collections.abc import Iterator
from typing import Any

import onnxruntime
from piper import PiperVoice, SynthesisConfig

from media.workers.wire import pack, unpack


def create(settings: dict[str, Any]) -> "PiperWorker":
    """Load the voice."""
    return PiperWorker(settings)


class PiperWorker:
    """Implements media.workers.child.Engine."""

    def __init__(self, settings: dict[str, Any]) -> None:
        loaded = PiperVoice.load(settings["model"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a core a worker, not all cores
        session = onnxruntime.InferenceSession(settings["model"], options, providers=["CPUExecutionProvider"])
        self._voice = PiperVoice(session=session, config=loaded.config)
        self._style = SynthesisConfig(
            speaker_id=settings["speaker"],
            length_scale=settings["length_scale"],
            noise_scale=settings["noise_scale"],
            noise_w_scale=settings["noise_w"],
            volume=settings["volume"],
        )
        for _ in self._voice.synthesize("a", self._style):
            pass  # what the first sentence would wait for

    def answer(self, request: bytes) -> Iterator[bytes]:
        """The audio, piece by piece as piper divides the text; `start` and `end` are estimated characters."""
        text = unpack(request)[0]["text"]
        chunks = [chunk.audio_int16_bytes for chunk in self._voice.synthesize(text, self._style)]
        whole, done = max(1, sum(map(len, chunks))), 0
        for pcm in chunks:
            start, done = done, done + len(pcm)
            edges = {"start": start * len(text) // whole, "end": done * len(text) // whole}
            yield pack(edges, pcm)
