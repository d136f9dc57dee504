"""Golden pairs: what is accepted as the same, and how a difference is named."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.bundle.golden import (
    GoldenGraphs,
    check_pair,
    cold_line,
    make_pair,
    tokenize_whole,
    tokens_sha256,
    uncovered_variants,
)
from app.bundle.loader import LoadedBundle, load_bundle
from app.bundle.manifest import BundleError, GoldenPair
from app.inference.line_profile import LineProfile
from app.ort import Array, GraphSession, Runtime
from tests.support.tiny_bundle import speech_like


class Twisted:
    """A graph whose outputs are changed on their way out."""

    def __init__(self, session: GraphSession, output: str, twist: Any) -> None:
        self._session, self._output, self._twist = session, output, twist

    def run(self, feeds: Mapping[str, Array], names: Sequence[str] | None = None) -> tuple[Array, ...]:
        """The graph's outputs, the one named changed."""
        assert names is not None
        values = self._session.run(feeds, names)
        return tuple(
            self._twist(value) if name == self._output else value
            for name, value in zip(names, values, strict=True)
        )


@pytest.fixture(scope="module")
def bundle(valid_bundle: Path) -> LoadedBundle:
    """The valid bundle, open."""
    return load_bundle(valid_bundle, Runtime("cpu"))


@pytest.fixture(scope="module")
def graphs(bundle: LoadedBundle) -> GoldenGraphs:
    """Its graphs."""
    return GoldenGraphs(bundle.tokenizer, bundle.encoder, bundle.heads["default"])


@pytest.fixture(scope="module")
def pair(bundle: LoadedBundle, graphs: GoldenGraphs) -> GoldenPair:
    """A pair of 100 tokens, made with them."""
    return make_pair(bundle.manifest, graphs, "int8", speech_like(3, 4.0))


def _twist_tokens(graphs: GoldenGraphs, twist: Any) -> GoldenGraphs:
    return GoldenGraphs(Twisted(graphs.tokenizer, "tokens", twist), graphs.encoder, graphs.head)


def test_a_pair_passes_where_it_was_made(
    bundle: LoadedBundle, graphs: GoldenGraphs, pair: GoldenPair
) -> None:
    """The machine that made a pair accepts it, even at no tolerance worth the name."""
    strict = bundle.manifest.model_copy(update={"golden_tolerance": 1e-12})
    check_pair(strict, graphs, pair, "golden pair 0")


def test_a_cold_line_is_the_population(bundle: LoadedBundle) -> None:
    """Golden pairs and the serving path see the same cold line, to the bit."""
    spec = bundle.manifest.line_profile
    mean, std = LineProfile.empty(16).shrunk(spec.population_mean, spec.population_var, spec.prior_n)
    cold = cold_line(bundle.manifest)
    assert np.array_equal(cold[0], mean)
    assert np.array_equal(cold[1], std)


def test_no_audio_gives_no_tokens(bundle: LoadedBundle) -> None:
    """An empty clip has K rows of no tokens."""
    tokens = tokenize_whole(bundle.tokenizer, bundle.manifest.tokenizer, np.zeros(0, np.float32))
    assert tokens.shape == (4, 0)


def test_a_few_tipped_tokens_are_accepted(
    bundle: LoadedBundle, graphs: GoldenGraphs, pair: GoldenPair
) -> None:
    """Under one token in a hundred may differ; the rest is then judged on the golden tokens."""

    def tip_one(tokens: Array) -> Array:
        changed = tokens.copy()
        if changed[0, 0, 0] == pair.tokens[0][0] and changed[0, 1, 0] == pair.tokens[1][0]:
            changed[0, 0, 0] ^= 1
        return changed

    check_pair(bundle.manifest, _twist_tokens(graphs, tip_one), pair, "golden pair 0")


def test_too_many_tipped_tokens_are_refused(
    bundle: LoadedBundle, graphs: GoldenGraphs, pair: GoldenPair
) -> None:
    """More than one token in twenty differing names the share."""

    def tip_each_first(tokens: Array) -> Array:
        changed = tokens.copy()
        changed[:, :, 0] ^= 1
        return changed

    with pytest.raises(BundleError, match=r"golden pair 0: tokens: expected 95% or more equal, got 8\d"):
        check_pair(bundle.manifest, _twist_tokens(graphs, tip_each_first), pair, "golden pair 0")


def test_tokens_past_the_codebook_are_refused(
    bundle: LoadedBundle, graphs: GoldenGraphs, pair: GoldenPair
) -> None:
    """An id that no codebook has is refused, however few there are."""
    with pytest.raises(BundleError, match="tokens: expected ids below"):
        check_pair(bundle.manifest, _twist_tokens(graphs, lambda t: t + 16), pair, "golden pair 0")


