"""Configurations are plain values; whatever does not fit is named with its place, in one line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.training.conftest import ROOT
from training.config import ConfigError, build, load_config, save_config
from training.run_config import RunConfig


@dataclass(frozen=True, slots=True)
class Inner:
    """A part."""

    rate: float = 0.5
    pair: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rate > 1:
            raise ValueError(f"rate must be at most 1, got {self.rate}")


@dataclass(frozen=True, slots=True)
class Outer:
    """The whole."""

    needed: int
    inner: Inner = field(default_factory=Inner)
    note: str | None = None
    on: bool = False
    parts: tuple[Inner, ...] = ()


def test_values_arrive_in_their_types() -> None:
    """Lists become tuples, whole numbers floats where floats are meant, YAML's `1e-4` too, null only where allowed."""
    data = {
        "needed": 3,
        "inner": {"rate": "1e-4", "pair": [4, 5], "names": ["a"]},
        "note": None,
        "on": True,
        "parts": [{"rate": 1}],
    }
    assert build(Outer, data, "x") == Outer(3, Inner(1e-4, (4, 5), ("a",)), None, True, (Inner(1.0),))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"needed": 1, "nedeed": 2}, r"x: unknown key 'nedeed'; Outer knows inner, needed, note, on, parts"),
        ({}, r"x: .*missing.*'needed'"),
        ({"needed": 1, "inner": {"rat": 1}}, r"x: inner: unknown key 'rat'"),
        ({"needed": 1, 7: 2}, r"x: unknown key 7"),
        ({"needed": "many"}, r"x: needed: expected int, got 'many'"),
        ({"needed": True}, r"x: needed: expected int, got True"),
        ({"needed": 1.5}, r"x: needed: expected int, got 1\.5"),
        ({"needed": None}, r"x: needed: expected int, got None"),
        ({"needed": 1, "on": 1}, r"x: on: expected bool, got 1"),
        ({"needed": 1, "note": 5}, r"x: note: expected str, got 5"),
        ({"needed": 1, "inner": {"rate": "fast"}}, r"x: inner: rate: expected a number, got 'fast'"),
        ({"needed": 1, "inner": {"rate": True}}, r"x: inner: rate: expected float, got True"),
        ({"needed": 1, "inner": {"rate": ".nan"}}, r"x: inner: rate: expected a number"),
        ({"needed": 1, "inner": {"rate": "nan"}}, r"x: inner: rate: expected a finite number, got nan"),
        ({"needed": 1, "inner": {"rate": 2}}, r"x: inner: rate must be at most 1, got 2\.0"),
        ({"needed": 1, "inner": {"pair": [1]}}, r"x: inner: pair: expected 2 values, got 1"),
        ({"needed": 1, "inner": {"names": "a"}}, r"x: inner: names: expected a list, got 'a'"),
        ({"needed": 1, "inner": 3}, r"x: inner: expected a mapping for Inner, got 3"),
        ([1], r"x: expected a mapping for Outer, got \[1\]"),
    ],
)
def test_what_does_not_fit_is_named(data: object, message: str) -> None:
    """Unknown and missing keys, other types and values out of range."""
    with pytest.raises(ConfigError, match=message) as caught:
        build(Outer, data, "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1\nb: 2", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_yaml_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    """The file's name and what is wrong, in one line."""
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, Outer)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    """Where every field has a default."""
    (tmp_path / "c.yaml").write_text("# nothing\n")
    assert load_config(tmp_path / "c.yaml", Inner) == Inner()


def test_saved_configurations_are_json(tmp_path: Path) -> None:
    """The resolved configuration, defaults included, lies beside the checkpoint."""
    save_config(Outer(2), tmp_path / "stage" / "config.json")
    data = json.loads((tmp_path / "stage" / "config.json").read_text())
    assert data["needed"] == 2
    assert data["inner"]["pair"] == [1, 2]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "training" / "configs").rglob("*.yaml")), ids=lambda p: p.name
)
def test_every_shipped_configuration_loads(path: Path) -> None:
    """None has a key that its stage does not know."""
    assert isinstance(load_config(path, RunConfig), RunConfig)


def test_encoders_of_two_sizes_are_refused(tmp_path: Path) -> None:
    """What the tokenizer stage learned goes into the autoencoder, so both are as large, or nothing starts."""
    (tmp_path / "c.yaml").write_text("pretrain: {model: {encoder: {transformer: {layers: 6}}}}\n")
    with pytest.raises(ConfigError, match=r"must be of one size.*\(256, 4, .*\(256, 6, "):
        load_config(tmp_path / "c.yaml", RunConfig)
