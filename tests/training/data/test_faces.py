"""Face crops from raw video. A drawn face stands in for a real one, and a test double for the detector that finds it.

Whether OpenCV's cascade finds real faces is not tested here: no picture of a person goes into a commit.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.training import made_faces
from training.corpora.errors import CorpusError
from training.data import faces
from training.data.faces import Box, Square, crop, crop_folder, face_square, haar_detector
from training.data.talking import read_talking, write_talking

Pictures = npt.NDArray[np.uint8]


def scene(count: int = 10, drift: int = 2) -> Pictures:
    """A drawn face of 96x96 that wanders to the right over a black picture of 160x240, from row 40 and column 60."""
    pictures = np.zeros((count, 160, 240), np.uint8)
    for number, face in enumerate(made_faces.faces(count, 180.0)):
        pictures[number, 40:136, 60 + drift * number : 156 + drift * number] = face
    return pictures


def bright_part(picture: Pictures) -> Box | None:
    """Test double of a detector: the box around everything that is lighter than the background."""
    rows, columns = np.nonzero(picture > 30)
    if not len(rows):
        return None
    return (
        float(columns.min()),
        float(rows.min()),
        float(np.ptp(columns) + 1),
        float(np.ptp(rows) + 1),
    )


def test_one_square_a_clip_around_the_median_face() -> None:
    """Its side is 1.3 of the face's, its centre the median one; a picture without a face doesn't move it."""
    pictures = scene()
    square = face_square(pictures, bright_part)
    assert square is not None
    assert square.side == round(96 * 1.3)
    assert square.left + square.side / 2 == pytest.approx(60 + 9 + 48, abs=1)
    assert square.top + square.side / 2 == pytest.approx(40 + 48, abs=1)
    pictures[3] = 0
    again = face_square(pictures, bright_part)
    assert again is not None
    assert abs(again.left - square.left) <= 2


def test_no_steady_face_is_no_square() -> None:
    """Where fewer than a third of the pictures show a face."""
    pictures = scene()
    pictures[4:] = 0
    assert face_square(pictures, bright_part) is not None
    pictures[3:] = 0
    assert face_square(pictures, bright_part) is None


def test_crops_are_as_the_corpora_are() -> None:
    """96x96 grey; a square over the border repeats it; a small face is enlarged."""
    pictures = scene()
    cut = crop(pictures, Square(60, 40, 96))
    assert cut.shape == (10, 96, 96)
    assert cut.dtype == np.uint8
    np.testing.assert_array_equal(cut[0], pictures[0, 40:136, 60:156])
    over = crop(pictures, Square(-48, -48, 96))
    assert (over == 0).all()
    small = crop(pictures, Square(80, 60, 24))
    assert small.shape == (10, 96, 96)


def test_a_folder_is_cropped_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every video, in its own subfolder, with its sound; a faceless one is reported; what is there is kept."""
    rng = np.random.default_rng(0)
    sound = (0.1 * rng.standard_normal(16_000)).astype(np.float32)
    source, target = tmp_path / "in", tmp_path / "out"
    (source / "day").mkdir(parents=True)
    write_talking(source / "day" / "a.mp4", sound, 16_000, scene(25, 1))
    write_talking(source / "b.mp4", sound, 16_000, np.zeros((25, 160, 240), np.uint8))
    assert crop_folder(source, target, bright_part) == [source / "b.mp4"]
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*.mp4")) == ["day/a.mp4"]
    read = read_talking(target / "day" / "a.mp4")
    assert read.frames.shape == (25, 96, 96)
    assert float(np.corrcoef(read.sound[1000:15_000], sound[1000:15_000])[0, 1]) > 0.5
    before = (target / "day" / "a.mp4").read_bytes()
    crop_folder(source, target, bright_part)
    assert (target / "day" / "a.mp4").read_bytes() == before
    capsys.readouterr()


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    """With the endings that are looked for."""
    with pytest.raises(CorpusError, match=r"no videos \(\.mp4"):
        crop_folder(tmp_path, tmp_path / "out", bright_part)


def test_the_cascade_sees_no_face_in_an_empty_picture() -> None:
    """The real detector loads and answers; where OpenCV is missing, it says which extra brings it."""
    pytest.importorskip("cv2")
    assert haar_detector()(np.full((160, 240), 90, np.uint8)) is None


def test_the_command_line_reports_what_has_no_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1 and the file's name; 0 where every video has a face."""
    sound = np.zeros(3_200, np.float32)
    monkeypatch.setattr(faces, "haar_detector", lambda: bright_part)
    (tmp_path / "in").mkdir()
    write_talking(tmp_path / "in" / "a.mp4", sound, 16_000, scene(5, 0))
    assert faces.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    write_talking(tmp_path / "in" / "b.mp4", sound, 16_000, np.zeros((5, 160, 240), np.uint8))
    assert faces.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert "b.mp4: no steady face" in captured.out + captured.err
