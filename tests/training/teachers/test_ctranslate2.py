"""Model files are read by their documented layout, and what is not one says so."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.teachers.ctranslate2 import ModelFileError, read_variables

TYPE_IDS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def text(value: str) -> bytes:
    """Length with the closing zero, then the bytes."""
    raw = value.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def model_file(
    variables: Mapping[str, npt.NDArray[np.generic]], aliases: Mapping[str, str], version: int = 6
) -> bytes:
    """A model file written byte by byte."""
    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<I", 3)]
    parts.append(struct.pack("<I", len(variables)))
    for name, value in variables.items():
        parts += [text(name), struct.pack("<B", value.ndim), struct.pack(f"<{value.ndim}I", *value.shape)]
        raw = value.tobytes()
        parts += [struct.pack("<BI", TYPE_IDS[value.dtype.name], len(raw)), raw]
    parts.append(struct.pack("<I", len(aliases)))
    parts += [text(alias) + text(name) for alias, name in aliases.items()]
    return b"".join(parts)


VARIABLES: dict[str, npt.NDArray[np.generic]] = {
    "encoder/conv1/weight": np.arange(24, dtype=np.float16).reshape(2, 3, 4),
    "encoder/scale": np.array(1.5, dtype=np.float32),
    "decoder/ids": np.array([-1, 7], dtype=np.int8),
    "decoder/wide": np.array([[70_000]], dtype=np.int32),
}
FILE = model_file(VARIABLES, {"decoder/tied": "encoder/conv1/weight"})


def test_variables_and_aliases_are_read() -> None:
    """Names, shapes, types and values; an alias is the variable that it names."""
    found = read_variables(FILE)
    assert set(found) == {*VARIABLES, "decoder/tied"}
    for name, value in VARIABLES.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert np.array_equal(found[name], value)
    assert np.array_equal(found["decoder/tied"], VARIABLES["encoder/conv1/weight"])


def test_another_version_is_refused() -> None:
    """Only the layout that is documented is read."""
    with pytest.raises(ModelFileError, match="expected binary version 6, got 5"):
        read_variables(model_file(VARIABLES, {}, version=5))


def test_an_unknown_type_is_refused() -> None:
    """A type id beyond the known ones names the variable."""
    broken = bytearray(model_file({"x": np.array([1], np.int8)}, {}))
    broken[broken.index(b"\x01\x01\x00\x00\x00\x01") + 5] = 9
    with pytest.raises(ModelFileError, match="x: unknown type id 9"):
        read_variables(bytes(broken))


@given(length=st.integers(0, len(FILE) - 1))
def test_a_cut_file_is_refused(length: int) -> None:
    """Wherever a download ended, the error says that the file ends, never something else."""
    with pytest.raises(ModelFileError, match="file ends at byte"):
        read_variables(FILE[:length])


def test_a_shape_that_does_not_fit_is_refused() -> None:
    """Three numbers for a shape of two."""
    data = model_file({"x": np.array([1, 2, 3], np.int8)}, {})
    with pytest.raises(ModelFileError, match=r"x: 3 bytes"):
        read_variables(data.replace(struct.pack("<BI", 1, 3), struct.pack("<BI", 1, 2), 1))


def test_an_alias_of_nothing_is_refused() -> None:
    """An alias must name a variable of the file."""
    with pytest.raises(ModelFileError, match="alias a: no variable b"):
        read_variables(model_file({}, {"a": "b"}))
