"""The end of a turn by a model of yours: ONNX, on what was said or on how it sounded.

    input: mel    log-mel of the last seconds at 16 kHz, as smart-turn 2 and 3 take it
    input: audio  the samples themselves
    input: text   the words so far through the model's tokenizer, as LiveKit's turn detector takes it

The last number that the model gives is its probability that the caller has finished (a logit, where it is
beyond 0 to 1). One thread asks for all calls, some 40 ms a question; whoever speaks on meanwhile is not
judged."""

import asyncio
import importlib.util
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from dialog.turn import Transcript
from dialog.types import Hints
from media.eot.base import EndOfTurn, Post
from media.eot.logmel import RATE, log_mel
from media.errors import MissingExtra, ProviderError
from media.frames import AudioFormat, AudioFrame

log = logging.getLogger(__name__)

BACKLOG = 32  # questions that may wait: beyond, they would be answered too late anyhow


class Input(StrEnum):
    """What the model looks at."""

    MEL = "mel"
    AUDIO = "audio"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Config:
    """Which model, and how it is asked."""

    model: str = ""
    """Path of the .onnx file."""
    input: Input = Input.MEL
    """mel, audio or text."""
    window_s: float = 8.0
    """Seconds of audio that the model wants, 1 to 30; shorter speech is padded at its front."""
    tokenizer: str = ""
    """Path of tokenizer.json, for text."""
    template: str = "<|im_start|>user\\n{text}"
    """How the words are put to a text model. No end mark: whether it comes next is the question."""
    max_tokens: int = 128
    """The last tokens of the words count, 8 to 2048."""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if not 1 <= self.window_s <= 30:
            raise ValueError(f"window_s must be 1 to 30, not {self.window_s}")
        if not 8 <= self.max_tokens <= 2048:
            raise ValueError(f"max_tokens must be 8 to 2048, not {self.max_tokens}")
        if "{text}" not in self.template:
            raise ValueError("template must hold {text}")


class OnnxModel:
    """Implements EndOfTurn."""

    def __init__(self, config: Config, session: Any, tokenizer: Any) -> None:
        self._config, self._session, self._tokenizer = config, session, tokenizer
        self._name = session.get_inputs()[0].name
        self._pool = ThreadPoolExecutor(1, "eot")
        self._waiting = 0
        self.failures = 0

    def stream(self, format: AudioFormat, post: Post) -> "OnnxStream":
        return OnnxStream(self, format, self._config.window_s, post)

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def on_text(self) -> bool:
        """Whether it looks at words."""
        return self._config.input is Input.TEXT

    def ask(self, pcm: bytes, rate: int, text: str, answered: Callable[[float], None]) -> None:
        """Ask in the thread; `answered` runs on the loop, unless the model fails."""
        if self._waiting >= BACKLOG:
            return
        self._waiting += 1

        def done(future: "asyncio.Future[float]") -> None:
            self._waiting -= 1
            if future.cancelled():
                return
            if (error := future.exception()) is None:
                answered(future.result())
                return
            self.failures += 1
            if self.failures == 1:
                log.error("end-of-turn model fails; silence alone decides", extra={"problem": repr(error)})

        asyncio.get_running_loop().run_in_executor(self._pool, self.score, pcm, rate, text).add_done_callback(
            done
        )

    def score(self, pcm: bytes, rate: int, text: str) -> float:
        """0 for "goes on" to 1 for "has finished". Blocks."""
        inputs = self._words(text) if self.on_text else self._sound(pcm, rate)
        value = float(np.ravel(self._session.run(None, {self._name: inputs})[0])[-1])
        return value if 0 <= value <= 1 else float(1 / (1 + np.exp(-np.clip(value, -60, 60))))

    def _words(self, text: str) -> Any:
        ids = self._tokenizer.encode(self._config.template.format(text=text), add_special_tokens=False).ids
        return np.array([ids[-self._config.max_tokens :]], np.int64)

    def _sound(self, pcm: bytes, rate: int) -> Any:
        samples = np.frombuffer(pcm, np.int16).astype(np.float32) / 32768
        wide = samples if rate == RATE else soxr.resample(samples, rate, RATE)
        size = round(self._config.window_s * RATE)
        window = np.zeros(size, np.float32)
        wide = wide[-size:]
        window[size - len(wide) :] = wide
        if self._config.input is Input.AUDIO:
            return window[None]
        window = (window - window.mean()) / np.sqrt(window.var() + 1e-7)
        return log_mel(window)[None]


class OnnxStream:
    """Implements EndOfTurnStream."""

    def __init__(self, model: OnnxModel, format: AudioFormat, window_s: float, post: Post) -> None:
        self._model, self._rate, self._post = model, format.rate, post
        self._audio: deque[bytes] = deque(maxlen=round(window_s * 1000) // format.ptime_ms)
        self._text = ""
        self._pause = 0  # number of the pause that is judged
        self._silent = False

    def expect(self, hints: Hints, language: str) -> None:
        """The model knows no grammar."""

    def push(self, frame: AudioFrame) -> None:
        self._audio.append(frame.pcm)

    def begin(self) -> None:
        self._text, self._silent = "", False
        self._pause += 1

    def partial(self, partial: Transcript) -> None:
        self._text = partial.text
        if self._silent and self._model.on_text:
            self._ask()

    def paused(self) -> None:
        self._silent = True
        self._ask()

    def resumed(self) -> None:
        self._silent = False
        self._pause += 1

    def close(self) -> None:
        self.resumed()
        self._audio.clear()

    def _ask(self) -> None:
        if self._model.on_text and not self._text:
            return
        pause = self._pause

        def answered(score: float) -> None:
            if pause == self._pause:
                self._post(score)

        pcm = b"" if self._model.on_text else b"".join(self._audio)
        self._model.ask(pcm, self._rate, self._text, answered)


def create(config: Config) -> EndOfTurn:
    """Load the model and ask it once. Raises ProviderError: no such file, or not such a model."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingExtra("eot", "onnxruntime")
    if not config.model or not Path(config.model).is_file():
        raise ProviderError(f"onnx: model {config.model!r} is no file")
    tokenizer = _tokenizer(config) if config.input is Input.TEXT else None
    import onnxruntime  # noqa: PLC0415 - optional, and half a second to import

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # the audio of all calls needs the cores
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(config.model, options, providers=["CPUExecutionProvider"])
        model = OnnxModel(config, session, tokenizer)
        model.score(bytes(3200), 8000, "yes")
    except _errors() as error:
        what = f"{config.model} cannot be asked by {config.input.value}"
        raise ProviderError(f"onnx: {what}: {str(error).splitlines()[0]}") from error
    return model


def _errors() -> tuple[type[Exception], ...]:
    """What a wrong model raises; onnxruntime's own errors have no common root."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415 - optional

    found = (getattr(state, name) for name in ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf"))
    return (RuntimeError, ValueError, *found, state.NotImplemented, state.RuntimeException)


def _tokenizer(config: Config) -> Any:
    if importlib.util.find_spec("tokenizers") is None:
        raise MissingExtra("eot", "tokenizers")
    if not Path(config.tokenizer).is_file():
        raise ProviderError(f"onnx: a model of text needs its tokenizer; {config.tokenizer!r} is no file")
    from tokenizers import Tokenizer  # noqa: PLC0415 - optional

    return Tokenizer.from_file(config.tokenizer)
