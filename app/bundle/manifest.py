"""What a bundle says of itself: `manifest.json` and `golden.json` as pydantic models, and the seal.

The exporter writes with these models and the loader reads with them. `docs/bundle.md` gives every field.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

MANIFEST_FILE = "manifest.json"
GOLDEN_FILE = "golden.json"
SCHEMA_VERSION: Final = 1
DEFAULT_HEAD = "default"

_UNSEALED = "0" * 64
_SEAL_FIELD = "manifest_sha256"
_SEAL_PATTERN = re.compile(rf'"{_SEAL_FIELD}": "([0-9a-f]{{64}})"'.encode())

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
RelativePath = Annotated[str, Field(min_length=1, max_length=200)]
PositiveInt = Annotated[int, Field(ge=1)]
Variant = Literal["fp32", "int8"]


class BundleError(Exception):
    """A bundle that must not be served. The message names the check, what it expected and what it got."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TokenizerSpec(_Strict):
    """The waveform-to-token graph. hop_samples: samples per token; block_samples: samples per run."""

    file: RelativePath
    hop_samples: PositiveInt
    block_samples: PositiveInt
    state_size: PositiveInt
    codebook_sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole_hops(self) -> Self:
        if self.block_samples % self.hop_samples:
            raise ValueError(f"expected block_samples to be a multiple of {self.hop_samples}")
        return self

    @property
    def num_codebooks(self) -> int:
        """K: token ids per hop."""
        return len(self.codebook_sizes)


class EncoderVariant(_Strict):
    """One numerical form of the encoder."""

    file: RelativePath


class EncoderSpec(_Strict):
    """The token-to-embedding graph.

    min_tokens: shortest utterance it is meant for. max_tokens: longest run; more is windowed.
    """

    variants: Annotated[dict[Variant, EncoderVariant], Field(min_length=1)]
    default: Variant
    embedding_dim: PositiveInt
    min_tokens: PositiveInt
    max_tokens: PositiveInt

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.default not in self.variants:
            raise ValueError(f"expected default to be one of {sorted(self.variants)}, got {self.default!r}")
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"expected min_tokens <= max_tokens, got {self.min_tokens} > {self.max_tokens}")
        return self


class CalibrationSpec(_Strict):
    """posterior = softmax(logits / temperature)."""

    kind: Literal["temperature"] = "temperature"
    temperature: Annotated[float, Field(gt=0)]


class DimensionsSpec(_Strict):
    """How arousal and valence were obtained, in words."""

    source: Annotated[str, Field(min_length=1)]


class SoundSpec(_Strict):
    """One kind of sound. role: `speech`; `event`, uttered without words, which is named; `rejected`, never scored."""

    name: Name
    role: Literal["speech", "event", "rejected"]


class SoundsSpec(_Strict):
    """Kinds in the order of the head's sound output; event_threshold: least posterior of an event that is named."""

    kinds: Annotated[list[SoundSpec], Field(min_length=2)]
    event_threshold: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [kind.name for kind in self.kinds]
        if len(set(names)) != len(names):
            raise ValueError(f"expected distinct kinds of sound, got {names}")
        if len(self.of("speech")) != 1 or not self.of("rejected"):
            raise ValueError(
                "expected exactly one kind of sound that is speech, and one or more that are rejected"
            )
        return self

    def of(self, role: Literal["speech", "event", "rejected"]) -> tuple[str, ...]:
        """Names of the kinds of a role, in order."""
        return tuple(kind.name for kind in self.kinds if kind.role == role)


class HeadSpec(_Strict):
    """A head: categories in the order of its logits.

    speech_threshold: an utterance whose speech logit lies below it is not speech. sounds: what kinds of sound it tells
    apart; None for a head without that output.
    """

    file: RelativePath
    categories: Annotated[list[Name], Field(min_length=2)]
    calibration: CalibrationSpec
    speech_threshold: float
    dimensions: DimensionsSpec
    sounds: SoundsSpec | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.categories)) != len(self.categories):
            raise ValueError(f"expected distinct categories, got {self.categories}")
        return self


class LineProfileSpec(_Strict):
    """The population that line profiles are shrunk towards, over D embedding dimensions."""

    prior_n: Annotated[float, Field(ge=0)]
    population_mean: list[float]
    population_var: list[Annotated[float, Field(gt=0)]]


class AbstainSpec(_Strict):
    """When not to name an emotion: speech shorter than, SNR lower than, top posterior lower than."""

    min_speech_s: Annotated[float, Field(ge=0)]
    min_snr_db: float
    min_confidence: Annotated[float, Field(ge=0, le=1)]


