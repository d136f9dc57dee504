"""Writes a small, valid bundle with random but fixed weights: the real contract without torch.

Its graphs are honest ones: the tokenizer carries a state from block to block, the encoder masks what lies
past `length`, its int8 form quantises dynamically, and the head uses the line, the leg and their counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.bundle.golden import GoldenGraphs, encode_one, make_pair, tokenize_whole
from app.bundle.manifest import (
    GOLDEN_FILE,
    Manifest,
    hash_files,
    sha256_hex,
    write_golden,
    write_manifest,
)
from app.ort import OrtSession, Runtime

CATEGORIES = ("angry", "happy", "neutral", "sad")
SOUNDS: dict[str, Any] = {
    "kinds": [
        {"name": "speech", "role": "speech"},
        {"name": "laughter", "role": "event"},
        {"name": "cough", "role": "event"},
        {"name": "music", "role": "rejected"},
        {"name": "noise", "role": "rejected"},
    ],
    "event_threshold": 0.5,
}
HOP_SAMPLES = 320
BLOCK_SAMPLES = 2560
BANDS = 8
CODEBOOKS = 4
CODEBOOK_SIZE = 16
EMBEDDING_DIM = 16
MIN_TOKENS = 5
MAX_TOKENS = 200
POLE = 0.9

_FLOAT, _INT = TensorProto.FLOAT, TensorProto.INT64


class _Graph:
    """Collects nodes and constants, then writes them as one model."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def const(self, value: object, dtype: npt.DTypeLike = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype=dtype), name))
        return name

    def add(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        output = name or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def model(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> bytes:
        infos = [
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in side.items()]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "tiny", infos[0], infos[1], initializer=self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def write_tiny_bundle(
    path: Path,
    *,
    categories: Sequence[str] = CATEGORIES,
    seed: int = 0,
    speech_threshold: float = 0.0,
    min_confidence: float = 0.0,
    sounds: bool = False,
) -> Path:
    """Writes the bundle into the folder `path` (made if absent) and returns it.

    Same arguments, same bytes. It finds nothing `not_speech` or `uncertain` unless a threshold is raised, and names
    events only with `sounds`.
    """
    rng = np.random.default_rng(seed)
    (path / "heads").mkdir(parents=True, exist_ok=True)
    graphs = {
        "tokenizer.onnx": _tokenizer(rng),
        "encoder.onnx": b"",
        "encoder.int8.onnx": b"",
        "heads/default.onnx": b"",
    }
    graphs["heads/default.onnx"] = _head(rng, len(categories), sounds=sounds)
    weights = _EncoderWeights(rng)
    graphs["encoder.onnx"] = _encoder(weights, int8=False)
    graphs["encoder.int8.onnx"] = _encoder(weights, int8=True)
    for name, data in graphs.items():
        (path / name).write_bytes(data)
    (path / "MODEL_CARD.md").write_text("# tiny\n\nRandom weights: for tests only.\n", encoding="utf-8")
    sessions = {name: Runtime("cpu").session(data) for name, data in graphs.items()}
    # The manifest must exist to make golden pairs, and must hash them: a draft first, with a stand-in hash.
    thresholds: dict[str, Any] = {"speech_threshold": speech_threshold, "min_confidence": min_confidence}
    thresholds |= {"sounds": SOUNDS} if sounds else {}
    draft = _manifest(categories, hash_files(path) | {GOLDEN_FILE: sha256_hex(b"")}, thresholds)
    population = _population(draft, sessions)
    draft = _manifest(categories, dict(draft.files), population | thresholds)
    write_golden(path, [pair for name in ("fp32", "int8") for pair in _pairs(draft, sessions, name, rng)])
    write_manifest(path, draft.model_copy(update={"files": hash_files(path)}))
    return path


def speech_like(seed: int, seconds: float) -> npt.NDArray[np.int16]:
    """Int16 audio at 8 kHz with a gliding voice, syllables and some noise; the same for the same seed."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * 8000)) / 8000.0
    pitch = rng.uniform(90.0, 240.0) * (1.0 + 0.2 * np.sin(2.0 * np.pi * rng.uniform(0.5, 2.0) * t))
    phase = 2.0 * np.pi * np.cumsum(pitch) / 8000.0
    voice = sum(np.sin(h * phase + rng.uniform(0.0, 6.0)) / h for h in range(1, 9))
    syllables = 0.55 + 0.45 * np.sin(2.0 * np.pi * rng.uniform(3.0, 5.0) * t)
    audio = 0.15 * voice * syllables + 0.01 * rng.standard_normal(len(t))
    return np.asarray(np.clip(np.round(audio * 32767.0), -32768, 32767), dtype=np.int16)


def _tokenizer(rng: np.random.Generator) -> bytes:
    """Band energies per hop and their one-pole average (the state), nearest entry of each codebook."""
    g = _Graph()
    time = np.arange(HOP_SAMPLES) / HOP_SAMPLES
    cycles = np.geomspace(6.0, 140.0, BANDS)
    window = np.hanning(HOP_SAMPLES)[:, np.newaxis]
    frames = g.add("Reshape", "audio", g.const([0, -1, HOP_SAMPLES], np.int64))
    parts = []
    for wave in (np.cos, np.sin):
        basis = g.const(window * wave(2.0 * np.pi * np.outer(time, cycles)) / np.sqrt(HOP_SAMPLES))
        parts.append(g.add("MatMul", frames, basis))
    power = g.add("Add", *(g.add("Mul", part, part) for part in parts))
    level = g.add("Log", g.add("Add", power, g.const(1e-6)))
    x = g.add("Mul", g.add("Add", level, g.const(7.0)), g.const(0.3))
    y = _one_pole(g, x)
    last = g.add("Gather", y, g.const(-1, np.int64), axis=1)
    g.add("Identity", last, name="state_out")
    both = g.add("Concat", x, y, axis=2)
    # argmin |p - c|² = argmax 2 p·c - |c|²: one product scores every entry of every codebook.
    entries = rng.normal(0.0, 1.0, (2 * BANDS, CODEBOOKS * CODEBOOK_SIZE))
    scores = g.add(
        "Sub", g.add("MatMul", both, g.const(2.0 * entries)), g.const(np.sum(np.square(entries), axis=0))
    )
    grouped = g.add("Reshape", scores, g.const([0, 0, CODEBOOKS, CODEBOOK_SIZE], np.int64))
    best = g.add("ArgMax", grouped, axis=3, keepdims=0)
    g.add("Transpose", best, name="tokens", perm=[0, 2, 1])
    return g.model(
        {"audio": (_FLOAT, ["B", "N"]), "state": (_FLOAT, ["B", BANDS])},
        {"tokens": (_INT, ["B", CODEBOOKS, "T"]), "state_out": (_FLOAT, ["B", BANDS])},
    )


def _one_pole(g: _Graph, x: str) -> str:
    """y_t = POLE·y_{t-1} + (1-POLE)·x_t over axis 1, from `state`: one product with a triangular matrix."""
    steps = g.add("Gather", g.add("Shape", x), g.const(1, np.int64))
    index = g.add("Range", g.const(0, np.int64), steps, g.const(1, np.int64))
    column = g.add("Unsqueeze", index, g.const([1], np.int64))
    lag = g.add("Cast", g.add("Sub", column, index), to=_FLOAT)
    past = g.add("Cast", g.add("GreaterOrEqual", lag, g.const(0.0)), to=_FLOAT)
    powers = g.add("Pow", g.const(POLE), g.add("Relu", lag))
    matrix = g.add("Mul", g.add("Mul", powers, past), g.const(1.0 - POLE))
    fade = g.add("Pow", g.const(POLE), g.add("Add", g.add("Cast", column, to=_FLOAT), g.const(1.0)))
    carried = g.add("Mul", fade, g.add("Unsqueeze", "state", g.const([1], np.int64)))
    return g.add("Add", g.add("MatMul", matrix, x), carried)


class _EncoderWeights:
    """Drawn once, so that both forms of the encoder are the same model."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.table = rng.normal(0.0, 0.7, (CODEBOOKS * CODEBOOK_SIZE, EMBEDDING_DIM))
        self.query = rng.normal(0.0, 0.5, (EMBEDDING_DIM, 1))
        self.dense = rng.normal(0.0, 0.5, (EMBEDDING_DIM, EMBEDDING_DIM))
        self.bias = rng.normal(0.0, 0.1, EMBEDDING_DIM)


def _encoder(weights: _EncoderWeights, *, int8: bool) -> bytes:
    """Sum of codebook embeddings, mean over the valid tokens, a dense layer; softmax salience."""
    g = _Graph()
    offsets = np.arange(CODEBOOKS)[:, np.newaxis] * CODEBOOK_SIZE
    rows = g.add("Gather", g.const(weights.table), g.add("Add", "tokens", g.const(offsets, np.int64)))
    hidden = g.add("ReduceSum", rows, g.const([1], np.int64), keepdims=0)
    steps = g.add("Gather", g.add("Shape", "tokens"), g.const(2, np.int64))
    index = g.add("Range", g.const(0, np.int64), steps, g.const(1, np.int64))
    length = g.add("Unsqueeze", "length", g.const([1], np.int64))
    valid = g.add("Less", index, length)
    weight = g.add("Unsqueeze", g.add("Cast", valid, to=_FLOAT), g.const([2], np.int64))
    total = g.add("ReduceSum", g.add("Mul", hidden, weight), g.const([1], np.int64), keepdims=0)
    mean = g.add("Div", total, g.add("Cast", length, to=_FLOAT))
    dense = _dense_int8(g, mean, weights.dense) if int8 else g.add("MatMul", mean, g.const(weights.dense))
    g.add("Tanh", g.add("Add", dense, g.const(weights.bias)), name="embedding")
    score = g.add("Squeeze", g.add("MatMul", hidden, g.const(weights.query)), g.const([2], np.int64))
    g.add("Softmax", g.add("Where", valid, score, g.const(-1e9)), name="salience", axis=1)
    return g.model(
        {"tokens": (_INT, ["B", CODEBOOKS, "T"]), "length": (_INT, ["B"])},
        {"embedding": (_FLOAT, ["B", EMBEDDING_DIM]), "salience": (_FLOAT, ["B", "T"])},
    )


def _dense_int8(g: _Graph, x: str, weights: npt.NDArray[np.float64]) -> str:
    """Dynamic quantisation: the scale comes from the largest activation of the whole batch."""
    scale = float(np.abs(weights).max()) / 63.0
    quantised = g.const(np.round(weights / scale), np.int8)
    g.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], ["q", "q_scale", "q_zero"]))
    product = g.add("Cast", g.add("MatMulInteger", "q", quantised, "q_zero"), to=_FLOAT)
    return g.add("Mul", product, g.add("Mul", "q_scale", g.const(scale)))


