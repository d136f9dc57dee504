"""Line profiles that all processes of a service learn together, kept in the document store.

Each process learns on its own, in its `ProfileBook`. What it learned is merged into the shared profile (Chan, Golub,
LeVeque, 1979) by compare-and-set, so that nobody overwrites anybody. Every profile has an *epoch*: importing,
resetting, freezing and unfreezing start a new one, and what was learned in an older epoch is dropped.
Nothing about a person is ever in a profile; the leg context never comes here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from app.inference.line_profile import LineProfile, ProfileError
from app.inference.profile_book import ProfileBook, line_of, profile_key, tenant_of
from app.results.documents import DocumentConflictError, DocumentNotFoundError, DocumentStore
from app.results.store import Page, StoreAwayError, StoreError
from app.telemetry.clock import Clock
from app.telemetry.logs import get_logger

KIND = "line_profile"
KEEP_S = 400 * 86_400.0
"""How long the profile of a line is kept that nobody calls on any more."""
OPEN_TIMEOUT_S = 1.0
"""How long the start of a call waits for the store; it then goes on with what the process knows."""
ATTEMPTS = 50
"""How often a change is tried again because somebody else was faster."""

Change = Callable[[LineProfile], LineProfile]


class LineNotFoundError(Exception):
    """Nothing was ever heard on this line."""


class FrozenBySettingsError(Exception):
    """The site's settings say that this line never learns."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A line as the store has it. version: of its document, 0 where there is none."""

    profile: LineProfile
    epoch: int
    version: int


@dataclass(frozen=True, slots=True)
class _Known:
    """What this process last saw. at: monotonic seconds."""

    epoch: int
    at: float


