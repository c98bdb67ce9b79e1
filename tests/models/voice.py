"""Makes a Piper voice of 4 KB: every phoneme is a tone of 64 ms, silence between words.

The real piper loads it and treats it as any other: exact lengths, speakers that differ in pitch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

HOP = 256  # samples a frame
SYMBOLS = 256
SILENT = [0, 1, 2, 3]  # pad, begin, end, space


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def __call__(self, operation: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output


def make_voice(path: Path, rate: int = 16000, speakers: int = 1) -> Path:
    """Write `path` (.onnx) and its .json."""
    graph = _Graph()
    _constants(graph, rate)
    _durations(graph)
    pitch = _tones(graph, speakers)
    graph("CumSum", [pitch, "zero"], "phase")
    graph("Mul", ["phase", "omega"], "angle")
    graph("Mul", [graph("Sin", ["angle"], "sine"), "amplitude_each"], "wave")
    graph("Reshape", ["wave", "shape"], "output")
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", "phonemes"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
    ]
    if speakers > 1:
        inputs.append(helper.make_tensor_value_info("sid", TensorProto.INT64, ["batch"]))
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "time"])
    constants = [numpy_helper.from_array(value, name) for name, value in graph.constants.items()]
    made = helper.make_model(
        helper.make_graph(graph.nodes, "tones", inputs, [output], constants),
        opset_imports=[helper.make_opsetid("", 15)],
    )
    made.ir_version = 8
    onnx.checker.check_model(made)
    onnx.save(made, path)
    Path(f"{path}.json").write_text(json.dumps(_description(rate, speakers)))
    return path


def _constants(graph: _Graph, rate: int) -> None:
    ids = np.arange(SYMBOLS)
    frames = np.full(SYMBOLS, 4, np.float32)
    frames[:3] = 1
    amplitude = np.full(SYMBOLS, 0.5, np.float32)
    amplitude[SILENT] = 0
    graph.constants = {
        "frames_of": frames,
        "pitch_of": (200 + 12.0 * ids).astype(np.float32),
        "amplitude_of": amplitude,
        "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64),
        "axis0": np.array([0], np.int64),
        "axis1": np.array([1], np.int64),
        "all": np.array([-1], np.int64),
        "repeat": np.array([1, HOP], np.int64),
        "second": np.array([1], np.int64),
        "omega": np.array(2 * np.pi / rate, np.float32),
        "shape": np.array([1, 1, 1, -1], np.int64),
        "quarter": np.array(0.25, np.float32),
        "whole": np.array(1, np.float32),
    }


def _durations(graph: _Graph) -> None:
    """`symbol_at`: the symbol of each frame."""
    graph("Reshape", ["input", "all"], "ids")
    graph("Gather", ["scales", "second"], "length_scale")
    graph("Mul", [graph("Gather", ["frames_of", "ids"], "frames_plain"), "length_scale"], "frames_scaled")
    graph("Cast", [graph("Ceil", ["frames_scaled"], "frames_ceil")], "frames", to=TensorProto.INT64)
    graph("CumSum", ["frames", "zero"], "ends")
    graph("Range", ["zero", graph("ReduceSum", ["frames"], "total", keepdims=0), "one"], "frame_numbers")
    graph("Unsqueeze", ["frame_numbers", "axis1"], "rows")
    graph("Unsqueeze", ["ends", "axis0"], "columns")
    graph("Cast", [graph("GreaterOrEqual", ["rows", "columns"], "past")], "past_number", to=TensorProto.INT64)
    graph("Gather", ["ids", graph("ReduceSum", ["past_number", "axis1"], "which", keepdims=0)], "symbol_at")


def _tones(graph: _Graph, speakers: int) -> str:
    """Pitch and amplitude of each sample; a speaker's number shifts his pitch."""
    for name in ("pitch", "amplitude"):
        graph("Gather", [f"{name}_of", "symbol_at"], f"{name}_frame")
        graph("Unsqueeze", [f"{name}_frame", "axis1"], f"{name}_column")
        graph("Tile", [f"{name}_column", "repeat"], f"{name}_tiled")
        graph("Reshape", [f"{name}_tiled", "all"], f"{name}_each")
    if speakers == 1:
        return "pitch_each"
    graph("Cast", ["sid"], "speaker", to=TensorProto.FLOAT)
    graph("Add", [graph("Mul", ["speaker", "quarter"], "shift"), "whole"], "factor")
    return graph("Mul", ["pitch_each", "factor"], "pitch_shifted")


def _description(rate: int, speakers: int) -> dict[str, Any]:
    names = {f"s{number}": number for number in range(speakers)} if speakers > 1 else {}
    return {
        "audio": {"sample_rate": rate, "quality": "x_low"},
        "espeak": {"voice": "en-us"},
        "inference": {"noise_scale": 0.667, "length_scale": 1, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": SYMBOLS,
        "num_speakers": speakers,
        "speaker_id_map": names,
        "hop_length": HOP,
        "piper_version": "1.0.0",
    }