def _head(rng: np.random.Generator, num_categories: int, *, sounds: bool) -> bytes:
    """The embedding against its line and its leg, the leg and the line weighted by their counts."""
    g = _Graph()
    z = g.add("Div", g.add("Sub", "embedding", "line_mean"), "line_std")
    leg_weight, line_weight = _saturating(g, "leg_n", 8.0), _saturating(g, "line_n", 20.0)
    relative = g.add("Mul", g.add("Sub", "embedding", "leg_mean"), leg_weight)
    x = g.add("Concat", z, relative, line_weight, axis=1)
    width = 2 * EMBEDDING_DIM + 1
    g.add("MatMul", x, g.const(rng.normal(0.0, 0.5, (width, num_categories))), name="logits")
    for name in ("arousal", "valence"):
        value = g.add("Tanh", g.add("MatMul", x, g.const(rng.normal(0.0, 0.1, (width, 1)))))
        g.add("Squeeze", value, g.const([1], np.int64), name=name)
    bounded = g.add("Tanh", g.add("MatMul", x, g.const(rng.normal(0.0, 0.1, (width, 1)))))
    logit = g.add("Add", bounded, g.const(2.0))
    g.add("Squeeze", logit, g.const([1], np.int64), name="speech")
    vectors = dict.fromkeys(("embedding", "line_mean", "line_std"), (_FLOAT, ["B", EMBEDDING_DIM]))
    scalar = (_FLOAT, ["B"])
    heard = {}
    if sounds:
        kinds = len(SOUNDS["kinds"])
        weights = np.random.default_rng(kinds).normal(0.0, 0.5, (EMBEDDING_DIM, kinds))
        g.add("MatMul", "embedding", g.const(weights), name="sound")
        heard = {"sound": (_FLOAT, ["B", kinds])}
    return g.model(
        {**vectors, "line_n": scalar, "leg_mean": (_FLOAT, ["B", EMBEDDING_DIM]), "leg_n": scalar},
        {"logits": (_FLOAT, ["B", num_categories]), "arousal": scalar, "valence": scalar, "speech": scalar}
        | heard,
    )


