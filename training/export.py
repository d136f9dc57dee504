"""Stage `export`: torch modules → the bundle: ONNX graphs (fp32, and the encoder in int8), golden pairs, manifest."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from app.bundle.golden import TOKEN_AGREEMENT, GoldenGraphs, make_pair
from app.bundle.manifest import (
    DEFAULT_HEAD,
    GoldenPair,
    Manifest,
    hash_files,
    write_golden,
    write_manifest,
)
from app.ort import Array, Runtime
from models.audio_tokenizer import AudioTokenizer
from models.config import HeadConfig
from models.heads import LineRelativeHead
from models.student import AudioEncoder
from training.calibrate import Calibration
from training.calibrate_gate import holds_shifts
from training.corpora.labels import CATEGORIES
from training.data.legs import Population

OPSET = 17
TOKENIZER, ENCODER, ENCODER_INT8 = "tokenizer.onnx", "encoder.onnx", "encoder.int8.onnx"
HEAD = "heads/default.onnx"
HEAD_INPUTS = ("embedding", "line_mean", "line_std", "line_n", "leg_mean", "leg_n")
HEAD_OUTPUTS = ("logits", "arousal", "valence", "speech", "sound")
DIMENSIONS_SOURCE = (
    "Regressed to a mapping of the categories on the circumplex of Russell (1980), and to the three arousal levels "
    "of BAVED: no clip was rated for valence. Read them as a summary of the posterior, not as a measurement."
)


@dataclass(frozen=True, slots=True)
class ExportConfig:
    """Names and limits of the bundle."""

    name: str = "kowairo-8k"
    version: str = "0.1.0"
    block_tokens: int = 8
    min_tokens: int = 5
    max_tokens: int = 400
    default_variant: str = "int8"
    golden_pairs: int = 2
    golden_tolerance: float = 0.05
    onnx_tolerance: float = 2e-4


class ExportError(RuntimeError):
    """An exported graph does not do what the module does, or the head is not set as calibration chose."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What goes into a bundle."""

    tokenizer: AudioTokenizer
    encoder: AudioEncoder
    head: LineRelativeHead
    population: Population
    calibration: Calibration


