"""Which clips a run is made of: shared corpora, folders of one's own, made ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from training.corpora.errors import CorpusError
from training.corpora.folder import prepare_folder
from training.corpora.manifest import Segment
from training.corpora.registry import prepare_corpora
from training.corpora.splits import check_speaker_disjoint
from training.corpora.synthetic import write_synthetic
from training.corpora.synthetic_av import write_synthetic_av


@dataclass(frozen=True, slots=True)
class FolderConfig:
    """A folder of recordings and its CSV (docs/stages/corpora.md).

    table: by default `clips.csv` in the folder. corpus: by default the folder's name.
    """

    path: str
    table: str = ""
    corpus: str | None = None
    file_is_speaker: bool = False


@dataclass(frozen=True, slots=True)
class CorporaConfig:
    """Which clips.

    names: shared corpora under `root`. folders: recordings of one's own. synthetic_clips: made clips per category and
    speaker (0: none); synthetic_av_clips: the same with faces.
    """

    root: str = "../shared/corpora"
    names: tuple[str, ...] = ()
    folders: tuple[FolderConfig, ...] = ()
    synthetic_clips: int = 0
    synthetic_av_clips: int = 0


def all_clips(config: CorporaConfig, synthetic: Path) -> list[Segment]:
    """All clips, in the order of the configuration; made ones are written into `synthetic`.

    Raises:
        CorpusError: what is wrong with them: a speaker in two splits, too, or two corpora of one name.
    """
    parts = [prepare_corpora(Path(config.root), [name]) for name in config.names]
    parts += [_own(folder) for folder in config.folders]
    if config.synthetic_clips:
        parts.append(write_synthetic(synthetic, config.synthetic_clips))
    if config.synthetic_av_clips:
        parts.append(write_synthetic_av(synthetic / "av", config.synthetic_av_clips))
    names = [part[0].corpus for part in parts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CorpusError(f"two corpora are called {twice[0]!r}: give the folder another `corpus`")
    found = [segment for part in parts for segment in part]
    check_speaker_disjoint(found)
    return found


def _own(folder: FolderConfig) -> list[Segment]:
    path = Path(folder.path)
    table = Path(folder.table) if folder.table else path / "clips.csv"
    return prepare_folder(path, table, corpus=folder.corpus, file_is_speaker=folder.file_is_speaker)