def _saturating(g: _Graph, count: str, half: float) -> str:
    """A column of n / (n + half)."""
    ratio = g.add("Div", count, g.add("Add", count, g.const(half)))
    return g.add("Unsqueeze", ratio, g.const([1], np.int64))


def _population(manifest: Manifest, sessions: Mapping[str, OrtSession]) -> dict[str, Any]:
    """Mean and variance of the embeddings of a few clips."""
    embeddings = []
    for seed in range(16):
        samples = speech_like(seed, 1.0).astype(np.float32) / np.float32(32768.0)
        tokens = tokenize_whole(sessions["tokenizer.onnx"], manifest.tokenizer, samples)
        embeddings.append(encode_one(sessions["encoder.onnx"], tokens)[0])
    values = np.array(embeddings, dtype=np.float64)
    return {
        "population_mean": np.round(values.mean(axis=0), 6).tolist(),
        "population_var": np.round(values.var(axis=0) + 0.01, 6).tolist(),
    }


def _pairs(
    manifest: Manifest, sessions: Mapping[str, OrtSession], variant: str, rng: np.random.Generator
) -> list[Any]:
    encoder = sessions["encoder.onnx" if variant == "fp32" else "encoder.int8.onnx"]
    graphs = GoldenGraphs(sessions["tokenizer.onnx"], encoder, sessions["heads/default.onnx"])
    noise = np.round(rng.normal(0.0, 2000.0, 4000)).astype(np.int16)
    return [make_pair(manifest, graphs, variant, clip) for clip in (speech_like(7, 0.9), noise)]


