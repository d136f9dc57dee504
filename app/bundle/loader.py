"""Opens a bundle, failing closed: schema, seal, hashes, graph shapes, golden pairs, in that order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.bundle.golden import GoldenGraphs, check_pair, uncovered_variants
from app.bundle.manifest import (
    DEFAULT_HEAD,
    GOLDEN_FILE,
    MANIFEST_FILE,
    BundleError,
    GoldenPair,
    HeadSpec,
    Manifest,
    TokenizerSpec,
    Variant,
    parse_golden,
    parse_manifest,
    sha256_hex,
)
from app.ort import GraphSession, OrtError, OrtSession, Provider, Runtime, TensorSpec

Shape = tuple[str | int, ...]
"""Expected dimensions: a number is exact, a name is free."""
Tensors = dict[str, tuple[str, Shape]]


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle that passed every check, with its graphs open.

    variant: which form of the encoder is in service. provider: where the encoder runs; the tokenizer and
    the heads always run on the CPU: they are small, and their results then depend on nothing else.
    """

    path: Path
    manifest: Manifest
    variant: Variant
    provider: Provider
    tokenizer: GraphSession
    encoder: GraphSession
    heads: Mapping[str, GraphSession]


def load_bundle(path: Path, runtime: Runtime, *, variant: str = "auto") -> LoadedBundle:
    """Opens the bundle in folder `path`.

    Args:
        path: the folder.
        runtime: where to run the graphs.
        variant: `fp32`, `int8`, or `auto`: the manifest's default on the CPU, fp32 on CUDA (which has no
            kernels for dynamic int8) where the bundle has it.

    Raises:
        BundleError: naming the check that failed, with what was expected and what was got.
    """
    manifest, contents = _read_checked(path)
    chosen = choose_variant(manifest, runtime.provider, variant)
    pairs = parse_golden(contents[GOLDEN_FILE])
    for missing, file in uncovered_variants(manifest, pairs).items():
        raise BundleError(f"golden: expected a pair for encoder variant {missing} ({file}), got none")
    tokenizer = _open(runtime, contents, manifest.tokenizer.file, on_cpu=True)
    encoder = _open(runtime, contents, manifest.encoder.variants[chosen].file)
    heads = {name: _open(runtime, contents, s.file, on_cpu=True) for name, s in manifest.heads.items()}
    _check_tokenizer(manifest.tokenizer, tokenizer)
    _check_encoder(manifest, chosen, encoder)
    for name, head in heads.items():
        _check_head(manifest.heads[name], head, manifest.encoder.embedding_dim)
    bundle = LoadedBundle(path, manifest, chosen, runtime.provider, tokenizer, encoder, heads)
    _check_golden(bundle, pairs)
    return bundle


def verify_bundle(path: Path, runtime: Runtime) -> list[LoadedBundle]:
    """Loads the bundle once for each encoder variant; what `python -m app bundle verify` reports on.

    Raises:
        BundleError: as `load_bundle`.
    """
    manifest, _ = _read_checked(path)
    return [load_bundle(path, runtime, variant=variant) for variant in manifest.encoder.variants]


def choose_variant(manifest: Manifest, provider: Provider, variant: str) -> Variant:
    """Which form of the encoder to serve; see `load_bundle`.

    Raises:
        BundleError: where the bundle has no such variant.
    """
    offered = manifest.encoder.variants
    if variant == "auto":
        return "fp32" if provider is Provider.CUDA and "fp32" in offered else manifest.encoder.default
    for name in offered:
        if name == variant:
            return name
    raise BundleError(f"variant: expected auto or one of {sorted(offered)}, got {variant!r}")


