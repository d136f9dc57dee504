"""The loader: a good bundle opens; each way of being bad is refused by name."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from app.bundle.loader import choose_variant, load_bundle, verify_bundle
from app.bundle.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    BundleError,
    hash_files,
    parse_golden,
    parse_manifest,
    write_golden,
    write_manifest,
)
from app.ort import Provider, Runtime
from tests.bundle.spoil import change_golden, read_document, reseal, write_document
from tests.support.tiny_bundle import SOUNDS, write_tiny_bundle

FILES = [
    "MODEL_CARD.md",
    "encoder.int8.onnx",
    "encoder.onnx",
    "golden.json",
    "heads/default.onnx",
    "manifest.json",
    "tokenizer.onnx",
]


def _load(folder: Path) -> None:
    load_bundle(folder, Runtime("cpu"))


def test_a_good_bundle_opens(valid_bundle: Path) -> None:
    """A valid bundle opens with its default variant and all its heads."""
    bundle = load_bundle(valid_bundle, Runtime("cpu"))
    assert (bundle.variant, bundle.provider, list(bundle.heads)) == ("int8", Provider.CPU, ["default"])
    assert bundle.path == valid_bundle


def test_the_tiny_bundle_is_small_and_repeatable(valid_bundle: Path, tmp_path: Path) -> None:
    """The bundle that tests use is under 200 KB, the same each time, and another with another seed."""
    again = write_tiny_bundle(tmp_path / "again")
    assert hash_files(again) == hash_files(valid_bundle)
    assert hash_files(write_tiny_bundle(tmp_path / "other", seed=1)) != hash_files(valid_bundle)
    assert sum((valid_bundle / name).stat().st_size for name in FILES) < 200_000


def test_the_tiny_bundle_takes_other_categories(tmp_path: Path) -> None:
    """Tests may choose their own categories."""
    folder = write_tiny_bundle(tmp_path / "b", categories=("calm", "cross", "other"))
    assert load_bundle(folder, Runtime("cpu")).manifest.heads["default"].categories == [
        "calm",
        "cross",
        "other",
    ]


def test_verify_opens_every_variant(valid_bundle: Path) -> None:
    """Verifying proves each form of the encoder against its own golden pairs."""
    assert [bundle.variant for bundle in verify_bundle(valid_bundle, Runtime("cpu"))] == ["fp32", "int8"]


@pytest.mark.parametrize(
    ("provider", "asked", "got"),
    [
        (Provider.CPU, "auto", "int8"),
        (Provider.CUDA, "auto", "fp32"),
        (Provider.CPU, "fp32", "fp32"),
        (Provider.CUDA, "int8", "int8"),
    ],
)
def test_variant_choice(valid_bundle: Path, provider: Provider, asked: str, got: str) -> None:
    """`auto` is the manifest's default on the CPU and fp32 on CUDA; a named one is taken anywhere."""
    manifest = parse_manifest((valid_bundle / MANIFEST_FILE).read_bytes())
    assert choose_variant(manifest, provider, asked) == got


def test_auto_on_cuda_takes_what_there_is(valid_bundle: Path) -> None:
    """A bundle without fp32 serves its default on CUDA too."""
    manifest = parse_manifest((valid_bundle / MANIFEST_FILE).read_bytes())
    only = manifest.encoder.model_copy(update={"variants": {"int8": manifest.encoder.variants["int8"]}})
    assert choose_variant(manifest.model_copy(update={"encoder": only}), Provider.CUDA, "auto") == "int8"