def _manifest(categories: Sequence[str], files: dict[str, str], figures: Mapping[str, Any]) -> Manifest:
    return Manifest.model_validate(
        {
            "name": "tiny",
            "version": "0.0.1",
            "tokenizer": {
                "file": "tokenizer.onnx",
                "hop_samples": HOP_SAMPLES,
                "block_samples": BLOCK_SAMPLES,
                "state_size": BANDS,
                "codebook_sizes": [CODEBOOK_SIZE] * CODEBOOKS,
            },
            "encoder": {
                "variants": {"fp32": {"file": "encoder.onnx"}, "int8": {"file": "encoder.int8.onnx"}},
                "default": "int8",
                "embedding_dim": EMBEDDING_DIM,
                "min_tokens": MIN_TOKENS,
                "max_tokens": MAX_TOKENS,
            },
            "heads": {
                "default": {
                    "file": "heads/default.onnx",
                    "categories": list(categories),
                    "calibration": {"kind": "temperature", "temperature": 1.5},
                    "speech_threshold": figures.get("speech_threshold", 0.0),
                    "dimensions": {"source": "random weights"},
                    "sounds": figures.get("sounds"),
                }
            },
            "line_profile": {
                "prior_n": 10.0,
                "population_mean": figures.get("population_mean", [0.0] * EMBEDDING_DIM),
                "population_var": figures.get("population_var", [1.0] * EMBEDDING_DIM),
            },
            "abstain": {
                "min_speech_s": 0.3,
                "min_snr_db": 3.0,
                "min_confidence": figures.get("min_confidence", 0.0),
            },
            "files": files,
            "golden_tolerance": 1e-3,
            "provenance": {"corpora": [], "licences": {}, "commit": None, "config": None, "created": None},
            "metrics": {},
        }
    )
