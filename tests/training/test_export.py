"""Proofs of the export: streams equal wholes, ONNX equals torch, int8 costs no more than stated, golden pairs hold.

They run on the debug chain's bundle; those that need no workshop also on the bundle that ships.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bundle.loader import LoadedBundle, load_bundle
from app.bundle.manifest import (
    BundleError,
    hash_files,
    parse_golden,
    parse_manifest,
    write_golden,
    write_manifest,
)
from app.inference.tokenizer import Tokenizer
from app.ort import Runtime
from tests.training import made
from tests.training.conftest import ROOT
from training.export import ExportConfig, ExportError, Parts, check_graphs, golden_audio
from training.run import Run

pytestmark = pytest.mark.slow

SHIPPED = ROOT / "models" / "bundles" / "kowairo-8k"


@pytest.fixture(scope="module", params=["debug", "shipped"])
def bundle(request: pytest.FixtureRequest, debug_run: Run) -> LoadedBundle:
    """The debug chain's bundle, and the one that ships; loaded as the service does, golden pairs and all."""
    if request.param == "shipped" and not SHIPPED.exists():
        pytest.skip("no bundle ships yet")
    return load_bundle(SHIPPED if request.param == "shipped" else debug_run.path("export"), Runtime("cpu", 1))


@pytest.fixture(scope="module")
def parts(debug_run: Run) -> Parts:
    """The torch modules that the debug bundle was exported from."""
    return debug_run.parts()


@given(cuts=st.lists(st.integers(0, 5_000), max_size=12), seed=st.integers(0, 50))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_any_cutting_gives_the_same_tokens(bundle: LoadedBundle, cuts: list[int], seed: int) -> None:
    """A stream fed in pieces of any size, empty ones too, gives exactly the tokens of the whole."""
    audio = made.speechlike(sum(cuts) + 777, seed).astype(np.float32) / 32_768
    tokenizer = Tokenizer(bundle.tokenizer, bundle.manifest.tokenizer)
    stream = tokenizer.stream()
    at = 0
    for cut in (*cuts, 777):
        stream.push(audio[at : at + cut])
        at += cut
    assert np.array_equal(stream.tokens(), tokenizer.tokenize(audio))


def test_streamed_onnx_tokens_are_torchs(debug_run: Run, parts: Parts) -> None:
    """The service's blocks against torch over the whole clip: 99 % of tokens at least, all but near-ties."""
    served = load_bundle(debug_run.path("export"), Runtime("cpu", 1))
    tokenizer = Tokenizer(served.tokenizer, served.manifest.tokenizer)
    same = []
    for seed in range(6):
        audio = made.speechlike(320 * 60, seed).astype(np.float32) / 32_768
        with torch.no_grad():
            expected, _ = parts.tokenizer(torch.from_numpy(audio)[None], parts.tokenizer.initial_state(1))
        same.append(tokenizer.tokenize(audio) == expected[0].numpy())
    assert np.mean(same) >= 0.99


def test_graphs_are_the_modules(debug_run: Run, parts: Parts) -> None:
    """Encoder and head within the stated tolerance of torch, and the figures are in the manifest."""
    config = debug_run.config.export
    found = check_graphs(parts, config, debug_run.path("export"))
    metrics = parse_manifest((debug_run.path("export") / "manifest.json").read_bytes()).metrics
    for part in ("encoder", "head"):
        assert found[f"{part}_max_difference"] <= config.onnx_tolerance
        assert metrics[f"{part}_max_difference"] <= config.onnx_tolerance
    assert metrics["token_agreement"] >= 0.99
    assert 0 < metrics["int8_max_difference"] < 1


@pytest.mark.parametrize(("length", "rows"), [(1, 1), (7, 3), (150, 2)])
def test_the_encoder_graph_takes_any_length(debug_run: Run, parts: Parts, length: int, rows: int) -> None:
    """Other lengths and batches than the traced ones, padding included, give torch's embedding and salience."""
    config = parts.tokenizer.config
    tokens = torch.randint(config.codebook_size, (rows, config.codebooks, length))
    lengths = torch.tensor([max(1, length - row) for row in range(rows)])
    with torch.no_grad():
        expected = parts.encoder(tokens, lengths)
    session = Runtime("cpu", 1).session(debug_run.path("export") / "encoder.onnx")
    given_ = session.run({"tokens": tokens.numpy(), "length": lengths.numpy()}, ("embedding", "salience"))
    for ours, theirs in zip(given_, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-4)


