"""Manifests: one JSON object a line, one clip a line, checked as a whole before anything is trained on it.

A line holds `id, path, duration_s, split` and, for speech, `corpus` and `speaker`; it may hold `emotion, sex,
language, text_id, sample_rate` (Hz), `votes` (listener counts by category), `arousal` (`low`, `neutral`,
`high`, or a number in [-1, 1]), `kind`, `modality` and anything else, which is kept in `Segment.extra`.
A line with a `kind` is a sound rather than somebody's speech: it may leave out `corpus` (then `noise`) and
`speaker` (then the clip is its own source: `noise:<id>`). Paths are relative to the corpora's root.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from training.corpora.errors import ManifestError

Modality = Literal["audio", "audiovisual"]

SPLITS = ("train", "dev", "test", "cross")
"""`cross` is for evaluation on a corpus that nothing was trained or selected on."""

AROUSAL_LEVELS: Mapping[str, float] = {"low": -0.7, "neutral": 0.0, "high": 0.7}
"""Where the three spoken levels of BAVED are put on [-1, 1]: a mapping chosen here, not a measurement."""

_KNOWN_KEYS = frozenset(
    {
        "id",
        "corpus",
        "path",
        "speaker",
        "emotion",
        "sex",
        "language",
        "text_id",
        "duration_s",
        "split",
        "sample_rate",
        "sample_rate_hz",
        "votes",
        "arousal",
        "kind",
        "modality",
    }
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A labelled or unlabelled stretch of a corpus recording: here always a whole clip.

    id: unique in its manifest. path: absolute. speaker: `corpus:name`, the unit that splits keep apart.
    emotion: the corpus's own word, None without a label (`labels.canonical` maps it).
    sample_rate_hz: rate of the source where the manifest says so. votes: listeners by category.
    arousal: [-1, 1]. kind: what a noise clip is. extra: every further key of the line, untouched.
    """

    id: str
    corpus: str
    path: Path
    speaker: str
    duration_s: float
    split: str
    emotion: str | None = None
    sex: str | None = None
    language: str | None = None
    text_id: str | None = None
    sample_rate_hz: int | None = None
    votes: Mapping[str, float] | None = field(default=None, hash=False)
    arousal: float | None = None
    kind: str | None = None
    modality: Modality = "audio"
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


def read_manifest(
    path: Path, root: Path, *, only: str | None = None, check_files: bool = False
) -> list[Segment]:
    """Read and check a manifest; clips keep the file's order.

    Args:
        path: the JSONL file (UTF-8; blank lines are skipped).
        root: folder that the lines' paths are relative to; none may lead out of it. Symbolic links inside
            it are followed, so that data may lie on another disk.
        only: give just the clips of this corpus; lines of other corpora are skipped unchecked.
        check_files: also demand that every clip is there.

    Raises:
        ManifestError: with every problem of the file, each as `file:line: what is wrong`.
    """
    base = Path(os.path.normpath(root.absolute()))
    reader = _Reader(path, base, check_files)
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                reader.take(number, raw, only)
    except OSError as error:
        raise ManifestError([f"{path}: cannot be read: {error.strerror}"]) from error
    if reader.problems:
        raise ManifestError(reader.problems)
    return reader.segments


def write_manifest(segments: Iterable[Segment], path: Path, root: Path) -> None:
    """Write clips so that `read_manifest(path, root)` gives equal ones back; the file appears whole or not.

    Raises:
        ManifestError: a clip lies outside `root`.
    """
    base = Path(os.path.normpath(root.absolute()))
    lines = [json.dumps(_as_line(segment, base), ensure_ascii=False, allow_nan=False) for segment in segments]
    partial = path.with_name(path.name + ".part")
    partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    partial.replace(path)


def clip_path(base: Path, text: str) -> Path:
    """Where a relative path lies under an absolute, normalised folder.

    Raises:
        ValueError: it is absolute, leads out of the folder, or can't be printed.
    """
    clip = Path(os.path.normpath(base / text))
    if not text.isprintable():
        raise ValueError(f"path must be printable, got {_short(text)}")
    if Path(text).is_absolute() or clip == base or not clip.is_relative_to(base):
        raise ValueError(f"path must be relative and stay under {base}, got {_short(text)}")
    return clip


def _as_line(segment: Segment, base: Path) -> dict[str, Any]:
    if not segment.path.is_relative_to(base):
        raise ManifestError([f"clip {segment.id!r}: {segment.path} is not under {base}"])
    line: dict[str, Any] = {
        "id": segment.id,
        "corpus": segment.corpus,
        "path": segment.path.relative_to(base).as_posix(),
        "speaker": segment.speaker,
        "emotion": segment.emotion,
        "sex": segment.sex,
        "language": segment.language,
        "text_id": segment.text_id,
        "duration_s": segment.duration_s,
        "split": segment.split,
        "sample_rate": segment.sample_rate_hz,
        "votes": None if segment.votes is None else dict(segment.votes),
        "arousal": segment.arousal,
        "kind": segment.kind,
        "modality": segment.modality,
    }
    kept = {key: value for key, value in line.items() if value is not None or key == "emotion"}
    return {**kept, **{key: value for key, value in segment.extra.items() if key not in _KNOWN_KEYS}}