def _read_checked(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Manifest and the bytes of every file. Each is read once: what was hashed is what is used."""
    if not path.is_dir():
        raise BundleError(f"missing file: expected a bundle folder at {path}")
    manifest = parse_manifest(_read(path, MANIFEST_FILE))
    contents = {}
    for name, expected in manifest.files.items():
        contents[name] = _read(path, name)
        got = sha256_hex(contents[name])
        if got != expected:
            raise BundleError(f"hash: {name}: expected {expected}, got {got}")
    _refuse_unlisted(path, manifest)
    return manifest, contents


def _read(folder: Path, name: str) -> bytes:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"path: {name}: expected a file inside the bundle, got a link out of it")
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"missing file: expected {name} in {folder}") from error
    except OSError as error:
        raise BundleError(f"missing file: cannot read {name}: {error.strerror}") from error


def _refuse_unlisted(folder: Path, manifest: Manifest) -> None:
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()}
    unlisted = sorted(found - set(manifest.files) - {MANIFEST_FILE})
    if unlisted:
        raise BundleError(f"unlisted file: expected only the manifest's files, got {', '.join(unlisted[:5])}")


def _open(runtime: Runtime, contents: Mapping[str, bytes], name: str, *, on_cpu: bool = False) -> OrtSession:
    try:
        return runtime.session(contents[name], on_cpu=on_cpu)
    except OrtError as error:
        raise BundleError(f"graph: {name}: {error}") from error


def _check_tokenizer(spec: TokenizerSpec, session: OrtSession) -> None:
    state: tuple[str, Shape] = ("float32", ("B", spec.state_size))
    tokens: tuple[str, Shape] = ("int64", ("B", spec.num_codebooks, "T"))
    inputs: Tensors = {"audio": ("float32", ("B", "N")), "state": state}
    _check_tensors(spec.file, session, inputs, {"tokens": tokens, "state_out": state})


def _check_encoder(manifest: Manifest, variant: Variant, session: OrtSession) -> None:
    spec = manifest.encoder
    inputs: Tensors = {
        "tokens": ("int64", ("B", manifest.tokenizer.num_codebooks, "T")),
        "length": ("int64", ("B",)),
    }
    outputs: Tensors = {
        "embedding": ("float32", ("B", spec.embedding_dim)),
        "salience": ("float32", ("B", "T")),
    }
    _check_tensors(spec.variants[variant].file, session, inputs, outputs)


def _check_head(spec: HeadSpec, session: OrtSession, dim: int) -> None:
    vector: tuple[str, Shape] = ("float32", ("B", dim))
    scalar: tuple[str, Shape] = ("float32", ("B",))
    inputs = dict.fromkeys(("embedding", "line_mean", "line_std", "leg_mean"), vector)
    outputs = dict.fromkeys(("arousal", "valence", "speech"), scalar)
    logits: Tensors = {"logits": ("float32", ("B", len(spec.categories)))}
    sound: Tensors = {} if spec.sounds is None else {"sound": ("float32", ("B", len(spec.sounds.kinds)))}
    counts = dict.fromkeys(("line_n", "leg_n"), scalar)
    _check_tensors(spec.file, session, inputs | counts, outputs | logits | sound)


def _check_tensors(
    file: str,
    session: OrtSession,
    inputs: Tensors,
    outputs: Tensors,
) -> None:
    for kind, expected, found in (("input", inputs, session.inputs), ("output", outputs, session.outputs)):
        by_name = {tensor.name: tensor for tensor in found}
        if kind == "input" and set(by_name) != set(expected):
            raise BundleError(f"graph: {file}: expected inputs {sorted(expected)}, got {sorted(by_name)}")
        for name, (dtype, shape) in expected.items():
            tensor = by_name.get(name)
            if tensor is None:
                raise BundleError(f"graph: {file}: expected an output {name}, got {sorted(by_name)}")
            if tensor.dtype != dtype or not _fits(tensor, shape):
                raise BundleError(
                    f"graph: {file}: {kind} {name}: expected {dtype} {_text(shape)}, "
                    f"got {tensor.dtype} {_text(tensor.shape)}"
                )


def _fits(tensor: TensorSpec, shape: Shape) -> bool:
    """Same rank; a number asked for may be free in the graph, a free one asked for must be."""
    if len(tensor.shape) != len(shape):
        return False
    return all(
        wanted == got if isinstance(got, int) and isinstance(wanted, int) else not isinstance(got, int)
        for got, wanted in zip(tensor.shape, shape, strict=True)
    )


def _text(shape: tuple[str | int | None, ...]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def _check_golden(bundle: LoadedBundle, pairs: list[GoldenPair]) -> None:
    graphs = GoldenGraphs(bundle.tokenizer, bundle.encoder, bundle.heads[DEFAULT_HEAD])
    for index, pair in enumerate(pairs):
        if pair.variant == bundle.variant:
            try:
                check_pair(bundle.manifest, graphs, pair, f"golden pair {index} ({pair.variant})")
            except OrtError as error:
                raise BundleError(f"golden pair {index}: {error}") from error
