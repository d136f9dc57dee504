"""The lines of one process, which all its calls share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from app.domain import DEFAULT_TENANT
from app.inference.line_profile import LineProfile, ProfileError


class ProfileBook:
    """The lines of this process, by key (`profile_key`). Thread-safe: each method holds one lock, for microseconds.

    Profiles are immutable, so what `get` returns may be used without the lock. Lines come from clients,
    so the book is bounded: when full, the line longest unused that is not frozen is forgotten.

    What was learned here and is not yet part of what all processes share is also kept apart, until somebody takes it
    (`take_learned`) and comes back with the whole (`rebase`).

    Args:
        dim: width of the embeddings.
        model: the bundle whose embeddings these are.
        max_lines: lines held at a time.
        frozen_lines: names of lines that never learn, whoever's they are.
    """

    def __init__(
        self, dim: int, model: str | None = None, max_lines: int = 4096, frozen_lines: Iterable[str] = ()
    ) -> None:
        self.dim = dim
        self.model = model
        self._max_lines = max_lines
        self._frozen_lines = frozenset(frozen_lines)
        self._lock = threading.Lock()
        self._profiles: OrderedDict[str, LineProfile] = OrderedDict()
        self._learned: OrderedDict[str, LineProfile] = OrderedDict()

    def __len__(self) -> int:
        with self._lock:
            return len(self._profiles)

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._profiles

    def ids(self) -> list[str]:
        """Keys of the known lines, in alphabetical order."""
        with self._lock:
            return sorted(self._profiles)

    def is_always_frozen(self, line: str) -> bool:
        """Whether the site's settings say that a line of this name never learns."""
        return line in self._frozen_lines

    def get(self, key: str) -> LineProfile:
        """The line's profile as it is now; an empty one (not remembered) for an unknown line."""
        with self._lock:
            return self._get(key)

    def update(self, key: str, embedding: npt.ArrayLike) -> LineProfile:
        """Counts one utterance; returns the profile after it (unchanged when frozen)."""
        with self._lock:
            before = self._get(key)
            profile = before.update(embedding)
            if not before.frozen:
                learned = self._learned.get(key) or LineProfile.empty(self.dim, before.id)
                self._keep_learned(key, learned.update(embedding))
            return self._put(key, profile)

    def set_frozen(self, key: str, frozen: bool) -> LineProfile:
        """Stops (or lets again) the line learn."""
        with self._lock:
            return self._put(key, replace(self._get(key), frozen=frozen))

    def put(self, key: str, profile: LineProfile) -> LineProfile:
        """Installs a profile, whatever id it carried; what was learned of the line before is dropped.

        Raises:
            ProfileError: where its width is not the book's.
        """
        self._check_width(profile)
        with self._lock:
            self._learned.pop(key, None)
            return self._put(key, replace(profile, id=line_of(key)))

    def reset(self, key: str) -> None:
        """Forgets the line, frozen or not; an unknown one is fine."""
        with self._lock:
            self._profiles.pop(key, None)
            self._learned.pop(key, None)

    def learned(self) -> list[str]:
        """Keys of the lines of which something was learned that nobody took yet."""
        with self._lock:
            return list(self._learned)

    def take_learned(self, key: str) -> LineProfile | None:
        """What was learned of a line since it was last taken; whoever takes it answers for it."""
        with self._lock:
            return self._learned.pop(key, None)

    def give_back(self, key: str, learned: LineProfile) -> None:
        """Takes back what could not be shared; it is taken again later."""
        with self._lock:
            later = self._learned.get(key)
            self._keep_learned(key, learned if later is None else learned.merge(later))

    def rebase(self, key: str, shared: LineProfile, *, keep_learned: bool = True) -> LineProfile:
        """Installs what all processes share, with what was learned here and not taken yet on top (or dropped).

        Raises:
            ProfileError: where its width is not the book's.
        """
        self._check_width(shared)
        frozen = shared.frozen or self.is_always_frozen(line_of(key))
        profile = replace(shared, id=line_of(key), frozen=frozen)
        with self._lock:
            if frozen or not keep_learned:
                self._learned.pop(key, None)
            later = self._learned.get(key)
            return self._put(key, profile if later is None else profile.merge(later))

    def export_json(self, key: str) -> dict[str, Any]:
        """The line's profile as plain values, naming the model."""
        return self.get(key).to_json(self.model)

    def import_json(self, key: str, document: object) -> LineProfile:
        """Installs what `export_json` gave, here or elsewhere.

        Raises:
            ProfileError: see `LineProfile.from_json`.
        """
        return self.put(key, LineProfile.from_json(document, dim=self.dim, model=self.model))

    def _check_width(self, profile: LineProfile) -> None:
        if profile.dim != self.dim:
            raise ProfileError(f"expected a profile {self.dim} wide, got {profile.dim}")

    def _get(self, key: str) -> LineProfile:
        profile = self._profiles.get(key)
        if profile is None:
            line = line_of(key)
            return replace(LineProfile.empty(self.dim, line), frozen=line in self._frozen_lines)
        self._profiles.move_to_end(key)
        return profile

    def _put(self, key: str, profile: LineProfile) -> LineProfile:
        self._profiles[key] = profile
        self._profiles.move_to_end(key)
        if len(self._profiles) > self._max_lines:
            oldest = next((known for known, value in self._profiles.items() if not value.frozen), key)
            del self._profiles[oldest]
        return profile

    def _keep_learned(self, key: str, learned: LineProfile) -> None:
        self._learned[key] = learned
        if len(self._learned) > self._max_lines:
            self._learned.popitem(last=False)


def profile_key(tenant: str, line: str) -> str:
    """Under what a `ProfileBook` holds a tenant's line: the bare line where a site has no tenants."""
    return line if tenant == DEFAULT_TENANT else f"{tenant}/{line}"


def line_of(key: str) -> str:
    """The line of a `profile_key`; a line's name has no slash."""
    return key.rpartition("/")[2]


def tenant_of(key: str) -> str:
    """The tenant of a `profile_key`."""
    return key.rpartition("/")[0] or DEFAULT_TENANT
