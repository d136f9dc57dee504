"""The manifest: what is valid, what is refused and in which words, and the seal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.bundle.manifest import (
    GOLDEN_FILE,
    MANIFEST_FILE,
    BundleError,
    SoundsSpec,
    check_relative_path,
    hash_files,
    parse_golden,
    parse_manifest,
    write_golden,
    write_manifest,
)
from tests.bundle.spoil import Document, read_document, reseal, write_document
from tests.support.tiny_bundle import SOUNDS


def _parse(folder: Path, document: object) -> None:
    write_document(folder, document)
    parse_manifest((folder / MANIFEST_FILE).read_bytes())


def _set(document: Document, path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for key in parents:
        document = document[key]
    document[last] = value


def test_a_manifest_survives_writing_and_reading(bundle_copy: Path) -> None:
    """What `write_manifest` returns is what a reader sees."""
    written = reseal(bundle_copy)
    assert parse_manifest((bundle_copy / MANIFEST_FILE).read_bytes()) == written
    assert written.model_id == "tiny/0.0.1"


def test_writing_twice_gives_the_same_bytes(bundle_copy: Path) -> None:
    """Sealing a sealed manifest changes nothing."""
    before = (bundle_copy / MANIFEST_FILE).read_bytes()
    write_manifest(bundle_copy, parse_manifest(before))
    assert (bundle_copy / MANIFEST_FILE).read_bytes() == before


def test_golden_pairs_survive_writing_and_reading(bundle_copy: Path) -> None:
    """Golden pairs read back equal."""
    pairs = parse_golden((bundle_copy / GOLDEN_FILE).read_bytes())
    write_golden(bundle_copy, pairs)
    assert parse_golden((bundle_copy / GOLDEN_FILE).read_bytes()) == pairs
    assert {pair.variant for pair in pairs} == {"fp32", "int8"}


def test_every_file_but_the_manifest_is_hashed(valid_bundle: Path) -> None:
    """The hashes cover files in sub-folders and leave the manifest out."""
    assert set(hash_files(valid_bundle)) == {
        "MODEL_CARD.md",
        "encoder.int8.onnx",
        "encoder.onnx",
        "golden.json",
        "heads/default.onnx",
        "tokenizer.onnx",
    }


def test_a_newer_schema_is_refused_with_advice(bundle_copy: Path) -> None:
    """A bundle of a later schema says which versions are at odds and what to do, whatever else it holds."""
    with pytest.raises(BundleError, match="schema_version 2, this service reads up to 1: upgrade"):
        _parse(bundle_copy, {"schema_version": 2, "something": "new"})


@pytest.mark.parametrize("version", [None, "1", 1.0, True, 0, -1])
def test_a_schema_version_that_is_none_is_refused(bundle_copy: Path, version: object) -> None:
    """A schema version that is no whole number, or older than the first, is refused."""
    with pytest.raises(BundleError, match="schema_version"):
        _parse(bundle_copy, read_document(bundle_copy) | {"schema_version": version})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"schema_version": NaN}', "NaN is not a JSON number"),
        (b"[]", "expected an object, got list"),
        (b"null", "expected an object, got NoneType"),
    ],
)
def test_what_is_not_a_json_object_is_refused(data: bytes, message: str) -> None:
    """Anything but a JSON object is refused, also when nested deeper than Python goes."""
    with pytest.raises(BundleError, match=message):
        parse_manifest(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", "a b", "name"),
        ("name", "", "name"),
        ("sample_rate_hz", 16000, "sample_rate_hz"),
        ("surprise", 1, "surprise: Extra inputs"),
        ("tokenizer/surprise", 1, r"tokenizer\.surprise"),
        ("tokenizer/hop_samples", 0, r"tokenizer\.hop_samples"),
        ("tokenizer/block_samples", 2561, "multiple of 320"),
        ("tokenizer/codebook_sizes", [], "codebook_sizes"),
        ("tokenizer/codebook_sizes", [1], "codebook_sizes"),
        ("encoder/default", "int4", r"encoder\.default"),
        ("encoder/variants", {"fp32": {"file": "encoder.onnx"}}, r"one of \['fp32'\], got 'int8'"),
        ("encoder/min_tokens", 201, "min_tokens <= max_tokens, got 201 > 200"),
        ("heads", {}, "heads"),
        ("heads/default/categories", ["one"], "categories"),
        ("heads/default/categories", ["same", "same"], "distinct categories"),
        ("heads/default/calibration/temperature", 0, "temperature"),
        ("heads/default/calibration/temperature", float("inf"), "not JSON"),
        ("heads/default/calibration/kind", "isotonic", "calibration"),
        ("heads/default/dimensions/source", "", "source"),
        ("line_profile/prior_n", -1, "prior_n"),
        ("line_profile/population_mean", [0.0], "population_mean: expected 16 numbers, got 1"),
        ("line_profile/population_var", [0.0] * 16, "population_var"),
        ("line_profile/population_var", [1.0] * 17, "population_var: expected 16 numbers, got 17"),
        ("abstain/min_confidence", 1.5, "min_confidence"),
        ("golden_tolerance", 0, "golden_tolerance"),
        ("files", {}, "expected the hash of 'tokenizer.onnx' in files"),
        ("files/tokenizer.onnx", "abc", "files"),
        ("manifest_sha256", "x", "manifest_sha256"),
    ],
)
def test_a_field_that_is_wrong_is_named(bundle_copy: Path, path: str, value: object, message: str) -> None:
    """Each wrong field is refused by name."""
    document = read_document(bundle_copy)
    _set(document, path, value)
    with pytest.raises(BundleError, match=message):
        _parse(bundle_copy, document)


def test_a_missing_head_is_named(bundle_copy: Path) -> None:
    """A bundle without a default head is refused."""
    document = read_document(bundle_copy)
    document["heads"] = {"site": document["heads"]["default"]}
    with pytest.raises(BundleError, match="expected a head named 'default'"):
        _parse(bundle_copy, document)


@pytest.mark.parametrize("field", ["name", "version", "tokenizer", "files", "provenance", "abstain"])
def test_a_missing_field_is_named(bundle_copy: Path, field: str) -> None:
    """Leaving out a field is refused by its name."""
    document = read_document(bundle_copy)
    del document[field]
    with pytest.raises(BundleError, match=f"{field}: Field required"):
        _parse(bundle_copy, document)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "a\\b", "c:x", "a\0b", "a//b", "./a", "a/", ".", "manifest.json"],
)
def test_paths_out_of_the_folder_are_refused(path: str) -> None:
    """Absolute, climbing, foreign and unusual spellings of a path are refused."""
    with pytest.raises(ValueError, match="path"):
        check_relative_path(path)


def test_a_manifest_that_names_a_path_outside_is_refused(bundle_copy: Path) -> None:
    """A climbing path among the files is a schema error that shows it."""
    document = read_document(bundle_copy)
    document["files"]["../evil"] = "0" * 64
    with pytest.raises(BundleError, match=r"escapes the bundle folder: '\.\./evil'"):
        _parse(bundle_copy, document)


def test_an_edited_value_breaks_the_seal(bundle_copy: Path) -> None:
    """A valid but changed value is refused, with both hashes."""
    document = read_document(bundle_copy)
    seal = document["manifest_sha256"]
    document["abstain"]["min_confidence"] = 0.01
    with pytest.raises(BundleError, match=rf"hash: manifest\.json: expected {seal}, got [0-9a-f]{{64}}"):
        _parse(bundle_copy, document)


def test_a_seal_that_is_not_unique_is_refused(bundle_copy: Path) -> None:
    """Two seals (one hidden in the free-form part) are refused, as either could be the one that counts."""
    document = read_document(bundle_copy)
    document["provenance"]["manifest_sha256"] = "0" * 64
    with pytest.raises(BundleError, match="expected one manifest_sha256"):
        _parse(bundle_copy, document)


@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
@settings(deadline=None)
def test_any_bytes_at_all_raise_only_bundle_errors(data: bytes) -> None:
    """No bytes make the parsers raise anything but their own error."""
    for parse in (parse_manifest, parse_golden):
        with pytest.raises(BundleError):
            parse(data)


def test_golden_of_another_shape_is_refused(valid_bundle: Path) -> None:
    """A golden file with a wrong field names the pair and the field."""
    data = (valid_bundle / GOLDEN_FILE).read_bytes().replace(b'"variant":"fp32"', b'"variant":"fp64"', 1)
    with pytest.raises(BundleError, match=r"golden\.json: 0\.variant"):
        parse_golden(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kinds": [SOUNDS["kinds"][0], SOUNDS["kinds"][1]]}, "one or more that are rejected"),
        ({"kinds": SOUNDS["kinds"][1:]}, "exactly one kind of sound that is speech"),
        ({"kinds": [*SOUNDS["kinds"], SOUNDS["kinds"][0]]}, "distinct kinds of sound"),
        ({"event_threshold": 0.0}, "greater than 0"),
        ({"event_threshold": 1.5}, "less than or equal to 1"),
    ],
)
def test_sounds_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    """One kind is speech, something is rejected, names are distinct, the threshold is a posterior."""
    with pytest.raises(ValueError, match=message):
        SoundsSpec.model_validate(SOUNDS | change)
