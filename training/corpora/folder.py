"""A corpus of one's own: a folder of clips and a CSV that says what they are.

The CSV has a header. `file` is the path relative to the folder; `speaker` is needed unless every file is its
own speaker; `emotion`, `split` (train, dev, test or cross), `sex`, `language` and `line` (the telephone line
a clip came over) may be left out or empty. Comma or semicolon, UTF-8 with or without a byte order mark. An
unknown column is refused, for a misspelt one would lose its labels in silence.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import soundfile

from training.corpora.errors import LabelError, ManifestError
from training.corpora.labels import canonical
from training.corpora.manifest import SPLITS, Segment, clip_path
from training.corpora.splits import hash_split

COLUMNS = ("file", "emotion", "speaker", "split", "sex", "language", "line")

SEXES = ("female", "male", "other")


def prepare_folder(
    folder: Path, table: Path, *, corpus: str | None = None, file_is_speaker: bool = False
) -> list[Segment]:
    """Read a folder and its CSV.

    A row without a split goes where its speaker's other rows go, or else where the hash of the speaker says
    (`splits.hash_split`), so adding clips later moves nobody.

    Args:
        folder: where the clips are; anything soundfile reads, channels are averaged later.
        table: the CSV.
        corpus: name of the corpus, by default the folder's.
        file_is_speaker: take every file for a speaker of its own, where speakers are not known. Clips of one
            person can then land on both sides of a split, and the figures flatter.

    Raises:
        ManifestError: with every bad row as `file:line: what is wrong`.
    """
    base = Path(os.path.normpath(folder.absolute()))
    reader = _FolderReader(base, table, corpus or base.name, file_is_speaker)
    for number, row in _rows(table):
        reader.take(number, row)
    if not reader.segments and not reader.problems:
        reader.problems.append(f"{table}:1: no rows below the header")
    if reader.problems:
        raise ManifestError(reader.problems)
    return reader.split_segments()


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            rows = csv.DictReader(file, delimiter=";" if header.count(";") > header.count(",") else ",")
            _check_header(table, [name.strip() for name in rows.fieldnames or ()])
            rows.fieldnames = [name.strip() for name in rows.fieldnames or ()]
            for row in rows:
                if None in row:
                    raise ManifestError([f"{table}:{rows.line_num}: more cells than columns"])
                yield rows.line_num, {key: (value or "").strip() for key, value in row.items()}
    except OSError as error:
        raise ManifestError([f"{table}: cannot be read: {error.strerror}"]) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ManifestError([f"{table}: not a UTF-8 CSV: {error}"]) from error


def _check_header(table: Path, names: list[str]) -> None:
    problems = [
        f"{table}:1: unknown column {name!r}, expected some of {', '.join(COLUMNS)}"
        for name in names
        if name not in COLUMNS
    ]
    if "file" not in names:
        problems.append(f"{table}:1: no column 'file'")
    if len(set(names)) != len(names):
        problems.append(f"{table}:1: a column twice")
    if problems:
        raise ManifestError(problems)


class _FolderReader:
    """Rows into clips; splits are settled when every row has been seen."""

    def __init__(self, base: Path, table: Path, corpus: str, file_is_speaker: bool) -> None:
        self._base = base
        self._table = table
        self._corpus = corpus
        self._file_is_speaker = file_is_speaker
        self._line_of_file: dict[Path, int] = {}
        self._stated_split: dict[str, tuple[str, int]] = {}
        self.segments: list[Segment] = []
        self.problems: list[str] = []

    def take(self, number: int, row: dict[str, str]) -> None:
        problems: list[str] = []
        clip = self._clip(row["file"], number, problems)
        speaker = self._speaker(row, problems)
        split = self._split(row.get("split", ""), speaker, number, problems)
        emotion = _emotion(row.get("emotion", ""), problems)
        sex = row.get("sex", "").lower() or None
        if sex is not None and sex not in SEXES:
            problems.append(f"sex must be one of {', '.join(SEXES)}, got {sex!r}")
        sound = _sound(clip, problems)
        self.problems.extend(f"{self._table}:{number}: {problem}" for problem in problems)
        if problems or clip is None or sound is None:
            return
        self.segments.append(
            Segment(
                id=f"{self._corpus}/{clip.relative_to(self._base).as_posix()}",
                corpus=self._corpus,
                path=clip,
                speaker=speaker,
                duration_s=sound[0],
                split=split,
                emotion=emotion,
                sex=sex,
                language=row.get("language") or None,
                sample_rate_hz=sound[1],
                extra={"line": row["line"]} if row.get("line") else {},
            )
        )

    def split_segments(self) -> list[Segment]:
        """The clips, each with the split of its speaker."""
        return [self._settled(segment) for segment in self.segments]

    def _settled(self, segment: Segment) -> Segment:
        if segment.split:
            return segment
        stated = self._stated_split.get(segment.speaker)
        split = stated[0] if stated else hash_split(segment.speaker)
        return replace(segment, split=split)

    def _clip(self, text: str, number: int, problems: list[str]) -> Path | None:
        if not text:
            problems.append("no file")
            return None
        try:
            clip = clip_path(self._base, text)
        except ValueError as error:
            problems.append(str(error))
            return None
        first = self._line_of_file.setdefault(clip, number)
        if first != number:
            problems.append(f"file {text!r} is already in line {first}")
        return clip

    def _speaker(self, row: dict[str, str], problems: list[str]) -> str:
        name = row.get("speaker", "")
        if not name and self._file_is_speaker:
            name = row["file"]
        if not name:
            problems.append(
                "no speaker (splits keep speakers apart; if every file is a different person, say so)"
            )
        return f"{self._corpus}:{name}"

    def _split(self, split: str, speaker: str, number: int, problems: list[str]) -> str:
        if not split:
            return ""
        if split not in SPLITS:
            problems.append(f"unknown split {split!r}, expected one of {', '.join(SPLITS)}")
            return ""
        first, where = self._stated_split.setdefault(speaker, (split, number))
        if first != split:
            problems.append(f"speaker {speaker!r} is in {split!r} and (line {where}) in {first!r}")
        return split


def _emotion(word: str, problems: list[str]) -> str | None:
    if not word:
        return None
    try:
        canonical(word)
    except LabelError as error:
        problems.append(str(error))
    return word.lower()


def _sound(clip: Path | None, problems: list[str]) -> tuple[float, int] | None:
    """Seconds and sample rate of a file, or None with a problem."""
    if clip is None:
        return None
    if not clip.is_file():
        problems.append(f"no such file: {clip}")
        return None
    try:
        info = soundfile.info(clip)
    except (soundfile.SoundFileError, OSError):
        problems.append(f"not a sound file that can be read: {clip}")
        return None
    if info.frames <= 0:
        problems.append(f"holds no audio: {clip}")
        return None
    return info.frames / info.samplerate, int(info.samplerate)
