"""CREMA-D: 78 US actors (of 91), twelve sentences, here only the clips meant happy or sad (Cao et al. 2014).

Licence: ODbL 1.0.
Traps: the label is what the actor meant. Listeners who heard the voice alone agreed for 34 % of the happy and
23 % of the sad clips (ties counted) and called 59 % of all neutral. `votes.csv` holds their counts over six
categories, which `prepare` adds: train on the votes (`labels.target` does), and report on the clips where
vote and intent agree (`labels.agrees_with_listeners`) beside them. One clip is meant neutral.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

from training.corpora.errors import ManifestError
from training.corpora.manifest import Segment
from training.corpora.recipe import LABELLED, CorpusFacts, check_names, read_corpus

FACTS = CorpusFacts(
    name="crema_d", manifest=LABELLED, language="en", licence="ODbL 1.0", cite="Cao et al. 2014"
)

INTENT_CODES = {"HAP": "happy", "SAD": "sad", "NEU": "neutral"}
VOTED = ("angry", "disgust", "fear", "happy", "neutral", "sad")
VOTES_FILE = "crema_d/votes.csv"


def prepare(corpora_root: Path) -> list[Segment]:
    """All clips with their listeners' votes and the speaker's sex.

    Raises:
        ManifestError: bad lines in the manifest or in `votes.csv`, or a clip without votes.
    """
    segments = check_names(read_corpus(corpora_root, FACTS), lambda name: name.split("_")[2], INTENT_CODES)
    path = corpora_root / VOTES_FILE
    votes = read_votes(path)
    missing = [f"{path}: no votes for clip {s.id!r}" for s in segments if s.id not in votes]
    if missing:
        raise ManifestError(missing)
    return [replace(s, votes=votes[s.id][0], sex=votes[s.id][1]) for s in segments]


def read_votes(path: Path) -> dict[str, tuple[dict[str, float], str]]:
    """Clip id → (listeners by category, the speaker's sex).

    Raises:
        ManifestError: with every bad row as `file:line: what is wrong`.
    """
    votes: dict[str, tuple[dict[str, float], str]] = {}
    problems: list[str] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if missing := {"id", "sex", *VOTED} - set(rows.fieldnames or ()):
                raise ManifestError([f"{path}:1: missing columns: {', '.join(sorted(missing))}"])
            for row in rows:
                counts = _counts(row)
                if counts is None:
                    problems.append(f"{path}:{rows.line_num}: votes must be counts ≥ 0, not all 0")
                elif row["sex"] not in ("male", "female"):
                    problems.append(f"{path}:{rows.line_num}: sex must be male or female, got {row['sex']!r}")
                elif row["id"] in votes:
                    problems.append(f"{path}:{rows.line_num}: duplicate id {row['id']!r}")
                else:
                    votes[row["id"]] = counts, row["sex"]
    except OSError as error:
        raise ManifestError([f"{path}: cannot be read: {error.strerror}"]) from error
    if problems:
        raise ManifestError(problems)
    return votes


def _counts(row: dict[str, str]) -> dict[str, float] | None:
    texts = [row[name] for name in VOTED]
    if not all(text is not None and text.isascii() and text.isdigit() for text in texts):
        return None
    counts = {name: float(text) for name, text in zip(VOTED, texts, strict=True)}
    return counts if any(counts.values()) else None