class _Reader:
    """Collects clips and problems line by line, with what must be unique or agree over the file."""

    def __init__(self, path: Path, base: Path, check_files: bool) -> None:
        self._path = path
        self._base = base
        self._check_files = check_files
        self._line_of_id: dict[str, int] = {}
        self._split_of_speaker: dict[str, tuple[str, int]] = {}
        self.segments: list[Segment] = []
        self.problems: list[str] = []

    def take(self, number: int, raw: bytes, only: str | None) -> None:
        if not raw.strip():
            return
        try:
            fields = _parse_object(raw, first=number == 1)
        except ValueError as error:
            self._report(number, str(error))
            return
        if only is not None and (fields.get("corpus") or ("noise" if "kind" in fields else None)) != only:
            return
        line = _Line(fields, self._base)
        segment = line.segment()
        for problem in line.problems:
            self._report(number, problem)
        if segment is not None and self._agrees(number, segment):
            self.segments.append(segment)

    def _agrees(self, number: int, segment: Segment) -> bool:
        before = len(self.problems)
        first = self._line_of_id.setdefault(segment.id, number)
        if first != number:
            self._report(number, f"duplicate id {segment.id!r}, first in line {first}")
        split, where = self._split_of_speaker.setdefault(segment.speaker, (segment.split, number))
        if split != segment.split:
            self._report(
                number, f"speaker {segment.speaker!r} is in {segment.split!r} and (line {where}) in {split!r}"
            )
        if self._check_files and not segment.path.is_file():
            self._report(number, f"no such file: {segment.path}")
        return len(self.problems) == before

    def _report(self, number: int, problem: str) -> None:
        self.problems.append(f"{self._path}:{number}: {problem}")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"not JSON: {name} is not a number")


def _parse_object(raw: bytes, *, first: bool) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8-sig" if first else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8: byte {error.start}") from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")
    return value


class _Line:
    """One object of a manifest, taken apart field by field; what is wrong goes to `problems`."""

    def __init__(self, fields: Mapping[str, Any], base: Path) -> None:
        self._fields = fields
        self._base = base
        self.problems: list[str] = []

    def segment(self) -> Segment | None:
        """The clip, or None where `problems` says why not."""
        kind = self._text("kind")
        named = {
            "id": self._text("id", required=True),
            "corpus": self._text("corpus", required=kind is None) or "noise",
            "speaker": self._text("speaker", required=kind is None),
            "split": self._text("split", required=True),
        }
        if named["split"] is not None and named["split"] not in SPLITS:
            self._wrong(f"unknown split {named['split']!r}, expected one of {', '.join(SPLITS)}")
        path = self._clip()
        duration_s = self._number("duration_s", required=True)
        if duration_s is not None and duration_s <= 0:
            self._wrong(f"duration_s must be above 0, got {duration_s!r}")
        optional = {key: self._text(key) for key in ("emotion", "sex", "language", "text_id")}
        rest = (self._rate(), self._votes(), self._arousal(), self._modality())
        if self.problems:
            return None
        rate, votes, arousal, modality = rest
        return Segment(
            id=cast(str, named["id"]),
            corpus=cast(str, named["corpus"]),
            path=cast(Path, path),
            speaker=named["speaker"] or f"noise:{named['id']}",
            duration_s=cast(float, duration_s),
            split=cast(str, named["split"]),
            **optional,
            sample_rate_hz=rate,
            votes=votes,
            arousal=arousal,
            kind=kind,
            modality=modality,
            extra={key: value for key, value in self._fields.items() if key not in _KNOWN_KEYS},
        )

    def _wrong(self, problem: str) -> None:
        self.problems.append(problem)

    def _get(self, key: str, expected: str, fits: Callable[[Any], bool], required: bool = False) -> Any:
        value = self._fields.get(key)
        if value is None:
            if required:
                self._wrong(f"missing field {key!r}")
            return None
        if not fits(value):
            self._wrong(f"{key} must be {expected}, got {_short(value)}")
            return None
        return value

    def _text(self, key: str, *, required: bool = False) -> str | None:
        return cast("str | None", self._get(key, "a non-empty string", _is_text, required))

    def _number(self, key: str, *, required: bool = False) -> float | None:
        value = self._get(key, "a finite number", _is_number, required)
        return None if value is None else float(value)

    def _clip(self) -> Path | None:
        text = self._text("path", required=True)
        if text is None:
            return None
        try:
            return clip_path(self._base, text)
        except ValueError as error:
            self._wrong(str(error))
            return None

    def _rate(self) -> int | None:
        for key in ("sample_rate_hz", "sample_rate"):
            value = self._get(key, "a whole number above 0", lambda v: type(v) is int and v > 0)
            if value is not None:
                return cast(int, value)
        return None

    def _votes(self) -> Mapping[str, float] | None:
        votes = self._get("votes", "counts ≥ 0 by category, not all 0", _is_votes)
        return None if votes is None else {name: float(count) for name, count in votes.items()}

    def _arousal(self) -> float | None:
        expected = f"one of {', '.join(AROUSAL_LEVELS)} or a number in [-1, 1]"
        value = self._get("arousal", expected, _is_arousal)
        if value is None:
            return None
        return AROUSAL_LEVELS[value] if isinstance(value, str) else float(value)

    def _modality(self) -> Modality:
        value = self._get("modality", "'audio' or 'audiovisual'", lambda v: v in ("audio", "audiovisual"))
        if value is None:
            return "audiovisual" if "fps" in self._fields else "audio"
        return cast(Modality, value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _is_votes(value: Any) -> bool:
    if not isinstance(value, dict) or not all(_is_text(k) and _is_number(v) for k, v in value.items()):
        return False
    return all(count >= 0 for count in value.values()) and sum(value.values()) > 0


def _is_arousal(value: Any) -> bool:
    if isinstance(value, str):
        return value in AROUSAL_LEVELS
    return _is_number(value) and -1 <= value <= 1


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
