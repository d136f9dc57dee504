"""Golden pairs: what the graphs gave where the bundle was made, run again before they are trusted here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.bundle.manifest import (
    DEFAULT_HEAD,
    BundleError,
    GoldenPair,
    HeadSpec,
    Manifest,
    TokenizerSpec,
    sha256_hex,
)
from app.domain import FloatArray, TokenArray
from app.ort import Array, GraphSession

TOKEN_AGREEMENT = 0.95
"""Share of equal tokens still taken as the same. Another CPU may tip a near-tie, and a code tipped in an early residual
codebook tips the later ones of its moment too."""


@dataclass(frozen=True, slots=True)
class GoldenGraphs:
    """The three graphs that a golden pair runs through."""

    tokenizer: GraphSession
    encoder: GraphSession
    head: GraphSession


def tokenize_block(
    session: GraphSession, block: FloatArray, state: FloatArray
) -> tuple[TokenArray, FloatArray]:
    """One run of the tokenizer graph: block [block_samples], state [S] → (tokens [K, T], state [S])."""
    tokens, state_out = session.run(
        {"audio": block[np.newaxis], "state": state[np.newaxis]}, ("tokens", "state_out")
    )
    return tokens[0], state_out[0]


def tokenize_whole(session: GraphSession, spec: TokenizerSpec, samples: FloatArray) -> TokenArray:
    """Tokens [K, floor(n / hop)] of a clip from a silent state, in the fixed blocks that the server uses."""
    state = np.zeros(spec.state_size, dtype=np.float32)
    pieces = [np.zeros((spec.num_codebooks, 0), dtype=np.int64)]
    for start in range(0, len(samples), spec.block_samples):
        block = np.zeros(spec.block_samples, dtype=np.float32)
        part = samples[start : start + spec.block_samples]
        block[: len(part)] = part
        tokens, state = tokenize_block(session, block, state)
        pieces.append(tokens)
    return np.concatenate(pieces, axis=1)[:, : len(samples) // spec.hop_samples]


def encode_one(session: GraphSession, tokens: TokenArray) -> tuple[FloatArray, FloatArray]:
    """One run of the encoder graph: tokens [K, T] → (embedding [D], salience [T])."""
    length = np.array([tokens.shape[1]], dtype=np.int64)
    embedding, salience = session.run(
        {"tokens": tokens[np.newaxis], "length": length}, ("embedding", "salience")
    )
    return embedding[0], salience[0]


def head_feeds(
    embedding: FloatArray, line: tuple[FloatArray, FloatArray, float], leg: tuple[FloatArray, float]
) -> dict[str, Array]:
    """Inputs of a head graph for one utterance; line is (mean [D], std [D], n), leg is (mean [D], n)."""
    return {
        "embedding": embedding[np.newaxis],
        "line_mean": line[0][np.newaxis],
        "line_std": line[1][np.newaxis],
        "line_n": np.array([line[2]], dtype=np.float32),
        "leg_mean": leg[0][np.newaxis],
        "leg_n": np.array([leg[1]], dtype=np.float32),
    }


def head_outputs(spec: HeadSpec) -> tuple[str, ...]:
    """Names of a head graph's outputs that the service reads."""
    names = ("logits", "arousal", "valence", "speech")
    return names if spec.sounds is None else (*names, "sound")


def cold_line(manifest: Manifest) -> tuple[FloatArray, FloatArray, float]:
    """What a head sees of a line that has heard nothing: the population."""
    spec = manifest.line_profile
    mean = np.asarray(spec.population_mean, dtype=np.float64).astype(np.float32)
    return mean, np.sqrt(np.asarray(spec.population_var, dtype=np.float64)).astype(np.float32), 0.0


def make_pair(
    manifest: Manifest, graphs: GoldenGraphs, variant: str, samples_i16: npt.NDArray[np.int16]
) -> GoldenPair:
    """Runs a clip (int16 at 8 kHz) and writes down what came out; the exporter makes its pairs with this.

    Make some for every encoder variant: the loader refuses a bundle that leaves one out. A clip makes at
    least one token and at most max_tokens.
    """
    tokens = _tokenize(manifest, graphs, samples_i16)
    fields = {name: array.tolist() for name, array in _run_tokens(manifest, graphs, tokens).items()}
    return GoldenPair.model_validate(
        {
            "variant": variant,
            "samples_i16_b64": base64.b64encode(samples_i16.astype("<i2").tobytes()).decode("ascii"),
            "tokens_sha256": tokens_sha256(tokens),
            "tokens": tokens.tolist(),
            **fields,
        }
    )


def check_pair(manifest: Manifest, graphs: GoldenGraphs, pair: GoldenPair, name: str) -> None:
    """Runs one pair again.

    Raises:
        BundleError: naming the pair, the tensor, what was expected, what was got and the tolerance.
    """
    golden_tokens = _golden_tokens(pair, manifest, name)
    tokens = _tokenize(manifest, graphs, _samples(pair, name))
    _check_tokens(tokens, golden_tokens, pair.tokens_sha256, manifest.tokenizer.codebook_sizes, name)
    # On the golden tokens: a tipped one, accepted above, would rightly move the rest.
    for tensor, value in _run_tokens(manifest, graphs, golden_tokens).items():
        _check_close(value, getattr(pair, tensor), manifest.golden_tolerance, f"{name}: {tensor}")


