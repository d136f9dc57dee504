"""Listeners turn the telephone's sound into one vector; a system that isn't installed says so."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tests.training import made
from training.baselines import features
from training.baselines.features import (
    SYSTEMS,
    BaselineMissingError,
    load_egemaps,
    load_whisper_base,
    load_whisper_tiny,
    whisper_listener,
)


def model_file(variables: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """A CTranslate2 file of these variables."""

    def text(value: str) -> bytes:
        data = value.encode() + b"\0"
        return struct.pack("<H", len(data)) + data

    parts = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        data = value.astype(np.float32).tobytes()
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        parts.append(text(name) + shape + struct.pack("<BI", 0, len(data)) + data)
    return b"".join(parts) + struct.pack("<I", 0)


def small_whisper() -> bytes:
    """An encoder of one layer, 64 wide, with random weights."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> npt.NDArray[np.float32]:
        return (0.1 * torch.randn(*shape, generator=generator)).numpy()

    shapes: dict[str, tuple[int, ...]] = {
        "conv1/weight": (64, 80, 3), "conv1/bias": (64,), "conv2/weight": (64, 64, 3), "conv2/bias": (64,),
        "position_encodings/encodings": (1500, 64),
    }  # fmt: skip
    for norm in ("self_attention/layer_norm", "ffn/layer_norm"):
        shapes |= {f"layer_0/{norm}/gamma": (64,), f"layer_0/{norm}/beta": (64,)}
    sizes = {
        "self_attention/linear_0": (192, 64),
        "self_attention/linear_1": (64, 64),
        "ffn/linear_0": (256, 64),
        "ffn/linear_1": (64, 256),
    }
    for linear, size in sizes.items():
        shapes |= {f"layer_0/{linear}/weight": size, f"layer_0/{linear}/bias": size[:1]}
    return model_file({f"encoder/{name}": random(*shape) for name, shape in shapes.items()})


def test_whisper_gives_mean_and_deviation() -> None:
    """Twice the width, the same each time, other for other sounds; very short clips are padded."""
    listen = whisper_listener(small_whisper(), layer=1)
    one, other = (made.speechlike(16_000, seed).astype(np.float32) / 32768 for seed in (1, 2))
    assert listen(one).shape == (128,)
    np.testing.assert_array_equal(listen(one), listen(one))
    assert not np.allclose(listen(one), listen(other))
    assert (listen(one)[64:] >= 0).all()
    assert np.isfinite(listen(one[:100])).all()


@pytest.mark.parametrize("load", [load_egemaps, load_whisper_base, load_whisper_tiny])
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, load: features.Listener) -> None:
    """With what to do about it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BaselineMissingError, match="is not installed: pip install"):
        load()  # type: ignore[call-arg]


@pytest.mark.skipif(importlib.util.find_spec("opensmile") is None, reason="opensmile is not installed")
@pytest.mark.filterwarnings("ignore")
def test_egemaps_has_88_functionals() -> None:
    """All finite, also for a clip of next to nothing."""
    listen = load_egemaps()
    audio = made.speechlike(16_000, 1).astype(np.float32) / 32768
    assert listen(audio).shape == (88,)
    assert np.isfinite(listen(audio[:100])).all()


def test_every_system_says_what_it_is() -> None:
    """Names are distinct, licences stated."""
    assert len({s.title for s in SYSTEMS.values()}) == len(SYSTEMS)
    assert all(s.what and s.licence for s in SYSTEMS.values())
