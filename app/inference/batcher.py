"""One encoder for every call: alone on the CPU, gathered into batches on a GPU.

Why a batch of one on the CPU: `docs/decisions/0003-batch-of-one-on-cpu.md`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from app.domain import TokenArray
from app.inference.encoder import Encoded, Encoder, join
from app.inference.errors import InferenceError
from app.ort import Provider

BUCKET_TOKENS = 64
"""Lengths are padded up to multiples of this, so that a batch wastes at most 2.6 s of silence a row."""


def _ignore(size: int) -> None:
    """Takes a batch size and does nothing with it."""


@dataclass(slots=True)
class _Job:
    window: TokenArray
    done: Future[Encoded] = field(default_factory=Future)

    @property
    def padded_tokens(self) -> int:
        """The job's length, rounded up to its bucket."""
        length: int = self.window.shape[1]
        return -(-length // BUCKET_TOKENS) * BUCKET_TOKENS


class Batcher:
    """Encodes for any number of threads; `encode` blocks until its own result is there.

    With max_batch = 1 it runs in the caller's thread. Above that one thread takes what has gathered within
    max_wait_s of the first, at most max_batch, and runs it by length bucket. If a batch fails, each of its
    utterances is run again alone, so one that is bad hurts no other.

    Args:
        encoder: what runs.
        max_batch: utterances (or windows of long ones) in one run.
        max_wait_s: how long the first one waits for company.
        on_batch: told the size of each run (the batch-size metric).
        clock: monotonic seconds.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        max_batch: int = 1,
        max_wait_s: float = 0.003,
        on_batch: Callable[[int], None] = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_batch < 1:
            raise ValueError(f"expected max_batch >= 1, got {max_batch}")
        self._encoder = encoder
        self._max_batch = max_batch
        self._max_wait_s = max_wait_s
        self._on_batch = on_batch
        self._clock = clock
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        if max_batch > 1:
            self._thread = threading.Thread(target=self._serve, name="kowairo-batcher", daemon=True)
            self._thread.start()

    @classmethod
    def for_provider(
        cls,
        encoder: Encoder,
        provider: Provider,
        *,
        max_batch: int,
        on_batch: Callable[[int], None] = _ignore,
    ) -> Self:
        """A batcher of `max_batch` on CUDA, of one on the CPU."""
        return cls(encoder, max_batch=max_batch if provider is Provider.CUDA else 1, on_batch=on_batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def encode(self, tokens: TokenArray) -> Encoded:
        """(embedding [D], salience [T]) of tokens int64 [K, T]; blocks, from any thread.

        Raises:
            InferenceError: see `Encoder.encode`; also after `close`.
        """
        windows = self._encoder.windows(tokens)
        if self._thread is None:
            return join([self._alone(window) for window in windows])
        jobs = [_Job(window) for window in windows]
        with self._lock:
            if self._closed:
                raise InferenceError("encoder: the batcher is closed")
            for job in jobs:
                self._queue.put(job)
        return join([job.done.result() for job in jobs])

    def close(self) -> None:
        """Finishes what was handed in, then stops; may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _alone(self, window: TokenArray) -> Encoded:
        self._on_batch(1)
        return self._encoder.run([window], window.shape[1])[0]

    def _serve(self) -> None:
        going = True
        while going:
            jobs, going = self._gather()
            ordered = sorted(jobs, key=lambda job: job.padded_tokens)
            for padded_tokens, group in groupby(ordered, key=lambda job: job.padded_tokens):
                self._run(list(group), padded_tokens)

    def _gather(self) -> tuple[list[_Job], bool]:
        """Waits for work; (jobs, False) once the end marker is seen."""
        first = self._queue.get()
        if first is None:
            return [], False
        jobs = [first]
        deadline = self._clock() + self._max_wait_s
        while len(jobs) < self._max_batch:
            try:
                job = self._queue.get(timeout=max(deadline - self._clock(), 0.0))
            except Empty:
                break
            if job is None:
                return jobs, False
            jobs.append(job)
        return jobs, True

    def _run(self, jobs: list[_Job], padded_tokens: int) -> None:
        self._on_batch(len(jobs))
        try:
            results = self._encoder.run([job.window for job in jobs], padded_tokens)
        except Exception as error:  # handed to whoever waits: this thread must outlive any input
            if len(jobs) == 1:
                jobs[0].done.set_exception(error)
                return
            for job in jobs:
                self._run([job], padded_tokens)
            return
        for job, result in zip(jobs, results, strict=True):
            job.done.set_result(result)