def test_a_graph_of_other_weights_is_refused(debug_run: Run, parts: Parts) -> None:
    """A tolerance that nothing meets, and another module's tokens: the export stops."""
    with pytest.raises(ExportError, match="encoder: ONNX differs from torch by"):
        check_graphs(parts, ExportConfig(onnx_tolerance=0.0), debug_run.path("export"))
    with torch.no_grad():
        for codebook in parts.tokenizer.quantizer.codebooks:
            codebook.copy_(codebook.flip(0))
    try:
        with pytest.raises(ExportError, match="of tokens are torch's"):
            check_graphs(parts, ExportConfig(), debug_run.path("export"))
    finally:
        with torch.no_grad():
            for codebook in parts.tokenizer.quantizer.codebooks:
                codebook.copy_(codebook.flip(0))


def test_int8_loses_no_more_than_stated(bundle: LoadedBundle) -> None:
    """UAR of int8 against fp32, mean over the clean sets, cold: measured and within what the bundle says."""
    metrics = bundle.manifest.metrics
    assert metrics["int8_uar_loss"] <= metrics["int8_uar_loss_allowed"]


def test_what_is_stated_was_measured(debug_run: Run) -> None:
    """The loss in the manifest is the mean difference of the two variants' rows in the evaluation."""
    results = json.loads((debug_run.path("evaluate") / "evaluation.json").read_text())["results"]
    value = {
        (row["name"], row["set"]): row["value"]
        for row in results
        if (row["condition"], row["profile_n"], row["metric"]) == ("clean", 0, "UAR")
    }
    losses = [v - value["int8", name] for (variant, name), v in value.items() if variant == "fp32"]
    manifest = parse_manifest((debug_run.path("export") / "manifest.json").read_bytes())
    assert len(losses) == 2
    assert manifest.metrics["int8_uar_loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)


def test_golden_pairs_cover_every_variant(bundle: LoadedBundle) -> None:
    """Both encoders have pairs in the bundle, and loading it has just run those of the one in service."""
    pairs = parse_golden((bundle.path / "golden.json").read_bytes())
    assert {pair.variant for pair in pairs} == set(bundle.manifest.encoder.variants)
    assert "golden.json" in bundle.manifest.files


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_a_wrong_golden_pair_is_found(debug_run: Run, tmp_path: Path, variant: str) -> None:
    """One number of a pair changed and the bundle sealed anew: that variant does not load, the other does."""
    copy = tmp_path / "bundle"
    shutil.copytree(debug_run.path("export"), copy)
    pairs = parse_golden((copy / "golden.json").read_bytes())
    spoiled = [
        pair.model_copy(update={"embedding": [pair.embedding[0] + 1, *pair.embedding[1:]]})
        if pair.variant == variant
        else pair
        for pair in pairs
    ]
    write_golden(copy, spoiled)
    manifest = parse_manifest((copy / "manifest.json").read_bytes())
    write_manifest(copy, manifest.model_copy(update={"files": hash_files(copy)}))
    with pytest.raises(BundleError, match=rf"golden pair \d \({variant}\): embedding"):
        load_bundle(copy, Runtime("cpu", 1), variant=variant)
    load_bundle(copy, Runtime("cpu", 1), variant="int8" if variant == "fp32" else "fp32")


def test_golden_sounds_are_nobodys() -> None:
    """Made, of different pitch, at a telephone's level, the same on every machine."""
    one, other = golden_audio(2)
    assert len(one) == len(other) == 12_800
    assert not np.array_equal(one, other)
    assert np.array_equal(one, golden_audio(1)[0])
    assert 3_000 < int(np.abs(one.astype(np.int32)).max()) < 20_000
