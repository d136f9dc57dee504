"""What `score` and `profile` share: many files through the pipeline of a live call, results in input order."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
from tqdm import tqdm

from app.audio.recording import Recording, RecordingError, open_recording
from app.cli.commands import parse_legs
from app.cli.exits import CliError, ExitCode
from app.domain import CallStart, Leg, UtteranceRecord
from app.engine import Engine
from app.inference.errors import InferenceError
from app.inference.line_profile import LineProfile, ProfileError
from app.inference.profile_book import ProfileBook
from app.pipeline import PipelineParts, SessionWarning
from app.recorded import recording_start, score_recording, score_whole
from app.settings import Settings

T = TypeVar("T")

DEFAULT_LINE = "default"
_LINE = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_NOT_IN_CALL_ID = re.compile(r"[^A-Za-z0-9._~-]")
_AHEAD_PER_WORKER = 8
"""Files begun before the oldest is printed: keeps the workers busy and the memory bounded."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of both commands."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="anything that libsndfile reads")
    parser.add_argument("--whole", action="store_true", help="a file is one utterance, of its first channel")
    parser.add_argument("--line", type=_line, help="where the audio comes from")
    parser.add_argument("--legs", type=parse_legs, help="who is on each channel (default: customer,agent)")
    parser.add_argument("--consent", action="store_true", help="the customers agreed to be scored")
    parser.add_argument("--notice-given", action="store_true", help="the customers were told of it")


@dataclass(frozen=True, slots=True)
class Heard:
    """One file after its scoring. profile: of its line, which has learnt from this file alone."""

    records: tuple[UtteranceRecord, ...]
    warnings: tuple[str, ...]
    profile: LineProfile


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one file: heard, or the problem with it."""

    file: Path
    heard: Heard | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Listener:
    """Scores files, each from the same line profile, so that no record depends on another file.

    profile: what the line knows before a file; within a file it learns, as on a live call (unless frozen).
    """

    parts: PipelineParts
    profile: LineProfile
    legs: tuple[Leg, ...] | None
    whole: bool
    salience: bool
    consent: bool
    notice_given: bool

    def hear(self, file: Path) -> Answer:
        """Score one file; every fault of the file is in the answer."""
        book = ProfileBook(self.parts.profiles.dim, self.parts.profiles.model)
        book.put(self.profile.id, self.profile)
        parts = replace(self.parts, profiles=book)
        try:
            with open_recording(file) as recording:
                records, warnings = self._score(recording, file, parts)
        except (RecordingError, InferenceError) as error:
            return Answer(file, None, str(error))
        return Answer(file, Heard(records, warnings, book.get(self.profile.id)))

    def _score(
        self, recording: Recording, file: Path, parts: PipelineParts
    ) -> tuple[tuple[UtteranceRecord, ...], tuple[str, ...]]:
        if self.whole:
            # One utterance, of the first channel: who is on the second does not matter.
            start = self._start(recording, file, self.legs or tuple(Leg)[: recording.channels])
            return (score_whole(recording, start, parts),), ()
        events = list(score_recording(recording, self._start(recording, file, self.legs), parts))
        records = tuple(event for event in events if isinstance(event, UtteranceRecord))
        warnings = (event for event in events if isinstance(event, SessionWarning))
        return records, tuple(f"{warning.code}: {warning.detail}" for warning in warnings)

    def _start(self, recording: Recording, file: Path, legs: tuple[Leg, ...] | None) -> CallStart:
        return recording_start(
            recording,
            call_id_of(file),
            legs=legs,
            line=self.profile.id,
            salience=self.salience,
            consent=self.consent,
            notice_given=self.notice_given,
        )


def make_listener(engine: Engine, settings: Settings, options: argparse.Namespace) -> Listener:
    """A listener as the options of `score` or `profile` ask for.

    Raises:
        CliError: a line profile that cannot be used.
    """
    book = engine.parts.profiles
    path: Path | None = getattr(options, "line_profile", None)
    profile = LineProfile.empty(book.dim) if path is None else read_profile(path, book)
    line = options.line or (profile.id if _LINE.fullmatch(profile.id) else DEFAULT_LINE)
    frozen = profile.frozen or settings.line(line).profile_frozen
    return Listener(
        parts=engine.parts,
        profile=replace(profile, id=line, frozen=frozen),
        legs=options.legs,
        whole=options.whole,
        salience=getattr(options, "salience", False),
        consent=options.consent,
        notice_given=options.notice_given,
    )


def read_profile(path: Path, book: ProfileBook) -> LineProfile:
    """A line profile from a file that `profile` wrote, for the bundle in service.

    Raises:
        CliError: no such file, not JSON, or a profile of another bundle.
    """
    try:
        document = orjson.loads(path.read_bytes())
        return LineProfile.from_json(document, dim=book.dim, model=book.model)
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}", ExitCode.SETTINGS) from error
    except orjson.JSONDecodeError as error:
        raise CliError(
            f"{path}: expected a JSON object, got text that is not JSON", ExitCode.SETTINGS
        ) from error
    except ProfileError as error:
        raise CliError(f"{path}: not a line profile of this bundle: {error}", ExitCode.SETTINGS) from error


def in_order(work: Callable[[Path], T], files: Sequence[Path], workers: int) -> Iterator[T]:
    """What `work` makes of each file, in the order of the files, made by `workers` threads."""
    with ThreadPoolExecutor(workers, thread_name_prefix="score") as pool:
        yield from _window(pool, work, files, workers * _AHEAD_PER_WORKER)


def _window(pool: Executor, work: Callable[[Path], T], files: Sequence[Path], ahead: int) -> Iterator[T]:
    waiting: list[Future[T]] = []
    try:
        for file in files:
            waiting.append(pool.submit(work, file))
            if len(waiting) >= ahead:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


class Console:
    """Results on stdout, complaints on stderr, and a progress bar there when it is a terminal."""

    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar = bar

    def result(self, line: str) -> None:
        """A line for whoever reads the results."""
        if self._bar.disable:
            print(line)
        else:
            self._bar.write(line, file=sys.stdout)

    def complain(self, file: Path, detail: str) -> None:
        """A line about a file."""
        self._bar.write(f"kowairo: {file}: {detail}", file=sys.stderr)

    def step(self) -> None:
        """One more file is done."""
        self._bar.update()


@contextmanager
def console(files: int) -> Iterator[Console]:
    """A console for so many files."""
    shown = files > 1 and sys.stderr.isatty()
    with tqdm(total=files, unit="file", disable=not shown, file=sys.stderr, leave=False) as bar:
        yield Console(bar)


def call_id_of(file: Path) -> str:
    """A file's name as a call id: what call ids may not hold becomes a dash."""
    return _NOT_IN_CALL_ID.sub("-", file.name)[:128] or "file"


def _line(text: str) -> str:
    if _LINE.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"expected text matching ^{_LINE.pattern}$, got {text!r}")
    return text
