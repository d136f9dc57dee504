"""Work done by several processes, in order; where one of them fails or dies, its error is raised here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

T = TypeVar("T")


def in_workers(work: Dataset[T], jobs: Sequence[Any], workers: int, label: str) -> Iterator[T]:
    """`work[job]` for every job, in order, with a progress bar.

    Args:
        work: pickled into every process once; what is large it opens there.
        jobs: whatever `work` takes as an index.
        workers: processes (spawned, one thread each); 0 works in this one.
        label: of the bar.
    """
    loader = DataLoader(
        work,
        batch_size=None,
        sampler=list(jobs),
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        multiprocessing_context="spawn" if workers else None,
        collate_fn=as_it_is,
    )
    yield from tqdm(loader, total=len(jobs), desc=label, mininterval=2)


def as_it_is(result: T) -> T:
    """Keeps the loader from turning arrays into tensors."""
    return result