def test_a_variant_it_lacks_is_refused(valid_bundle: Path) -> None:
    """Asking for a form that the bundle lacks names those it has."""
    with pytest.raises(BundleError, match=r"one of \['fp32', 'int8'\], got 'fp16'"):
        load_bundle(valid_bundle, Runtime("cpu"), variant="fp16")


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_byte_is_refused(bundle_copy: Path, name: str) -> None:
    """One flipped byte in the middle of any file is refused by that file's name."""
    _flip(bundle_copy / name, (bundle_copy / name).stat().st_size // 2, 1)
    with pytest.raises(BundleError, match=name):
        _load(bundle_copy)


@given(name=st.sampled_from(FILES), position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=150)
def test_any_flipped_bit_is_refused(valid_bundle: Path, name: str, position: float, bit: int) -> None:
    """Any single bit flipped anywhere in a bundle is refused."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(valid_bundle, Path(folder) / "copy"))
        _flip(copy / name, int(position * (copy / name).stat().st_size), 1 << bit)
        with pytest.raises(BundleError):
            _load(copy)


def test_a_changed_file_tells_both_hashes(bundle_copy: Path) -> None:
    """A hash that differs is told with expected and got."""
    (bundle_copy / "MODEL_CARD.md").write_text("other", encoding="utf-8")
    with pytest.raises(BundleError, match=r"hash: MODEL_CARD\.md: expected [0-9a-f]{64}, got [0-9a-f]{64}"):
        _load(bundle_copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle_copy: Path, name: str) -> None:
    """Each missing file is refused by name."""
    (bundle_copy / name).unlink()
    with pytest.raises(BundleError, match=f"missing file: expected {name}"):
        _load(bundle_copy)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """A folder that is not there is refused by name."""
    with pytest.raises(BundleError, match=r"missing file: expected a bundle folder at .*absent"):
        _load(tmp_path / "absent")


def test_a_file_that_cannot_be_read_is_named(bundle_copy: Path) -> None:
    """A folder in a file's place is refused by name."""
    (bundle_copy / "MODEL_CARD.md").unlink()
    (bundle_copy / "MODEL_CARD.md").mkdir()
    with pytest.raises(BundleError, match=r"cannot read MODEL_CARD\.md"):
        _load(bundle_copy)


@pytest.mark.parametrize("name", ["extra.onnx", "heads/site.onnx", ".hidden"])
def test_an_unlisted_file_is_refused(bundle_copy: Path, name: str) -> None:
    """A file that the manifest does not list is refused by name."""
    (bundle_copy / name).write_bytes(b"x")
    with pytest.raises(BundleError, match=f"unlisted file: .*{name}"):
        _load(bundle_copy)


def test_a_link_out_of_the_folder_is_refused(bundle_copy: Path, tmp_path: Path) -> None:
    """A listed file that links out of the bundle is refused, even with the right contents."""
    outside = tmp_path / "outside.md"
    shutil.move(bundle_copy / "MODEL_CARD.md", outside)
    (bundle_copy / "MODEL_CARD.md").symlink_to(outside)
    with pytest.raises(BundleError, match=r"path: MODEL_CARD\.md: .* link out of it"):
        _load(bundle_copy)


def test_an_unlisted_link_is_refused(bundle_copy: Path) -> None:
    """A dangling link is a file that is not listed."""
    (bundle_copy / "dangling").symlink_to("nowhere")
    with pytest.raises(BundleError, match=r"unlisted file: .*dangling"):
        _load(bundle_copy)


def test_a_newer_schema_is_refused(bundle_copy: Path) -> None:
    """A bundle for a later service is refused clearly."""
    write_document(bundle_copy, read_document(bundle_copy) | {"schema_version": 7})
    with pytest.raises(BundleError, match="schema_version 7, this service reads up to 1"):
        _load(bundle_copy)


def test_a_file_that_is_no_graph_is_named(bundle_copy: Path) -> None:
    """Properly hashed bytes that are no graph are refused by name."""
    (bundle_copy / "encoder.int8.onnx").write_bytes(b"not a graph")
    reseal(bundle_copy)
    with pytest.raises(BundleError, match=r"graph: encoder\.int8\.onnx: cannot open graph"):
        _load(bundle_copy)


@pytest.mark.parametrize(
    ("section", "update", "message"),
    [
        (
            "tokenizer",
            {"state_size": 9},
            r"input state: expected float32 \[B, 9\], got .*\[B, 8\]",
        ),
        ("tokenizer", {"codebook_sizes": [16] * 3}, r"output tokens: expected int64 \[B, 3, T\]"),
        (
            "encoder",
            {"variants": {"int8": {"file": "tokenizer.onnx"}}},
            r"inputs \['length', 'tokens'\]",
        ),
    ],
)
def test_a_graph_of_another_shape_is_refused(
    bundle_copy: Path, section: str, update: dict[str, object], message: str
) -> None:
    """A graph that contradicts the manifest is refused by tensor, with both shapes."""
    _drop_fp32_pairs(bundle_copy)
    reseal(bundle_copy, lambda document: document[section].update(update))
    with pytest.raises(BundleError, match=message):
        _load(bundle_copy)


def test_a_head_of_other_categories_is_refused(bundle_copy: Path) -> None:
    """More categories than logits are refused."""
    reseal(bundle_copy, lambda document: document["heads"]["default"]["categories"].append("more"))
    with pytest.raises(BundleError, match=r"output logits: expected float32 \[B, 5\], got float32 \[B, 4\]"):
        _load(bundle_copy)


@pytest.mark.parametrize(
    ("shape", "dtype", "output", "message"),
    [
        (
            ["B", 4],
            TensorProto.INT64,
            "embedding",
            r"input tokens: expected .*, got int64 \[B, 4\]",
        ),
        ([1, 4, "T"], TensorProto.INT64, "embedding", r"got int64 \[1, 4, T\]"),
        (["B", 4, "T"], TensorProto.INT32, "embedding", r"got int32 \[B, 4, T\]"),
        (
            ["B", 4, None],
            TensorProto.INT64,
            "vector",
            r"an output embedding, got \['salience', 'vector'\]",
        ),
    ],
)
def test_an_encoder_of_another_signature_is_refused(
    bundle_copy: Path, shape: list[str | int | None], dtype: int, output: str, message: str
) -> None:
    """Rank, type, a batch that is not free and an absent output are each refused."""
    inputs = [
        helper.make_tensor_value_info("tokens", dtype, shape),
        helper.make_tensor_value_info("length", TensorProto.INT64, ["B"]),
    ]
    outputs = [
        helper.make_tensor_value_info(output, TensorProto.FLOAT, ["B", 16]),
        helper.make_tensor_value_info("salience", TensorProto.FLOAT, ["B", "T"]),
    ]
    nodes = [
        helper.make_node("ConstantOfShape", ["dims"], [output]),
        helper.make_node("ConstantOfShape", ["dims"], ["salience"]),
    ]
    dims = helper.make_tensor("dims", TensorProto.INT64, [2], [1, 16])
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=[dims])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, bundle_copy / "encoder.int8.onnx")
    reseal(bundle_copy)
    with pytest.raises(BundleError, match=message):
        _load(bundle_copy)


