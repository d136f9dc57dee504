"""Work in several processes comes back in order, and so do its errors."""

from __future__ import annotations

import pytest
from torch.utils.data import Dataset

from training.corpora.errors import CorpusError
from training.data.workers import in_workers


class Squares(Dataset[list[int]]):
    """Job n → [n, n²]; job 13 fails."""

    def __getitem__(self, job: int) -> list[int]:
        if job == 13:
            raise CorpusError("unlucky.wav: not a sound file")
        return [job, job * job]


@pytest.mark.parametrize("workers", [0, 1])
def test_results_come_in_order(workers: int) -> None:
    """One result a job, in the order of the jobs, untouched by tensors."""
    assert list(in_workers(Squares(), [3, 1, 2], workers, "squares")) == [[3, 9], [1, 1], [2, 4]]


def test_an_error_reaches_the_caller() -> None:
    """What fails in the work is raised here, after the results before it."""
    results = in_workers(Squares(), [2, 13, 4], 0, "squares")
    assert next(results) == [2, 4]
    with pytest.raises(CorpusError, match=r"unlucky\.wav"):
        next(results)
