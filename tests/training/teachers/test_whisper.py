"""Whisper's input features are Whisper's, its layers run on any length, and missing weights say how to get them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.teachers.test_ctranslate2 import model_file
from training.teachers import whisper
from training.teachers.whisper import TeacherMissingError, WhisperFrames, log_mel, slaney_filters


def test_filters_are_slaneys() -> None:
    """80 triangles of unit area in Hz, 200/3 Hz apart below 1 kHz and growing above: Whisper's own table."""
    filters = slaney_filters()
    assert filters.shape == (80, 201)
    assert (filters >= 0).all()
    wide = filters[40:]
    np.testing.assert_allclose(wide.sum(axis=1) * 40, 1.0, rtol=0.1)
    centres = filters.argmax(axis=1) * 40
    assert 7_500 < int(centres[79]) < 8_000
    # Two values of OpenAI's mel_filters.npz.
    assert filters[0, 1] == pytest.approx(0.02486259, rel=1e-3)
    assert filters[1, 1] == pytest.approx(0.00199082, rel=1e-2)


def test_log_mel_of_a_tone() -> None:
    """One frame each 10 ms; a tone is loudest in its band, and nothing is more than 8 decades below the loudest."""
    tone = 0.5 * torch.sin(2 * math.pi * 1_000 * torch.arange(16_000) / 16_000)
    features = log_mel(tone, torch.from_numpy(slaney_filters()))
    assert features.shape == (80, 100)
    loudest = int(features[:, 50].argmax())
    assert abs(int(slaney_filters()[loudest].argmax()) * 40 - 1_000) <= 40
    assert float(features.max() - features.min()) <= 2.0 + 1e-5


def weights(width: int = 16, layers: int = 1) -> dict[str, Tensor]:
    """Random weights of a small encoder, named as in the file."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return 0.1 * torch.randn(*shape, generator=generator)

    made = {
        "encoder/conv1/weight": draw(width, 80, 3),
        "encoder/conv1/bias": draw(width),
        "encoder/conv2/weight": draw(width, width, 3),
        "encoder/conv2/bias": draw(width),
        "encoder/position_encodings/encodings": draw(1_500, width),
    }
    for layer in range(layers):
        at = f"encoder/layer_{layer}/"
        for name in ("self_attention/layer_norm", "ffn/layer_norm"):
            made |= {f"{at}{name}/gamma": 1 + draw(width), f"{at}{name}/beta": draw(width)}
        shapes = {
            "self_attention/linear_0": (3 * width, width),
            "self_attention/linear_1": (width, width),
            "ffn/linear_0": (4 * width, width),
            "ffn/linear_1": (width, 4 * width),
        }
        for name, shape in shapes.items():
            made |= {f"{at}{name}/weight": draw(*shape), f"{at}{name}/bias": draw(shape[0])}
    return made


@pytest.mark.parametrize("samples", [6_400, 16_000])
def test_frames_come_fifty_a_second(samples: int) -> None:
    """Any length goes in without padding to 30 s, and one frame for 20 ms comes out."""
    frames = WhisperFrames(weights(), layers=1, heads=2)(0.1 * torch.randn(samples))
    assert frames.shape == (samples // 320, 16)
    assert bool(torch.isfinite(frames).all())


def test_a_layer_is_pre_norm_attention_and_feed_forward() -> None:
    """The layer computed again by torch's own multi-head attention."""
    made = weights()
    at = "encoder/layer_0/"
    x = torch.randn(1, 7, 16)
    normed = torch.nn.functional.layer_norm(
        x, (16,), made[f"{at}self_attention/layer_norm/gamma"], made[f"{at}self_attention/layer_norm/beta"]
    )
    attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
    with torch.no_grad():
        attention.in_proj_weight.copy_(made[f"{at}self_attention/linear_0/weight"])
        attention.in_proj_bias.copy_(made[f"{at}self_attention/linear_0/bias"])
        attention.out_proj.weight.copy_(made[f"{at}self_attention/linear_1/weight"])
        attention.out_proj.bias.copy_(made[f"{at}self_attention/linear_1/bias"])
        after = x + attention(normed, normed, normed, need_weights=False)[0]
        normed = torch.nn.functional.layer_norm(
            after, (16,), made[f"{at}ffn/layer_norm/gamma"], made[f"{at}ffn/layer_norm/beta"]
        )
        inner = torch.nn.functional.linear(
            normed, made[f"{at}ffn/linear_0/weight"], made[f"{at}ffn/linear_0/bias"]
        )
        inner = torch.nn.functional.gelu(inner)
        expected = after + torch.nn.functional.linear(
            inner, made[f"{at}ffn/linear_1/weight"], made[f"{at}ffn/linear_1/bias"]
        )
        layer = WhisperFrames(made, layers=1, heads=2).layers[0]
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages the error names one, and the extra that brings them."""
    monkeypatch.setitem(whisper.WHISPERS, "whisper-base", (("no_such_package_at_all", "data/x"),))
    with pytest.raises(TeacherMissingError, match=r"no_such_package_at_all.*\[teachers\]"):
        whisper.load_whisper_base()


def test_a_package_without_its_half_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name that holds something else."""
    monkeypatch.setitem(whisper.WHISPERS, "whisper-base", (("tests", "data/model.bin.part1"),))
    with pytest.raises(TeacherMissingError, match=r"tests does not hold data/model\.bin\.part1"):
        whisper.weight_files()


def test_the_two_halves_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file cut in two anywhere, inside packages that are never imported, gives the encoder back."""
    made = weights(width=512, layers=1)
    made["decoder/unused"] = torch.zeros(2)
    data = model_file({name: value.numpy().astype(np.float16) for name, value in made.items()}, {})
    halves = (("half_one", "data/a"), ("half_two", "data/b"))
    for (package, name), piece in zip(halves, (data[:1_001], data[1_001:]), strict=True):
        (tmp_path / package / "data").mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('imported')\n")
        (tmp_path / package / name).write_bytes(piece)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(whisper.WHISPERS, "whisper-base", halves)
    teacher = whisper.load_whisper_base(layers=1)
    assert "decoder/unused" not in teacher.weights
    assert teacher(0.1 * torch.randn(3_200)).shape == (10, 512)
