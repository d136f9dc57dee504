"""Reader of CTranslate2 model files (binary version 6): names and arrays, nothing else.

Layout as written by `ctranslate2.specs.model_spec` (OpenNMT, MIT): version, spec name, revision, then per variable
name, rank, dims, type id, byte count and raw data, all little endian; then aliases.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import numpy.typing as npt

BINARY_VERSION = 6
TYPES: dict[int, type[np.generic]] = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


class ModelFileError(ValueError):
    """The bytes are not a CTranslate2 model of the version we read."""


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 0

    def raw(self, size: int) -> memoryview:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise ModelFileError(f"file ends at byte {len(self._data)}, {size} more expected at {self._at}")
        self._at += size
        return piece

    def number(self, code: str) -> int:
        (value,) = struct.unpack("<" + code, self.raw(struct.calcsize(code)))
        return int(value)

    def text(self) -> str:
        return bytes(self.raw(self.number("H"))).rstrip(b"\0").decode(errors="replace")


def read_variables(data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """All variables of a model file by name; aliases resolved.

    Raises:
        ModelFileError: another version, an unknown type, a shape that does not fit its bytes, a file cut short.
    """
    cursor = _Cursor(data)
    version = cursor.number("I")
    if version != BINARY_VERSION:
        raise ModelFileError(f"expected binary version {BINARY_VERSION}, got {version}")
    cursor.text()
    cursor.number("I")
    variables: dict[str, npt.NDArray[np.generic]] = {}
    for _ in range(cursor.number("I")):
        name = cursor.text()
        shape = [cursor.number("I") for _ in range(cursor.number("B"))]
        kind = cursor.number("B")
        if kind not in TYPES:
            raise ModelFileError(f"{name}: unknown type id {kind}")
        variables[name] = _array(name, cursor.raw(cursor.number("I")), TYPES[kind], shape)
    for _ in range(cursor.number("I")):
        alias, name = cursor.text(), cursor.text()
        if name not in variables:
            raise ModelFileError(f"alias {alias}: no variable {name}")
        variables[alias] = variables[name]
    return variables


def _array(name: str, raw: memoryview, kind: type[np.generic], shape: list[int]) -> npt.NDArray[np.generic]:
    if len(raw) != math.prod(shape) * np.dtype(kind).itemsize:
        raise ModelFileError(f"{name}: {len(raw)} bytes do not hold {kind.__name__} of shape {shape}")
    return np.frombuffer(raw, dtype=kind).reshape(shape)
