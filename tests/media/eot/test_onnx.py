"""A model of the user's own, made here: a few hundred bytes that know loud from soft, or a question from
the rest."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tokenizers
from onnx import TensorProto, helper, numpy_helper

from dialog.turn import Transcript
from media.eot.logmel import log_mel
from media.eot.onnx import Config, Input, OnnxModel, create
from media.errors import ProviderError
from media.frames import AudioFormat, AudioFrame
from tests.tools import need_module


def save(
    path: Path, nodes: list[onnx.NodeProto], shape: list[object], kind: int, weights: list[onnx.TensorProto]
) -> str:
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "eot", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return str(path)


def loudness(path: Path, shape: list[object], factor: float) -> str:
    """Logit: mean magnitude times `factor`, less 3."""
    weights = [numpy_helper.from_array(np.array(v, np.float32), n) for v, n in ((factor, "f"), (3.0, "b"))]
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("ReduceMean", ["a"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "f"], ["l"]),
        helper.make_node("Sub", ["l", "b"], ["d"]),
        helper.make_node("Sigmoid", ["d"], ["y"]),
    ]
    return save(path, nodes, shape, TensorProto.FLOAT, weights)


def words(folder: Path) -> Config:
    """The last word's own probability."""
    vocabulary = {"[UNK]": 0, "yes": 1, "please": 2, "and": 3}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = numpy_helper.from_array(np.array([0.5, 0.8, 0.95, 0.02], np.float32), "t")
    node = helper.make_node("Gather", ["t", "x"], ["y"])
    model = save(folder / "text.onnx", [node], [1, "n"], TensorProto.INT64, [table])
    return Config(model, Input.TEXT, tokenizer=str(folder / "tokenizer.json"), template="{text}")


def frames(level: int, ms: int) -> list[AudioFrame]:
    tone = (np.sin(np.arange(8 * ms) / 4) * level).astype(np.int16).tobytes()
    return [AudioFrame(tone[at : at + 320], 8000, at // 2) for at in range(0, len(tone), 320)]


def with_model(config: Config, script: Callable[[OnnxModel], Awaitable[None]]) -> None:
    async def main() -> None:
        model = create(config)
        assert isinstance(model, OnnxModel)
        try:
            await script(model)
        finally:
            await model.close()

    asyncio.run(main())


async def answered(scores: list[float], count: int) -> None:
    async with asyncio.timeout(10):
        while len(scores) < count:  # noqa: ASYNC110 - the thread's answer
            await asyncio.sleep(0.005)


def test_a_model_of_sound_is_asked_in_each_pause(tmp_path: Path) -> None:
    config = Config(loudness(tmp_path / "a.onnx", [1, 16_000], 40.0), Input.AUDIO, window_s=1)

    async def script(model: OnnxModel) -> None:
        scores: list[float] = []
        stream = model.stream(AudioFormat(), scores.append)
        stream.begin()
        for count, level in enumerate((9000, 300), 1):
            for frame in frames(level, 1000):
                stream.push(frame)
            stream.paused()
            await answered(scores, count)
            stream.resumed()
        assert scores[0] > 0.9
        assert scores[1] < 0.1
        stream.close()

    with_model(config, script)


def test_a_model_of_mel_gets_the_shape_of_smart_turn(tmp_path: Path) -> None:
    config = Config(loudness(tmp_path / "m.onnx", [1, 80, 800], 1.0))

    async def script(model: OnnxModel) -> None:
        scores: list[float] = []
        stream = model.stream(AudioFormat(), scores.append)
        for frame in frames(5000, 2000):
            stream.push(frame)
        stream.paused()
        await answered(scores, 1)
        assert 0 < scores[0] < 1

    with_model(config, script)


def test_a_model_of_words_is_asked_again_when_there_are_more(tmp_path: Path) -> None:
    async def script(model: OnnxModel) -> None:
        scores: list[float] = []
        stream = model.stream(AudioFormat(), scores.append)
        stream.begin()
        stream.paused()  # no words yet: nothing to ask
        stream.partial(Transcript("yes and", final=False))
        await answered(scores, 1)
        stream.partial(Transcript("yes please", final=False))
        await answered(scores, 2)
        assert scores == pytest.approx([0.02, 0.95])

    with_model(words(tmp_path), script)


def test_who_speaks_on_is_not_judged(tmp_path: Path) -> None:
    async def script(model: OnnxModel) -> None:
        scores: list[float] = []
        stream = model.stream(AudioFormat(), scores.append)
        stream.partial(Transcript("yes", final=False))
        stream.paused()
        stream.resumed()
        await asyncio.sleep(0.1)
        assert scores == []

    with_model(words(tmp_path), script)


def test_a_model_that_fails_leaves_silence_to_decide(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(model: OnnxModel) -> None:
        scores: list[float] = []
        model._session = None  # type: ignore[assignment]
        stream = model.stream(AudioFormat(), scores.append)
        for _ in range(2):
            stream.partial(Transcript("yes", final=False))
            stream.paused()
            await asyncio.sleep(0.05)
        assert scores == [] and model.failures >= 2

    with_model(words(tmp_path), script)
    assert [record.message for record in caplog.records] == ["end-of-turn model fails; silence alone decides"]


@pytest.mark.parametrize(
    "config, said",
    [
        (lambda folder: Config(), "is no file"),
        (lambda folder: Config(str(folder / "no.onnx")), "no.onnx"),
        (lambda folder: Config(__file__), "cannot be asked by mel"),
        (lambda folder: Config(loudness(folder / "a.onnx", [1, 16_000], 1.0)), "cannot be asked by mel"),
        (lambda folder: Config(loudness(folder / "a.onnx", [1, 9], 1.0), Input.TEXT), "tokenizer"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(
    config: Callable[[Path], Config], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ProviderError, match=said):
        create(config(tmp_path))


@pytest.mark.parametrize("wrong", [{"window_s": 0}, {"max_tokens": 1}, {"template": "no place"}])
def test_a_wrong_setting_is_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)  # type: ignore[arg-type]


def test_the_spectrogram_is_whispers() -> None:
    need_module("faster_whisper", "pip install 'voicegw[whisper]'")
    from faster_whisper.feature_extractor import FeatureExtractor

    extractor = FeatureExtractor(chunk_length=8)
    samples = (np.random.default_rng(0).standard_normal(128_000) * 0.1).astype(np.float32)
    theirs = extractor(samples, padding=0)[:, :800]
    assert np.abs(log_mel(samples) - theirs).max() < 1e-3