def export_graph(
    module: nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    axes: Mapping[str, Mapping[int, str]],
    path: Path,
) -> None:
    """Trace a module to ONNX; `axes` names the dimensions that may vary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # The TorchScript exporter is deprecated upstream; it is the one whose graphs onnxruntime quantises well.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: dict(dims) for name, dims in axes.items()},
            opset_version=OPSET,
            dynamo=False,
        )


def export_graphs(parts: Parts, config: ExportConfig, folder: Path) -> None:
    """Write every graph of the bundle."""
    tokenizer, encoder, head = parts.tokenizer.eval(), parts.encoder.eval(), parts.head.eval()
    audio = torch.randn(1, config.block_tokens * tokenizer.config.hop_samples) * 0.1
    export_graph(
        tokenizer,
        {"audio": audio, "state": tokenizer.initial_state(1)},
        ("tokens", "state_out"),
        {"audio": {0: "batch", 1: "samples"}, "state": {0: "batch"}, "tokens": {0: "batch", 2: "time"},
         "state_out": {0: "batch"}},
        folder / TOKENIZER,
    )  # fmt: skip
    tokens = torch.randint(tokenizer.config.codebook_size, (2, tokenizer.config.codebooks, 40))
    export_graph(
        encoder,
        {"tokens": tokens, "length": torch.tensor([40, 31])},
        ("embedding", "salience"),
        {"tokens": {0: "batch", 2: "time"}, "length": {0: "batch"}, "embedding": {0: "batch"},
         "salience": {0: "batch", 1: "time"}},
        folder / ENCODER,
    )  # fmt: skip
    quantize_encoder(folder / ENCODER, folder / ENCODER_INT8)
    width = encoder.config.embedding_dim
    row, one = torch.zeros(2, width), torch.zeros(2)
    values = (row + 0.1, row, row + 1, one, row, one)
    export_graph(
        head,
        dict(zip(HEAD_INPUTS, values, strict=True)),
        HEAD_OUTPUTS,
        {name: {0: "batch"} for name in (*HEAD_INPUTS, *HEAD_OUTPUTS)},
        folder / HEAD,
    )


def quantize_encoder(source: Path, target: Path) -> None:
    """Dynamic int8 of the linear maps. 7-bit weights: on CPUs without VNNI, 8-bit products saturate."""
    quantize_dynamic(
        source,
        target,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
        reduce_range=True,
    )


def check_graphs(parts: Parts, config: ExportConfig, folder: Path) -> dict[str, float]:
    """Largest differences between torch and onnxruntime, and the share of equal tokens.

    Raises:
        ExportError: encoder (fp32) or head differ by more than the stated tolerance, or over 1 % of tokens do.
    """
    runtime = Runtime("cpu", 1)
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((1, parts.tokenizer.config.hop_samples * config.block_tokens * 3)) * 0.05
    wave = {"audio": audio.astype(np.float32), "state": parts.tokenizer.initial_state(1).numpy()}
    tokens = _torch_outputs(parts.tokenizer, wave)[0]
    codes = {"tokens": tokens, "length": np.array([tokens.shape[2]])}
    embedding = _torch_outputs(parts.encoder, codes)[0]
    rows = rng.standard_normal((3, 8, embedding.shape[1])).astype(np.float32)
    counts = np.full(8, 5, np.float32)
    state = dict(
        zip(HEAD_INPUTS, (rows[0], rows[1], np.abs(rows[2]) + 0.5, counts, rows[2], counts), strict=True)
    )

    def differs(name: str, module: nn.Module, feeds: Mapping[str, Array]) -> float:
        given = runtime.session(folder / name).run(feeds)
        pairs = zip(given, _torch_outputs(module, feeds), strict=True)
        return max(float(np.abs(ours - theirs).max()) for ours, theirs in pairs)

    (onnx_tokens,) = runtime.session(folder / TOKENIZER).run(wave, ("tokens",))
    found = {
        "encoder_max_difference": differs(ENCODER, parts.encoder, codes),
        "head_max_difference": differs(HEAD, parts.head, state),
        "int8_max_difference": differs(ENCODER_INT8, parts.encoder, codes),
        "token_agreement": float((onnx_tokens == tokens).mean()),
    }
    for part in ("encoder", "head"):
        if found[f"{part}_max_difference"] > config.onnx_tolerance:
            difference = found[f"{part}_max_difference"]
            raise ExportError(
                f"{part}: ONNX differs from torch by {difference}, allowed {config.onnx_tolerance}"
            )
    if found["token_agreement"] < TOKEN_AGREEMENT:
        raise ExportError(f"tokenizer: only {found['token_agreement']:.4f} of tokens are torch's")
    return found


@torch.no_grad()
def _torch_outputs(module: nn.Module, feeds: Mapping[str, Array]) -> list[Array]:
    return [value.numpy() for value in module(*(torch.from_numpy(array) for array in feeds.values()))]


def build_manifest(parts: Parts, config: ExportConfig, folder: Path, facts: Mapping[str, Any]) -> Manifest:
    """The manifest of what lies in `folder`; facts: `provenance` and `metrics`."""
    model, population, chosen = parts.tokenizer.config, parts.population, parts.calibration
    return Manifest.model_validate(
        {
            "name": config.name,
            "version": config.version,
            "tokenizer": {
                "file": TOKENIZER,
                "hop_samples": model.hop_samples,
                "block_samples": config.block_tokens * model.hop_samples,
                "state_size": parts.tokenizer.state_size,
                "codebook_sizes": [model.codebook_size] * model.codebooks,
            },
            "encoder": {
                "variants": {"fp32": {"file": ENCODER}, "int8": {"file": ENCODER_INT8}},
                "default": config.default_variant,
                "embedding_dim": parts.encoder.config.embedding_dim,
                "min_tokens": config.min_tokens,
                "max_tokens": config.max_tokens,
            },
            "heads": {
                DEFAULT_HEAD: {
                    "file": HEAD,
                    "categories": list(CATEGORIES),
                    "calibration": {"kind": "temperature", "temperature": chosen.temperature},
                    "speech_threshold": chosen.speech_threshold,
                    "dimensions": {"source": DIMENSIONS_SOURCE},
                    "sounds": sounds_of(parts.head.config, chosen.event_threshold),
                }
            },
            "line_profile": {
                "prior_n": population.prior_n,
                "population_mean": [float(v) for v in population.mean],
                "population_var": [float(v) for v in population.var],
            },
            "abstain": {
                "min_speech_s": chosen.min_speech_s,
                "min_snr_db": chosen.min_snr_db,
                "min_confidence": chosen.min_confidence,
            },
            "files": hash_files(folder),
            "golden_tolerance": config.golden_tolerance,
            "provenance": dict(facts["provenance"]),
            "metrics": dict(facts["metrics"]),
        }
    )


def sounds_of(config: HeadConfig, event_threshold: float) -> dict[str, Any]:
    """The manifest's `sounds`: every kind that the head tells apart, with its role."""
    roles = ["speech"] + ["event"] * len(config.events) + ["rejected"] * len(config.rejected)
    kinds = [{"name": name, "role": role} for name, role in zip(config.sounds, roles, strict=True)]
    return {"kinds": kinds, "event_threshold": event_threshold}