class Manifest(_Strict):
    """A bundle's manifest. files: sha256 of every file of the folder but the manifest, by relative path.

    golden_tolerance: largest absolute difference allowed on embedding, logits, arousal, valence, speech and sound.
    manifest_sha256: the seal, put in by `write_manifest`: a hash of the manifest's own bytes.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: Name
    version: Name
    sample_rate_hz: Literal[8000] = 8000
    tokenizer: TokenizerSpec
    encoder: EncoderSpec
    heads: Annotated[dict[Name, HeadSpec], Field(min_length=1)]
    line_profile: LineProfileSpec
    abstain: AbstainSpec
    files: dict[RelativePath, Sha256]
    golden_tolerance: Annotated[float, Field(gt=0)]
    provenance: dict[str, Any]
    metrics: dict[str, Any]
    manifest_sha256: Sha256 = _UNSEALED

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if DEFAULT_HEAD not in self.heads:
            raise ValueError(f"expected a head named {DEFAULT_HEAD!r}, got {sorted(self.heads)}")
        dim = self.encoder.embedding_dim
        for field in ("population_mean", "population_var"):
            got = len(getattr(self.line_profile, field))
            if got != dim:
                raise ValueError(f"line_profile.{field}: expected {dim} numbers, got {got}")
        for path in self.files:
            check_relative_path(path)
        for path in self.needed_files():
            if path not in self.files:
                raise ValueError(f"expected the hash of {path!r} in files")
        return self

    def needed_files(self) -> list[str]:
        """Paths that the service opens: every graph named, and the golden pairs."""
        variants = [variant.file for variant in self.encoder.variants.values()]
        return [self.tokenizer.file, *variants, *(head.file for head in self.heads.values()), GOLDEN_FILE]

    @property
    def model_id(self) -> str:
        """What line profiles name as the origin of their embeddings, `name/version`."""
        return f"{self.name}/{self.version}"


class GoldenPair(_Strict):
    """One input and what the graphs gave for it where the bundle was made; cold profile, no earlier leg.

    samples_i16_b64: base64 of int16 little-endian audio at 8 kHz. variant: the encoder that made the outputs.
    tokens: [K][T] for the whole clip, in blocks; tokens_sha256: of those as int64 little-endian, C order.
    The rest are the outputs of the default head; sound only where its spec has `sounds`.
    """

    variant: Variant
    samples_i16_b64: str
    tokens_sha256: Sha256
    tokens: list[list[int]]
    embedding: list[float]
    logits: list[float]
    arousal: float
    valence: float
    speech: float
    sound: list[float] | None = None


_GOLDEN_PAIRS = TypeAdapter(list[GoldenPair])


def check_relative_path(path: str) -> PurePosixPath:
    """A path inside the bundle, in its one normal form.

    Raises:
        ValueError: for an absolute path, a `..`, a backslash, a drive or an unusual spelling (`a//b`, `./a`).
    """
    parsed = PurePosixPath(path)
    if "\\" in path or ":" in path or "\0" in path or parsed.is_absolute() or ".." in parsed.parts:
        raise ValueError(f"path escapes the bundle folder: {path!r}")
    if str(parsed) != path or path in (".", MANIFEST_FILE):
        raise ValueError(f"expected a plain relative path other than {MANIFEST_FILE}, got {path!r}")
    return parsed


def parse_manifest(data: bytes) -> Manifest:
    """Reads `manifest.json`, failing closed.

    Raises:
        BundleError: for text that is not JSON, a schema version this service does not read, a field that is
            missing, unknown or wrong, or a seal that does not match.
    """
    document = _parse_json(data, MANIFEST_FILE)
    if not isinstance(document, dict):
        raise BundleError(f"schema: {MANIFEST_FILE}: expected an object, got {type(document).__name__}")
    version = document.get("schema_version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise BundleError(f"schema: expected schema_version to be a whole number, got {version!r}")
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"schema: the bundle has schema_version {version}, this service reads up to {SCHEMA_VERSION}: "
            "upgrade the service or use an older bundle"
        )
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        raise BundleError(f"schema: {MANIFEST_FILE}: {_first_problem(error)}") from error
    _check_seal(data, manifest)
    return manifest


def parse_golden(data: bytes) -> list[GoldenPair]:
    """Reads `golden.json`.

    Raises:
        BundleError: for text that is not JSON, or a field that is missing, unknown or wrong.
    """
    try:
        return _GOLDEN_PAIRS.validate_python(_parse_json(data, GOLDEN_FILE))
    except ValidationError as error:
        raise BundleError(f"schema: {GOLDEN_FILE}: {_first_problem(error)}") from error


def write_golden(folder: Path, pairs: list[GoldenPair]) -> None:
    """Writes `golden.json`; hash the folder after this."""
    (folder / GOLDEN_FILE).write_bytes(_GOLDEN_PAIRS.dump_json(pairs) + b"\n")


def hash_files(folder: Path) -> dict[str, str]:
    """What goes into `Manifest.files`: sha256 of every file below `folder` but the manifest."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: sha256_hex(path.read_bytes()) for name, path in names.items() if name != MANIFEST_FILE}


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Seals the manifest and writes it; returns it as a reader will see it.

    The seal is the sha256 of the file's own bytes with the 64 digits of the seal set to 0. It finds damage
    and careless edits; it is no signature.
    """
    document = manifest.model_dump(mode="json") | {_SEAL_FIELD: _UNSEALED}
    blank = (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    seal = sha256_hex(blank)
    (folder / MANIFEST_FILE).write_bytes(_SEAL_PATTERN.sub(f'"{_SEAL_FIELD}": "{seal}"'.encode(), blank))
    return manifest.model_copy(update={_SEAL_FIELD: seal})


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal sha256."""
    return hashlib.sha256(data).hexdigest()


def _check_seal(data: bytes, manifest: Manifest) -> None:
    blank, count = _SEAL_PATTERN.subn(f'"{_SEAL_FIELD}": "{_UNSEALED}"'.encode(), data)
    if count != 1:
        raise BundleError(f"hash: expected one {_SEAL_FIELD} in {MANIFEST_FILE}, got {count}")
    got = sha256_hex(blank)
    if got != manifest.manifest_sha256:
        raise BundleError(f"hash: {MANIFEST_FILE}: expected {manifest.manifest_sha256}, got {got}")


def _parse_json(data: bytes, name: str) -> object:
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"schema: {name} is not JSON: {error}") from error


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _first_problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the whole"
    return f"{where}: {first['msg']}"
