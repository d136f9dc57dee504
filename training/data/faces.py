"""Raw video → the face crops that `prepare` takes (needs the `faces` extra): find the face, cut one square, shrink.

One box a clip, the median over some of its pictures, so that head motion stays visible: as the shared corpora were cut.
`python -m training.data.faces IN OUT` crops a folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from training.corpora.errors import CorpusError
from training.data.cache import FACE_SIZE
from training.data.talking import Talking, read_talking, write_talking

Pictures = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""
Detector = Callable[[Pictures], Box | None]
"""A grey picture [H, W] → its largest face, None without one."""

SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".m4v")
TRIED_PICTURES = 25


@dataclass(frozen=True, slots=True)
class Square:
    """A square of a picture: left, top and side in pixels. It may reach over the border, which is then repeated."""

    left: int
    top: int
    side: int


def haar_detector() -> Detector:
    """The frontal face cascade that OpenCV's package holds.

    Raises:
        CorpusError: OpenCV is not installed.
    """
    try:
        import cv2
        import cv2.data
    except ImportError as error:
        raise CorpusError("finding faces needs OpenCV: install the `faces` extra") from error
    cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"))

    def largest(picture: Pictures) -> Box | None:
        shortest = max(24, min(picture.shape) // 8)
        found = cascade.detectMultiScale(
            picture, scaleFactor=1.1, minNeighbors=5, minSize=(shortest, shortest)
        )
        boxes = [tuple(float(value) for value in box) for box in found]
        return max(boxes, key=lambda box: box[2] * box[3], default=None)  # type: ignore[return-value]

    return largest


def face_square(frames: Pictures, detect: Detector, margin: float = 1.3) -> Square | None:
    """The median of the boxes found in about 25 pictures, as a square `margin` times as wide.

    None where fewer than a third of the pictures show a face: then a box would be somebody's guess.
    """
    places = np.unique(np.linspace(0, len(frames) - 1, TRIED_PICTURES).round().astype(int))
    found = [box for box in (detect(frames[place]) for place in places) if box is not None]
    if 3 * len(found) < len(places):
        return None
    left, top, width, height = np.median(np.array(found), axis=0)
    side = max(8, round(max(width, height) * margin))
    return Square(round(left + width / 2 - side / 2), round(top + height / 2 - side / 2), side)


def crop(frames: Pictures, square: Square, size: int = FACE_SIZE) -> Pictures:
    """Cut the square out of every picture [F, H, W] and bring it to [F, size, size], averaging over areas.

    Raises:
        CorpusError: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise CorpusError("cropping faces needs OpenCV: install the `faces` extra") from error
    height, width = frames.shape[1:]
    rows = np.clip(np.arange(square.top, square.top + square.side), 0, height - 1)
    columns = np.clip(np.arange(square.left, square.left + square.side), 0, width - 1)
    how = cv2.INTER_AREA if square.side >= size else cv2.INTER_LINEAR
    cut = [cv2.resize(picture[rows[:, None], columns], (size, size), interpolation=how) for picture in frames]
    return np.stack(cut).astype(np.uint8)


def crop_file(source: Path, target: Path, detect: Detector) -> bool:
    """Write the face of a video and its sound; False, and nothing written, where there is no steady face.

    Raises:
        CorpusError: a file that can't be decoded.
    """
    talking: Talking = read_talking(source)
    square = face_square(talking.frames, detect)
    if square is None:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    write_talking(target, talking.sound, talking.rate_hz, crop(talking.frames, square))
    return True


def crop_folder(source: Path, target: Path, detect: Detector | None = None) -> list[Path]:
    """Crop every video under a folder into the same place under another one, as MP4.

    Args:
        source: folder with videos, at any depth.
        target: folder to write into; files that are there already are kept.
        detect: what finds a face; OpenCV's cascade by default.

    Returns:
        Those without a steady face.

    Raises:
        CorpusError: no videos, one that can't be decoded, or OpenCV is not installed.
    """
    videos = sorted(path for path in source.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not videos:
        raise CorpusError(f"{source}: no videos ({', '.join(SUFFIXES)})")
    detect = detect or haar_detector()
    faceless = []
    for path in tqdm(videos, desc="faces", mininterval=2):
        place = (target / path.relative_to(source)).with_suffix(".mp4")
        if not place.exists() and not crop_file(path, place, detect):
            faceless.append(path)
    return faceless


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status is 1 where a video shows no steady face."""
    parser = argparse.ArgumentParser(prog="python -m training.data.faces", description=__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="folder with videos")
    parser.add_argument("target", type=Path, metavar="OUT", help="folder for the face crops")
    given = parser.parse_args(arguments)
    faceless = crop_folder(given.source, given.target)
    for path in faceless:
        tqdm.write(f"{path}: no steady face")
    return 1 if faceless else 0


if __name__ == "__main__":
    raise SystemExit(main())