@pytest.mark.parametrize("output", ["logits", "arousal", "valence", "speech"])
@pytest.mark.parametrize("offset", [0.01, np.nan, np.inf])
def test_a_number_off_is_named(
    bundle: LoadedBundle, graphs: GoldenGraphs, pair: GoldenPair, output: str, offset: float
) -> None:
    """An output off by more than the tolerance is named with expected, got and tolerance; NaN is off."""
    head = Twisted(graphs.head, output, lambda value: (value + offset).astype(np.float32))
    twisted = GoldenGraphs(graphs.tokenizer, graphs.encoder, head)
    with pytest.raises(BundleError, match=rf"pair 0: {output}: expected .*, got .*, tolerance 0\.001"):
        check_pair(bundle.manifest, twisted, pair, "golden pair 0")


def test_an_embedding_off_is_named(bundle: LoadedBundle, graphs: GoldenGraphs, pair: GoldenPair) -> None:
    """The embedding is checked too."""
    encoder = Twisted(graphs.encoder, "embedding", lambda value: (value + 0.01).astype(np.float32))
    twisted = GoldenGraphs(graphs.tokenizer, encoder, graphs.head)
    with pytest.raises(BundleError, match="pair 0: embedding: expected"):
        check_pair(bundle.manifest, twisted, pair, "golden pair 0")


@pytest.mark.parametrize(
    ("graph", "output", "cut"),
    [
        ("encoder", "embedding", lambda v: v[:, :3]),
        ("encoder", "salience", lambda v: v[:, :3]),
        ("head", "logits", lambda v: v[:, :3]),
        ("head", "speech", lambda v: v[:, None]),
    ],
)
def test_an_output_of_another_shape_is_refused(
    bundle: LoadedBundle, graphs: GoldenGraphs, pair: GoldenPair, graph: str, output: str, cut: Any
) -> None:
    """What a graph really gives is checked, not only what it declares."""
    sessions = {name: getattr(graphs, name) for name in ("tokenizer", "encoder", "head")}
    twisted = GoldenGraphs(**sessions | {graph: Twisted(sessions[graph], output, cut)})
    with pytest.raises(BundleError, match=f"output {output}: expected shape"):
        check_pair(bundle.manifest, twisted, pair, "golden pair 0")


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"samples_i16_b64": "***"}, "not base64"),
        ({"samples_i16_b64": base64.b64encode(b"abc").decode()}, "whole 16-bit samples, got 3 bytes"),
        (
            {"samples_i16_b64": base64.b64encode(bytes(2 * 640)).decode()},
            r"expected shape \(4, 100\), got \(4, 2\)",
        ),
        ({"tokens": [[0, 1]]}, r"tokens of 4 rows of one length in 1\.\.200, got 1 rows"),
        ({"tokens": [[0], [0, 1], [0], [0]]}, r"got 4 rows of \[1, 2\]"),
        ({"tokens": [[], [], [], []]}, r"got 4 rows of \[0\]"),
        ({"tokens": [[0] * 201] * 4}, r"got 4 rows of \[201\]"),
        ({"tokens": [[0]] * 4}, "tokens_sha256: expected"),
        ({"embedding": [0.0]}, r"embedding: expected shape \(1,\), got \(16,\)"),
    ],
)
def test_a_malformed_pair_is_named(
    bundle: LoadedBundle, graphs: GoldenGraphs, pair: GoldenPair, update: dict[str, Any], message: str
) -> None:
    """A pair that contradicts itself or the manifest is refused by name."""
    with pytest.raises(BundleError, match=message):
        check_pair(bundle.manifest, graphs, pair.model_copy(update=update), "golden pair 0")


def test_the_token_hash_is_of_int64_little_endian() -> None:
    """The documented byte order makes the documented hash."""
    tokens = np.array([[1, 2], [3, 4]], dtype=np.int64)
    again = np.frombuffer(
        b"".join(value.to_bytes(8, "little") for value in (1, 2, 3, 4)), dtype="<i8"
    ).reshape(2, 2)
    assert tokens_sha256(tokens) == tokens_sha256(again) == tokens_sha256(np.asfortranarray(tokens))


def test_variants_without_a_pair_are_listed(bundle: LoadedBundle, pair: GoldenPair) -> None:
    """A variant that no pair proves is listed with its file."""
    assert uncovered_variants(bundle.manifest, [pair]) == {"fp32": "encoder.onnx"}
