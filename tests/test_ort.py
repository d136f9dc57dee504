"""The onnxruntime seam: devices, threads, errors, sharing one session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import app.ort
from app.ort import OrtError, Provider, Runtime, TensorSpec
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with two inputs and two outputs."""
    return write_tiny_bundle(tmp_path_factory.mktemp("ort") / "bundle") / "encoder.onnx"


def _feeds(tokens: int) -> dict[str, Any]:
    rng = np.random.default_rng(tokens)
    return {
        "tokens": rng.integers(0, 16, (1, 4, tokens)),
        "length": np.array([tokens], dtype=np.int64),
    }


class _CudaSession:
    """Stands in for an InferenceSession on a machine with a GPU; remembers what it was asked for."""

    asked: list[list[Any]]

    def __init__(self, model: object, options: object, providers: list[Any]) -> None:
        type(self).asked.append(providers)
        self._providers = [p[0] if isinstance(p, tuple) else p for p in providers]

    def get_providers(self) -> list[str]:
        return self._providers

    def get_inputs(self) -> list[Any]:
        return []

    get_outputs = get_inputs


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> type[_CudaSession]:
    """A machine whose CUDA works."""
    _CudaSession.asked = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", _CudaSession)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    return _CudaSession


def test_describes_inputs_and_outputs(encoder_file: Path) -> None:
    """A session tells names, numpy types and shapes, free dimensions by name."""
    session = Runtime("cpu").session(encoder_file)
    assert session.inputs == (
        TensorSpec("tokens", "int64", ("B", 4, "T")),
        TensorSpec("length", "int64", ("B",)),
    )
    assert session.outputs[0] == TensorSpec("embedding", "float32", ("B", 16))
    assert session.provider is Provider.CPU


def test_file_and_bytes_are_the_same_graph(encoder_file: Path) -> None:
    """A graph opened from its bytes gives what the file gives."""
    runtime = Runtime("cpu", threads=2)
    from_file = runtime.session(encoder_file).run(_feeds(9))
    from_bytes = runtime.session(encoder_file.read_bytes()).run(_feeds(9))
    assert all(np.array_equal(a, b) for a, b in zip(from_file, from_bytes, strict=True))


def test_outputs_come_in_the_order_asked(encoder_file: Path) -> None:
    """Named outputs come in the order of the names, whatever the graph's order."""
    session = Runtime("cpu").session(encoder_file)
    salience, embedding = session.run(_feeds(9), ("salience", "embedding"))
    assert salience.shape == (1, 9)
    assert embedding.shape == (1, 16)


def test_one_session_serves_many_threads(encoder_file: Path) -> None:
    """Concurrent runs on one session give each caller what a lone run gives."""
    session = Runtime("cpu").session(encoder_file)
    lengths = [5 + i % 40 for i in range(200)]
    alone = [session.run(_feeds(n))[0] for n in lengths]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda n: session.run(_feeds(n))[0], lengths))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_sessions_never_spin_and_are_sequential() -> None:
    """Threads sleep between runs, and the intra-op count is the one given."""
    options = app.ort._options(3)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.get_session_config_entry("session.inter_op.allow_spinning") == "0"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


@pytest.mark.parametrize("bad", [b"", b"not a graph"])
def test_bytes_that_are_no_graph_are_refused(bad: bytes) -> None:
    """Bytes that are no graph raise an error of ours."""
    with pytest.raises(OrtError, match="cannot open graph"):
        Runtime("cpu").session(bad)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A missing file raises an error of ours that names it."""
    with pytest.raises(OrtError, match=r"absent\.onnx"):
        Runtime("cpu").session(tmp_path / "absent.onnx")


def test_wrong_input_is_refused(encoder_file: Path) -> None:
    """An input of another rank raises an error of ours, and the session still works after it."""
    session = Runtime("cpu").session(encoder_file)
    with pytest.raises(OrtError, match="graph run failed"):
        session.run(_feeds(9) | {"length": np.zeros((1, 1), np.int64)})
    assert session.run(_feeds(9))[0].shape == (1, 16)


@pytest.mark.parametrize(("provider", "threads", "message"), [("tpu", 1, "got 'tpu'"), ("cpu", 0, "got 0")])
def test_arguments_are_checked(provider: str, threads: int, message: str) -> None:
    """An unknown provider or no thread at all is refused."""
    with pytest.raises(OrtError, match=message):
        Runtime(provider, threads)


def test_auto_takes_the_cpu_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a CUDA provider `auto` is the CPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert Runtime("auto").provider is Provider.CPU


def test_cuda_that_is_absent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for CUDA where there is none is refused, not quietly served by the CPU."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(OrtError, match="no CUDA device works"):
        Runtime("cuda")


def test_cuda_that_is_built_in_but_broken_is_not_taken(
    cuda: type[_CudaSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel with CUDA on a machine whose driver fails falls back under `auto`."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    assert Runtime("auto").provider is Provider.CPU


def test_libraries_of_cuda_are_looked_for_in_silence(
    cuda: type[_CudaSession], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The wheels' own libraries are loaded first, and nothing comes between the results on stdout."""
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcufft"))  # noqa: T201
    assert Runtime("auto").provider is Provider.CUDA
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_cuda_is_taken_where_it_works(cuda: type[_CudaSession], provider: str) -> None:
    """With a working device graphs run on CUDA without TF32, but for those kept on the CPU."""
    runtime = Runtime(provider)
    assert runtime.provider is Provider.CUDA
    assert runtime.session(b"graph").provider is Provider.CUDA
    assert runtime.session(b"graph", on_cpu=True).provider is Provider.CPU
    assert cuda.asked[1] == [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    assert cuda.asked[2] == ["CPUExecutionProvider"]


def test_the_probe_is_a_valid_graph() -> None:
    """The graph that probes for CUDA passes onnx's checker and is the identity."""
    onnx.checker.check_model(onnx.load_model_from_string(app.ort._PROBE_GRAPH))
    value = np.array([2.5], dtype=np.float32)
    assert Runtime("cpu").session(app.ort._PROBE_GRAPH).run({"x": value})[0] == value
