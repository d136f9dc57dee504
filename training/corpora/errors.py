"""What goes wrong while corpora are read."""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_PROBLEMS = 20
"""How many problems of a file a message shows; the rest is counted."""


class CorpusError(Exception):
    """A corpus can't be used as it is; the message says where and why."""


class ManifestError(CorpusError):
    """A file of clips has bad lines. `problems` holds all of them, the message the first 20."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = list(self.problems[:SHOWN_PROBLEMS])
        if len(self.problems) > SHOWN_PROBLEMS:
            shown.append(f"… and {len(self.problems) - SHOWN_PROBLEMS} more")
        super().__init__("\n".join(shown))


class LabelError(CorpusError):
    """A label that the label space does not know."""


class SplitError(CorpusError):
    """A split that would let a speaker leak, or that was asked for what can't be given."""
