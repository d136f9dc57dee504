"""The only importer of onnxruntime: which device runs the graphs, with how many threads.

Sessions are shared by threads: onnxruntime's `Run` may be called concurrently on one session, and nothing
here keeps state between runs.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

Array = npt.NDArray[Any]

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_LOG_ERRORS_ONLY = 3

# A one-node graph (y = Identity(x), float [1], opset 17), serialised: tells whether CUDA works, not just
# whether the wheel was built with it.
_PROBE_GRAPH = (
    b'\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01pZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04'
    b"\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


class OrtError(RuntimeError):
    """A graph that cannot be opened or run, or a device that is not there."""


class Provider(StrEnum):
    """Where graphs run."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A graph's input or output. dtype: numpy's name; shape: a free dimension is its name, or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class GraphSession(Protocol):
    """What the rest of the service needs of a graph; tests stand in for it."""

    def run(self, feeds: Mapping[str, Array], names: Sequence[str] | None = None) -> tuple[Array, ...]:
        """The outputs `names` (all, in the graph's order, when None) for these inputs."""
        ...


class OrtSession:
    """One open graph. Safe to share between threads."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.inputs = tuple(_spec(value) for value in session.get_inputs())
        self.outputs = tuple(_spec(value) for value in session.get_outputs())

    @property
    def provider(self) -> Provider:
        """Where this graph runs."""
        return Provider.CUDA if self._session.get_providers()[0] == _CUDA else Provider.CPU

    def run(self, feeds: Mapping[str, Array], names: Sequence[str] | None = None) -> tuple[Array, ...]:
        """The outputs `names` (all, in the graph's order, when None) for these inputs.

        Raises:
            OrtError: where onnxruntime refuses the inputs or fails.
        """
        wanted = None if names is None else list(names)
        try:
            return tuple(np.asarray(value) for value in self._session.run(wanted, dict(feeds)))
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise OrtError(f"graph run failed: {error}") from error


class Runtime:
    """Opens graphs on one device.

    Args:
        provider: `cpu`, `cuda` (an error where there is none) or `auto` (CUDA where it works, else the CPU).
        threads: intra-op threads of each session. One is right for a server: calls run side by side.

    Raises:
        OrtError: for `cuda` without a working CUDA device, an unknown provider, or threads < 1.
    """

    def __init__(self, provider: str = "auto", threads: int = 1) -> None:
        if provider not in ("auto", "cpu", "cuda"):
            raise OrtError(f"expected provider auto, cpu or cuda, got {provider!r}")
        if threads < 1:
            raise OrtError(f"expected at least 1 thread, got {threads}")
        self.threads = threads
        self.provider = Provider.CPU
        if provider != "cpu" and _cuda_works():
            self.provider = Provider.CUDA
        elif provider == "cuda":
            raise OrtError(
                f"provider cuda was asked for and no CUDA device works; this onnxruntime {ort.__version__} "
                f"offers {', '.join(ort.get_available_providers())} (the `gpu` extra brings CUDA)"
            )

    def session(self, source: Path | bytes, *, on_cpu: bool = False) -> OrtSession:
        """Opens a graph from a file or from its bytes; `on_cpu` keeps it off the GPU.

        Raises:
            OrtError: where the file is missing or is no graph that this onnxruntime reads.
        """
        provider = Provider.CPU if on_cpu else self.provider
        model = source if isinstance(source, bytes) else str(source)
        try:
            session = ort.InferenceSession(model, _options(self.threads), providers=_providers(provider))
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise OrtError(f"cannot open graph: {error}") from error
        return OrtSession(session)


def _cuda_works() -> bool:
    if _CUDA not in ort.get_available_providers():
        return False
    # CUDA's libraries come as wheels (the `gpu` extra) where the loader does not look by itself. What is
    # missing would be printed, between the results of a command line: the probe below tells all the same.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    try:
        session = ort.InferenceSession(_PROBE_GRAPH, _options(1), providers=_providers(Provider.CUDA))
    except Exception:  # whatever went wrong, there is no CUDA to use
        return False
    return bool(session.get_providers()[0] == _CUDA)


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Spinning threads burn a core between utterances.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _providers(provider: Provider) -> list[Any]:
    if provider is Provider.CPU:
        return [_CPU]
    # TF32 would move results by more than the golden tolerance.
    return [(_CUDA, {"use_tf32": "0"}), _CPU]


def _spec(value: Any) -> TensorSpec:
    names = {"tensor(float)": "float32", "tensor(double)": "float64"}
    kind = str(value.type)
    dtype = names.get(kind, kind.removeprefix("tensor(").removesuffix(")"))
    return TensorSpec(value.name, dtype, tuple(value.shape))
