"""Makes a streaming transducer of a few KB that the real sherpa-onnx loads: it writes one of its words for
each stretch of loud audio, and nothing in silence.

Encoder: the mean of the features of a chunk, and that of the chunk before (its LSTM-like state). Joiner: a
word where the loudness has just risen, else blank; which word, by how bright the sound is.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WORDS = ("low", "high")
CHUNK = 16  # frames of 10 ms that the encoder takes at a time
SHIFT = 16  # frames that it moves on
FEATURES = 80
LOUD = -14.0  # mean log energy of the features that counts as sound; digital silence has -15.9


def make_transducer(folder: Path) -> Path:
    """Write encoder.onnx, decoder.onnx, joiner.onnx and tokens.txt. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["<blk>", *(f"▁{word}" for word in WORDS), "<unk>"]
    lines = [f"{token} {number}" for number, token in enumerate(tokens)]
    (folder / "tokens.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _save(folder / "encoder.onnx", *_encoder(), meta=_ENCODER_META)
    size = {"context_size": "1", "vocab_size": str(len(tokens))}
    _save(folder / "decoder.onnx", *_decoder(), meta=size)
    _save(folder / "joiner.onnx", *_joiner(len(tokens)), meta={"joiner_dim": "3"})
    return folder


_ENCODER_META = {
    "model_type": "lstm",
    "version": "1",
    "num_encoder_layers": "1",
    "T": str(CHUNK),
    "decode_chunk_len": str(SHIFT),
    "rnn_hidden_size": "1",
    "d_model": "1",
}
Part = tuple[list[Any], list[Any], list[Any], dict[str, np.ndarray]]


def _float(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _encoder() -> Part:
    """out[n, 0] = loudness now, before, brightness. The state h carries the loudness."""
    low, high = np.zeros((FEATURES, 1), np.float32), np.zeros((FEATURES, 1), np.float32)
    low[:30], high[40:] = 1 / 30, 1 / 40
    constants = {
        "mean": np.full((FEATURES, 1), 1 / FEATURES, np.float32),
        "tilt": high - low,
        "one": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["frame"], axes=[1], keepdims=0),  # N x 80
        helper.make_node("MatMul", ["frame", "mean"], ["now"]),  # N x 1
        helper.make_node("MatMul", ["frame", "tilt"], ["bright"]),
        helper.make_node("Squeeze", ["h", "layer"], ["before"]),  # 1 x N x 1 -> N x 1
        helper.make_node("Concat", ["now", "before", "bright"], ["joined"], axis=1),
        helper.make_node("Unsqueeze", ["joined", "one"], ["encoder_out"]),  # N x 1 x 3
        helper.make_node("Unsqueeze", ["now", "layer"], ["new_h"]),
        helper.make_node("Identity", ["c"], ["new_c"]),
    ]
    constants["layer"] = np.array([0], np.int64)
    inputs = [_float("x", "N", CHUNK, FEATURES), _float("h", 1, "N", 1), _float("c", 1, "N", 1)]
    outputs = [_float("encoder_out", "N", 1, 3), _float("new_h", 1, "N", 1), _float("new_c", 1, "N", 1)]
    return nodes, inputs, outputs, constants


def _decoder() -> Part:
    """Nothing depends on what was written before."""
    constants = {"zero": np.zeros((1, 3), np.float32)}
    nodes = [
        helper.make_node("Cast", ["y"], ["written"], to=TensorProto.FLOAT),  # N x 1
        helper.make_node("MatMul", ["written", "zero"], ["decoder_out"]),  # N x 3
    ]
    inputs = [helper.make_tensor_value_info("y", TensorProto.INT64, ["N", 1])]
    return nodes, inputs, [_float("decoder_out", "N", 3)], constants


def _joiner(vocabulary: int) -> Part:
    """Scores: blank 0; a word +8 where it is loud now and was not before, and its brightness fits."""
    pick = np.zeros((3, 2), np.float32)
    pick[0, 0] = pick[1, 1] = 1
    words = np.zeros((1, vocabulary), np.float32)
    words[0, 1], words[0, 2] = -1, 1  # by brightness
    only = np.full((1, vocabulary), -20, np.float32)
    only[0, 0], only[0, 1], only[0, 2] = 0, 8, 8
    constants = {
        "pick": pick,
        "bright": np.array([[0], [0], [1]], np.float32),
        "loud": np.array([[LOUD, LOUD]], np.float32),
        "sign": np.array([[1], [-1]], np.float32),
        "half": np.array([[0.5]], np.float32),
        "words": words,
        "only": only,
        "nothing": np.array([[-40.0 if n else 0.0 for n in range(vocabulary)]], np.float32),
        "full": np.array([[1.0]], np.float32),
        "flatten": np.array([-1, 3], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", ["encoder_out", "flatten"], ["heard"]),
        helper.make_node("MatMul", ["heard", "pick"], ["loudness"]),  # now, before
        helper.make_node("Greater", ["loudness", "loud"], ["sounds"]),
        helper.make_node("Cast", ["sounds"], ["sounding"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["sounding", "sign"], ["rise"]),  # 1: it has just begun
        helper.make_node("Greater", ["rise", "half"], ["begun"]),
        helper.make_node("Cast", ["begun"], ["begins"], to=TensorProto.FLOAT),  # N x 1
        helper.make_node("MatMul", ["heard", "bright"], ["brightness"]),
        helper.make_node("MatMul", ["brightness", "words"], ["choice"]),
        helper.make_node("Add", ["choice", "only"], ["written"]),
        helper.make_node("Mul", ["written", "begins"], ["a"]),
        helper.make_node("Sub", ["full", "begins"], ["rests"]),
        helper.make_node("Mul", ["rests", "nothing"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["logit"]),
    ]
    inputs = [_float("encoder_out", "N", 3), _float("decoder_out", "N", 3)]
    return nodes, inputs, [_float("logit", "N", vocabulary)], constants


def _save(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    constants: dict[str, np.ndarray],
    *,
    meta: dict[str, str],
) -> None:
    fixed = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, fixed)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)])
    made.ir_version = 8
    helper.set_model_props(made, meta)
    onnx.checker.check_model(made)
    onnx.save(made, path)
