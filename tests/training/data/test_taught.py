"""Lessons are written once and read back by clip, in views that a line profile makes sense of."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.taught import Basis, Floats, TaughtStore, line_statistics, write_taught


def test_lessons_come_back_by_clip(tmp_path: Path) -> None:
    """Clips heard in any order, one of them not at all."""
    frames = {0: np.arange(8, dtype=np.float32).reshape(4, 2), 2: np.ones((3, 2), np.float32)}
    said = [(2, np.array([3.0], np.float32), frames[2]), (0, np.array([1.0], np.float32), frames[0])]

    def judge(table: Floats, heard: np.ndarray) -> Floats:  # type: ignore[type-arg]
        assert heard.tolist() == [True, False, True]
        return np.stack([table, 2 * table])

    write_taught(tmp_path, "made", 3, said, judge, 2)
    store = TaughtStore(tmp_path)
    assert store.name == "made"
    np.testing.assert_allclose(store.embedding[:, 0], [-1, 0, 1], atol=1e-3)
    assert store.logits[:, 2, 0].tolist() == [3.0, 6.0]
    found = store.frames(0)
    assert found is not None
    assert found.tolist() == frames[0].tolist()
    assert store.frames(1) is None


def test_a_teacher_without_frames(tmp_path: Path) -> None:
    """Nothing is asked of the student's frames then."""
    said = [(0, np.zeros(2, np.float32), None), (1, np.ones(2, np.float32), None)]
    write_taught(tmp_path, "made", 2, said, lambda table, _: np.stack([table, table]), 0)
    assert TaughtStore(tmp_path).frames(0) is None


def test_a_population_is_the_average_line() -> None:
    """Every corpus counts alike, whatever its size; what was not heard counts nowhere."""
    table = np.concatenate([np.zeros((30, 1)), np.full((10, 1), 4.0), np.full((1, 1), 99.0)]).astype(
        np.float32
    )
    heard = np.arange(41) < 40
    lines, (mean, _) = line_statistics(table, heard, ["a"] * 30 + ["b"] * 11)
    assert {name: float(line[0][0]) for name, line in lines.items()} == {"a": 0.0, "b": 4.0}
    assert float(mean[0]) == 2.0


def test_a_basis_projects_and_scales() -> None:
    """Centre, turn, scale."""
    basis = Basis(
        np.array([1.0, 1.0], np.float32), np.array([[1.0], [0.0]], np.float32), np.array([2.0], np.float32)
    )
    assert basis.project(np.array([[3.0, 5.0]], np.float32)).tolist() == [[4.0]]
