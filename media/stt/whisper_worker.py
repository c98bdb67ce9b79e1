"""The worker's side of `media.stt.whisper`: several stretches of audio in one pass of the model."""

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a missing file is an error, not a download

from faster_whisper import WhisperModel  # noqa: E402 - reads the environment when imported
from faster_whisper.tokenizer import Tokenizer  # noqa: E402

from media.resample import Resampler  # noqa: E402
from media.workers.wire import pack, unpack  # noqa: E402

RATE = 16000  # Hz
FRAMES = 100  # of features a second
WHOLE = 30 * FRAMES
STEP, LEAST = 2 * FRAMES, 4 * FRAMES  # short windows: a multiple of 2 s, 4 s at least
MOST_TOKENS = 200  # of an answer: 30 s of fast speech


def create(settings: dict[str, Any]) -> "WhisperWorker":
    """Load the model."""
    return WhisperWorker(settings)


class WhisperWorker:
    """Implements media.workers.child.Engine."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._beam, self._full = settings["beam"], settings["window"] == "full"
        self._model = WhisperModel(
            settings["model"],
            device=settings["device"],
            compute_type=settings["compute_type"],
            cpu_threads=settings["threads"] or 0,
        )
        self._recognise([{"language": "en", "hotwords": ""}], [np.zeros(RATE, np.float32)])  # warm

    def answer(self, request: bytes) -> Iterator[bytes]:
        """One answer for each stretch, in their order."""
        header, body = unpack(request)
        audio, at = [], 0
        for item, size in zip(header["items"], header["sizes"], strict=True):
            audio.append(_samples(body[at : at + size], item["rate"]))
            at += size
        answers = [json.dumps(found).encode() for found in self._recognise(header["items"], audio)]
        yield pack({"sizes": [len(answer) for answer in answers]}, b"".join(answers))

    def _recognise(self, items: list[dict[str, Any]], audio: list[np.ndarray]) -> list[dict[str, Any]]:
        """One pass for what has windows and prompts of one length. What others say, or are expected to say,
        changes nothing of how a stretch is understood."""
        tokenizers = [self._tokenizer(item["language"]) for item in items]
        prompts = [
            self._model.get_prompt(tokenizer, [], without_timestamps=True, hotwords=item["hotwords"] or None)
            for tokenizer, item in zip(tokenizers, items, strict=True)
        ]
        features = [self._window(samples) for samples in audio]
        alike: dict[tuple[int, int], list[int]] = {}
        for n, (feature, prompt) in enumerate(zip(features, prompts, strict=True)):
            alike.setdefault((feature.shape[1], len(prompt)), []).append(n)
        found: dict[int, dict[str, Any]] = {}
        for (_, length), numbers in alike.items():
            results = self._model.model.generate(
                self._model.encode(np.stack([features[n] for n in numbers])),
                [prompts[n] for n in numbers],
                beam_size=self._beam,
                max_length=min(self._model.max_length, length + MOST_TOKENS),
                return_no_speech_prob=True,
                return_scores=True,
            )
            told = zip(numbers, results, strict=True)
            found |= {n: self._told(result, tokenizers[n]) for n, result in told}
        return [found[n] for n in range(len(items))]

    def _window(self, samples: np.ndarray) -> np.ndarray:
        """What the model is shown: features, filled up."""
        feature = self._model.feature_extractor(samples)[:, :WHOLE]
        size = WHOLE if self._full else min(WHOLE, max(LEAST, -(-feature.shape[1] // STEP) * STEP))
        return np.pad(feature, ((0, 0), (0, size - feature.shape[1])))

    def _tokenizer(self, language: str) -> Tokenizer:
        multilingual = self._model.model.is_multilingual
        known = (
            language if multilingual and f"<|{language}|>" in self._model.hf_tokenizer.get_vocab() else "en"
        )
        return Tokenizer(self._model.hf_tokenizer, multilingual, task="transcribe", language=known)

    @staticmethod
    def _told(result: Any, tokenizer: Tokenizer) -> dict[str, Any]:
        tokens = result.sequences_ids[0]
        score = result.scores[0] if result.scores else 0.0  # mean log probability, by length
        text = tokenizer.decode([token for token in tokens if token < tokenizer.eot])
        return {"text": text.strip(), "no_speech": result.no_speech_prob, "log_probability": score}


def _samples(pcm: bytes, rate: int) -> np.ndarray:
    """What Whisper wants: 16 kHz, -1 to 1."""
    resampler = Resampler(rate, RATE)
    whole = resampler.process(pcm) + resampler.flush()
    return np.frombuffer(whole, "<i2").astype(np.float32) / 32768