def test_a_golden_pair_that_differs_is_named(bundle_copy: Path) -> None:
    """A golden pair that does not come out is refused by pair, tensor, expected, got and tolerance."""
    change_golden(bundle_copy, valence=0.9)
    with pytest.raises(
        BundleError, match=r"pair 2 \(int8\): valence: expected 0\.9, got .*, tolerance 0\.001"
    ):
        _load(bundle_copy)


def test_each_variant_is_held_to_its_own_pairs(bundle_copy: Path) -> None:
    """Pairs of one variant say nothing of another: fp32 is judged by the pairs that fp32 made."""
    pairs = parse_golden((bundle_copy / GOLDEN_FILE).read_bytes())
    spoilt = [p.model_copy(update={"arousal": 0.9}) if p.variant == "fp32" else p for p in pairs]
    write_golden(bundle_copy, spoilt)
    reseal(bundle_copy)
    _load(bundle_copy)
    with pytest.raises(BundleError, match=r"golden pair 0 \(fp32\): arousal"):
        verify_bundle(bundle_copy, Runtime("cpu"))


def test_a_variant_without_a_golden_pair_is_refused(bundle_copy: Path) -> None:
    """No pair, no proof: a bundle must hold one for each form of the encoder."""
    write_golden(bundle_copy, [])
    reseal(bundle_copy)
    with pytest.raises(BundleError, match=r"a pair for encoder variant fp32 \(encoder\.onnx\), got none"):
        _load(bundle_copy)


def test_a_golden_run_that_fails_is_named(bundle_copy: Path) -> None:
    """A graph that opens but cannot run is refused by the pair that it failed on."""
    pairs = parse_golden((bundle_copy / GOLDEN_FILE).read_bytes())
    write_golden(bundle_copy, pairs)
    # 2561 samples are no whole number of hops, so the graph's reshape fails.
    manifest = parse_manifest((bundle_copy / MANIFEST_FILE).read_bytes())
    spec = manifest.tokenizer.model_copy(update={"hop_samples": 13, "block_samples": 2561})
    write_manifest(bundle_copy, manifest.model_copy(update={"tokenizer": spec}))
    with pytest.raises(BundleError, match="golden pair 2: graph run failed"):
        _load(bundle_copy)


def _flip(file: Path, offset: int, mask: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= mask
    file.write_bytes(data)


def _drop_fp32_pairs(folder: Path) -> None:
    pairs = parse_golden((folder / GOLDEN_FILE).read_bytes())
    for_both = [pair.model_copy(update={"variant": name}) for pair in pairs for name in ("fp32", "int8")]
    write_golden(folder, for_both)


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid bundle whose head tells kinds of sound apart; not to be written to."""
    return write_tiny_bundle(tmp_path_factory.mktemp("sounds") / "valid", sounds=True)


def test_a_bundle_with_sounds_opens(sounding: Path) -> None:
    """Its golden pairs hold the sound logits, and its roles are read."""
    sounds = load_bundle(sounding, Runtime("cpu")).manifest.heads["default"].sounds
    assert sounds is not None
    assert (sounds.of("speech"), sounds.of("event")) == (("speech",), ("laughter", "cough"))
    assert sounds.of("rejected") == ("music", "noise")
    assert all(pair.sound is not None for pair in parse_golden((sounding / "golden.json").read_bytes()))


def test_a_list_of_other_sounds_than_the_graph_has_is_refused(sounding: Path, tmp_path: Path) -> None:
    """One kind fewer in the manifest, and a manifest with sounds for a graph without."""
    copy = Path(shutil.copytree(sounding, tmp_path / "copy"))
    reseal(copy, lambda document: document["heads"]["default"]["sounds"]["kinds"].pop())
    with pytest.raises(BundleError, match=r"output sound: expected float32 \[B, 4\], got float32 \[B, 5\]"):
        load_bundle(copy, Runtime("cpu"))


def test_a_manifest_with_sounds_needs_a_graph_with_them(bundle_copy: Path) -> None:
    """A head whose graph has no such output is refused, naming it."""
    reseal(bundle_copy, lambda document: document["heads"]["default"].update(sounds=SOUNDS))
    with pytest.raises(BundleError, match="expected an output sound"):
        load_bundle(bundle_copy, Runtime("cpu"))


def test_golden_pairs_without_sounds_are_refused(sounding: Path, tmp_path: Path) -> None:
    """A head with sounds is proved with them."""
    copy = Path(shutil.copytree(sounding, tmp_path / "copy"))
    change_golden(copy, sound=None)
    with pytest.raises(BundleError, match=r"golden pair \d \(int8\): sound: expected numbers, got none"):
        load_bundle(copy, Runtime("cpu"))