def golden_audio(count: int) -> list[npt.NDArray[np.int16]]:
    """Made, speech-like sounds (nobody's voice): a gliding buzz through two resonances, then hiss; int16 at 8 kHz."""
    clips = []
    for number in range(count):
        rng = np.random.default_rng(number)
        t = np.arange(12_800) / 8_000
        pitch = 2 * np.pi * np.cumsum(110 + 60 * number + 30 * np.sin(2 * np.pi * 0.7 * t)) / 8_000
        buzz = np.sum(
            [np.sin(h * pitch) / h * np.exp(-(((h * 130 - 600) / 900) ** 2)) for h in range(1, 20)], axis=0
        )
        loudness = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * t)
        audio = 0.2 * buzz / np.abs(buzz).max() * loudness + 0.003 * rng.standard_normal(len(t))
        clips.append(np.round(audio * 32767).astype(np.int16))
    return clips


def write_bundle(parts: Parts, config: ExportConfig, folder: Path, facts: Mapping[str, Any]) -> Manifest:
    """Export everything into a fresh folder; the card is added, and the manifest sealed again, by `evaluate`.

    Raises:
        ExportError: see `check_graphs`; or the head's sound shifts are not those that calibration chose.
    """
    if not holds_shifts(parts.head, parts.calibration.sound_shift):
        raise ExportError(
            f"head: expected the sound shifts {parts.calibration.sound_shift}, got {parts.head.sound_shift.tolist()}"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    export_graphs(parts, config, folder)
    differences = check_graphs(parts, config, folder)
    pairs = golden_pairs(parts, config, folder, facts)
    write_golden(folder, pairs)
    metrics = {**facts["metrics"], **differences}
    return write_manifest(folder, build_manifest(parts, config, folder, {**facts, "metrics": metrics}))


def golden_pairs(
    parts: Parts, config: ExportConfig, folder: Path, facts: Mapping[str, Any]
) -> list[GoldenPair]:
    """Pairs for every encoder variant."""
    write_golden(folder, [])
    draft = build_manifest(parts, config, folder, facts)
    runtime = Runtime("cpu", 1)
    tokenizer = runtime.session(folder / TOKENIZER)
    head = runtime.session(folder / HEAD)
    pairs = []
    for variant, spec in draft.encoder.variants.items():
        graphs = GoldenGraphs(tokenizer, runtime.session(folder / spec.file), head)
        pairs += [make_pair(draft, graphs, variant, clip) for clip in golden_audio(config.golden_pairs)]
    return pairs