class ProfileKeeper:
    """Brings the lines of this process and those of the store together.

    Args:
        book: the lines of this process.
        documents: where profiles are kept.
        clock: for how long what is known counts as fresh.
        flush_s: between two merges; also how old what is known may be when a call starts.
    """

    def __init__(self, book: ProfileBook, documents: DocumentStore, clock: Clock, *, flush_s: float) -> None:
        self._book = book
        self._documents = documents
        self._clock = clock
        self._flush_s = flush_s
        self._known: dict[str, _Known] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._log = get_logger(__name__)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Merges every `flush_s` seconds, and once more at the end."""
        task = asyncio.create_task(self._keep_flushing(), name="line-profiles")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self.flush()

    async def open(self, tenant: str, line: str) -> None:
        """Fetches what all processes know of a line before a call on it is scored, unless it was fetched lately.

        Never fails: where the store is away, the call is scored with what this process knows.
        """
        key = profile_key(tenant, line)
        known = self._known.get(key)
        if known is not None and key in self._book and self._clock.monotonic() - known.at < self._flush_s:
            return
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._sync(key)
        except (StoreError, TimeoutError):
            self._log.warning("line_profile_not_fetched")

    async def flush(self) -> None:
        """Merges everything learned here into the store; what cannot be merged now is kept for the next time."""
        for key in self._book.learned():
            try:
                await self._sync(key)
            except StoreAwayError:
                return
            except StoreError:
                self._log.warning("line_profile_not_merged")
        self._forget_unknown()

    async def page(self, tenant: str, *, cursor: str | None, limit: int) -> Page[LineProfile]:
        """The lines of a tenant, by name. While the store is away: those that this process knows.

        Raises:
            BadCursorError: the cursor was not given by this list.
        """
        await self.flush()
        try:
            page = await self._documents.list(tenant, KIND, cursor=cursor, limit=limit)
        except StoreAwayError:
            return Page(tuple(self._here(tenant)), None)
        kept = [found for item in page.items if (found := self._read(tenant, item.value)) is not None]
        only_here = [] if cursor is not None else await self._only_here(tenant)
        return Page(tuple(sorted([*only_here, *kept], key=lambda profile: profile.id)), page.next)

    async def get(self, tenant: str, line: str) -> LineProfile:
        """A line's profile; while the store is away, as this process knows it.

        Raises:
            LineNotFoundError: nothing was ever heard on it.
        """
        key = profile_key(tenant, line)
        with contextlib.suppress(StoreAwayError):
            kept = await self._sync(key)
            if not kept.version and key not in self._book:
                raise LineNotFoundError
        if key not in self._book:
            raise LineNotFoundError
        return self._book.get(key)

    async def install(self, tenant: str, line: str, document: object) -> LineProfile:
        """Puts what was exported, here or elsewhere, in the place of the line's profile.

        Raises:
            ProfileError: it cannot be used; the message says why.
        """
        profile = LineProfile.from_json(document, dim=self._book.dim, model=self._book.model)
        return await self._change(profile_key(tenant, line), lambda _: profile)

    async def set_frozen(self, tenant: str, line: str, frozen: bool) -> LineProfile:
        """Lets a line learn no more, or again.

        Raises:
            LineNotFoundError: nothing was ever heard on it.
            FrozenBySettingsError: it must never learn.
        """
        if not frozen and self._book.is_always_frozen(line):
            raise FrozenBySettingsError
        await self.get(tenant, line)
        return await self._change(profile_key(tenant, line), lambda profile: replace(profile, frozen=frozen))

    async def reset(self, tenant: str, line: str) -> LineProfile:
        """Forgets what a line learned; it learns anew, also where it was frozen.

        Raises:
            LineNotFoundError: nothing was ever heard on it.
        """
        await self.get(tenant, line)
        return await self._change(
            profile_key(tenant, line), lambda _: LineProfile.empty(self._book.dim, line)
        )

    async def _sync(self, key: str) -> _Kept:
        """Merges what was learned of a line here, and learns what the others did."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            learned = self._book.take_learned(key)
            try:
                kept, fresh = await self._merge(key, learned)
            except BaseException:
                if learned is not None:
                    self._book.give_back(key, learned)
                raise
            self._note(key, kept.epoch)
            if kept.version:
                self._book.rebase(key, kept.profile, keep_learned=fresh)
            return kept

    async def _merge(self, key: str, learned: LineProfile | None) -> tuple[_Kept, bool]:
        """The shared profile with what was learned, and whether this was of the same epoch."""
        known = self._known.get(key)
        for _ in range(ATTEMPTS):
            kept = await self._fetch(key)
            fresh = known is None or not kept.version or kept.epoch == known.epoch
            if learned is None or not fresh or kept.profile.frozen:
                return kept, fresh
            merged = kept.profile.merge(replace(learned, id=kept.profile.id))
            with contextlib.suppress(DocumentConflictError):
                return await self._put(key, merged, kept.epoch, kept.version), fresh
        raise DocumentConflictError("too many writers of one line profile")

    async def _change(self, key: str, change: Change) -> LineProfile:
        """Begins a new epoch of a line."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            for _ in range(ATTEMPTS):
                kept = await self._fetch(key)
                with contextlib.suppress(DocumentConflictError):
                    kept = await self._put(key, change(kept.profile), kept.epoch + 1, kept.version)
                    self._note(key, kept.epoch)
                    return self._book.rebase(key, kept.profile, keep_learned=False)
        raise DocumentConflictError("too many writers of one line profile")

    async def _fetch(self, key: str) -> _Kept:
        nothing = LineProfile.empty(self._book.dim, line_of(key))
        try:
            document = await self._documents.get(tenant_of(key), KIND, self._document_key(key))
        except DocumentNotFoundError:
            return _Kept(nothing, 0, 0)
        profile = self._read(tenant_of(key), document.value)
        epoch = document.value.get("epoch")
        return _Kept(profile or nothing, epoch if isinstance(epoch, int) else 0, document.version)

    async def _put(self, key: str, profile: LineProfile, epoch: int, version: int) -> _Kept:
        profile = replace(profile, id=line_of(key))
        value = {"epoch": epoch, "profile": profile.to_json(self._book.model)}
        document = await self._documents.put(
            tenant_of(key),
            KIND,
            self._document_key(key),
            value,
            ttl_s=KEEP_S,
            expected_version=version,
        )
        return _Kept(profile, epoch, document.version)

    def _document_key(self, key: str) -> str:
        """One for each bundle: embeddings of another are not comparable, and a roll-back finds its own again."""
        return f"{line_of(key)}:{self._book.model or ''}"

    def _read(self, tenant: str, value: Any) -> LineProfile | None:
        """A profile of the bundle in service; None for another's."""
        body = value.get("profile")
        if not isinstance(body, dict) or body.get("model") != self._book.model:
            return None
        try:
            profile = LineProfile.from_json(body, dim=self._book.dim, model=self._book.model)
        except ProfileError:
            self._log.warning("line_profile_unreadable")
            return None
        return replace(profile, frozen=profile.frozen or self._book.is_always_frozen(profile.id))

    def _here(self, tenant: str) -> list[LineProfile]:
        return [self._book.get(key) for key in self._book.ids() if tenant_of(key) == tenant]

    async def _only_here(self, tenant: str) -> list[LineProfile]:
        """Lines that the settings name and that nobody has called on, so that nothing was merged yet."""
        silent = [profile for profile in self._here(tenant) if profile.n == 0]
        kept = [await self._fetch(profile_key(tenant, profile.id)) for profile in silent]
        return [profile for profile, found in zip(silent, kept, strict=True) if not found.version]

    def _note(self, key: str, epoch: int) -> None:
        self._known[key] = _Known(epoch, self._clock.monotonic())

    def _forget_unknown(self) -> None:
        """The book is bounded; what is known of lines that it gave up must be, too."""
        for key in [key for key in self._known if key not in self._book]:
            del self._known[key]

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            await self.flush()