def tokens_sha256(tokens: TokenArray) -> str:
    """Hash of tokens [K, T] as int64 little-endian bytes, C order."""
    return sha256_hex(np.ascontiguousarray(tokens, dtype="<i8").tobytes())


def _tokenize(manifest: Manifest, graphs: GoldenGraphs, samples_i16: npt.NDArray[np.int16]) -> TokenArray:
    samples = samples_i16.astype(np.float32) / np.float32(32768.0)
    return tokenize_whole(graphs.tokenizer, manifest.tokenizer, samples)


def _run_tokens(manifest: Manifest, graphs: GoldenGraphs, tokens: TokenArray) -> dict[str, FloatArray]:
    embedding, salience = encode_one(graphs.encoder, tokens)
    _check_shape(embedding, (manifest.encoder.embedding_dim,), "embedding")
    _check_shape(salience, (tokens.shape[1],), "salience")
    leg = (np.zeros_like(embedding), 0.0)
    spec = manifest.heads[DEFAULT_HEAD]
    names = head_outputs(spec)
    outputs = graphs.head.run(head_feeds(embedding, cold_line(manifest), leg), names)
    values = {"embedding": embedding} | {key: value[0] for key, value in zip(names, outputs, strict=True)}
    _check_shape(values["logits"], (len(spec.categories),), "logits")
    for scalar in ("arousal", "valence", "speech"):
        _check_shape(values[scalar], (), scalar)
    if spec.sounds is not None:
        _check_shape(values["sound"], (len(spec.sounds.kinds),), "sound")
    return values


def _check_shape(value: FloatArray, expected: tuple[int, ...], tensor: str) -> None:
    if value.shape != expected:
        raise BundleError(f"graph: output {tensor}: expected shape {expected} a row, got {value.shape}")


def _samples(pair: GoldenPair, name: str) -> npt.NDArray[np.int16]:
    try:
        data = base64.b64decode(pair.samples_i16_b64, validate=True)
    except binascii.Error as error:
        raise BundleError(f"{name}: samples_i16_b64 is not base64: {error}") from error
    if len(data) % 2:
        raise BundleError(f"{name}: expected whole 16-bit samples, got {len(data)} bytes")
    return np.frombuffer(data, dtype="<i2").astype(np.int16)


def _golden_tokens(pair: GoldenPair, manifest: Manifest, name: str) -> TokenArray:
    rows, longest = manifest.tokenizer.num_codebooks, manifest.encoder.max_tokens
    lengths = {len(row) for row in pair.tokens}
    if len(pair.tokens) != rows or len(lengths) != 1 or not 0 < max(lengths) <= longest:
        raise BundleError(
            f"{name}: expected tokens of {rows} rows of one length in 1..{longest}, "
            f"got {len(pair.tokens)} rows of {sorted(lengths)}"
        )
    tokens = np.array(pair.tokens, dtype=np.int64)
    got = tokens_sha256(tokens)
    if got != pair.tokens_sha256:
        raise BundleError(f"{name}: tokens_sha256: expected {pair.tokens_sha256}, got {got}")
    return tokens


def _check_tokens(
    got: TokenArray, expected: TokenArray, digest: str, codebook_sizes: Sequence[int], name: str
) -> None:
    if tokens_sha256(got) == digest:
        return
    if got.shape != expected.shape:
        raise BundleError(f"{name}: tokens: expected shape {expected.shape}, got {got.shape}")
    sizes = np.asarray(codebook_sizes)[:, np.newaxis]
    if np.any(got < 0) or np.any(got >= sizes):
        raise BundleError(f"{name}: tokens: expected ids below {list(codebook_sizes)}, got {int(got.max())}")
    share = float(np.mean(got == expected))
    if share < TOKEN_AGREEMENT:
        raise BundleError(f"{name}: tokens: expected {TOKEN_AGREEMENT:.0%} or more equal, got {share:.2%}")


def _check_close(got: FloatArray, expected: object, tolerance: float, where: str) -> None:
    if expected is None:
        raise BundleError(f"{where}: expected numbers, got none in the pair")
    wanted = np.asarray(expected, dtype=np.float64)
    if wanted.shape != got.shape:
        raise BundleError(f"{where}: expected shape {wanted.shape}, got {got.shape}")
    off = np.abs(got.astype(np.float64) - wanted)
    if not np.all(off <= tolerance):  # a NaN is not within any tolerance
        worst = int(np.argmax(np.nan_to_num(off, nan=np.inf)))
        raise BundleError(
            f"{where}: expected {wanted.flat[worst]:.6g}, got {got.flat[worst]:.6g}, tolerance {tolerance:g}"
        )


def uncovered_variants(manifest: Manifest, pairs: Sequence[GoldenPair]) -> Mapping[str, str]:
    """Encoder variants that no golden pair proves, with their files."""
    covered = {pair.variant for pair in pairs}
    return {name: spec.file for name, spec in manifest.encoder.variants.items() if name not in covered}
