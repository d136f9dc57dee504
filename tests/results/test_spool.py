"""The spool keeps what it acknowledged, in order, within its bounds, whatever happens to process and disk."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.results.spool import SpoolError
from app.results.spool_files import Entry, Fsync, Kept, Lost, SpoolOptions
from tests.support.clock import FakeClock
from tests.support.disks import WatchedDisk, bytes_below
from tests.support.server import eventually
from tests.support.spools import (
    SMALL,
    Losses,
    drain,
    entries,
    look,
    open_spool,
    overwrite_positions,
    run,
    segments,
)


def test_what_goes_in_comes_out_in_order(tmp_path: Path) -> None:
    """Entries are durable, come out as they went in, and leave nothing behind."""

    async def scenario() -> None:
        clock = FakeClock()
        spool = await open_spool(tmp_path / "spool", clock=clock)
        names = [f"entry {n}" for n in range(40)]
        assert await spool.append(entries(*names)) == [Kept.DURABLE] * 40
        assert await spool.append([]) == []
        assert len(segments(tmp_path)) > 2
        assert (spool.stats.entries, spool.stats.oldest_at) == (40, clock.now())
        assert spool.stats.bytes == sum(path.stat().st_size for path in segments(tmp_path))
        assert await drain(spool) == names
        assert spool.stats.entries == 0
        assert spool.stats.oldest_at is None
        assert segments(tmp_path) == []
        await spool.close()
        await spool.close()
        assert [path.name for path in (tmp_path / "spool").iterdir()] == [".lock"]
        with pytest.raises(SpoolError):
            await spool.peek(1)

    run(scenario())


def test_another_process_goes_on_where_this_one_stopped(tmp_path: Path) -> None:
    """What was committed does not come again; what was not comes first, before what is new."""

    async def scenario() -> None:
        first = await open_spool(tmp_path)
        await first.append(entries(*"abcdefgh"))
        await first.commit((await first.peek(3))[-1])
        await first.close()
        second = await open_spool(tmp_path)
        await second.append(entries("new"))
        assert second.stats.entries == 6
        assert await look(second) == [*"defgh", "new"]
        assert await drain(second) == [*"defgh", "new"]
        assert second.stats.damaged == 0
        await second.close()

    run(scenario())


def test_a_living_process_keeps_its_directory(tmp_path: Path) -> None:
    """Only when a process is gone does another take over what it left, before its own, oldest first."""

    async def scenario() -> None:
        clock = FakeClock()
        first = await open_spool(tmp_path, clock=clock)
        await first.append(entries("first"))
        clock.advance(1)
        second = await open_spool(tmp_path, clock=clock)
        await second.append(entries("second"))
        clock.advance(1)
        third = await open_spool(tmp_path, clock=clock)
        await third.append(entries("third"))
        assert third.stats.entries == 1
        assert await third.adopt() == 0
        await first.close()
        await second.close()
        assert await third.adopt() == 2
        assert await drain(third) == ["first", "second", "third"]
        await third.close()

    run(scenario())


def test_directories_are_private(tmp_path: Path) -> None:
    """Nobody else may read what waits."""

    async def scenario() -> None:
        spool = await open_spool(tmp_path / "spool")
        await spool.append(entries(*"ab"))
        await spool.commit((await spool.peek(1))[-1])
        for path in [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path.name
        await spool.close()

    run(scenario())


def test_a_place_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    """A base directory that is a file is refused with a typed error."""

    async def scenario() -> None:
        (tmp_path / "file").write_text("x", encoding="utf-8")
        with pytest.raises(SpoolError):
            await open_spool(tmp_path / "file")

    run(scenario())
    with pytest.raises(ValueError, match="4 segments"):
        SpoolOptions(max_bytes=100, segment_bytes=50)


def test_appends_at_the_same_time_share_a_sync(tmp_path: Path) -> None:
    """Fifty callers at once cost a few writes to the disk, and each is told that its entry is durable."""

    async def scenario() -> None:
        with WatchedDisk() as disk:
            spool = await open_spool(tmp_path, SpoolOptions())
            await spool.append(entries("first"))
            before = disk.syncs
            answers = await asyncio.gather(*(spool.append(entries(f"{n}")) for n in range(50)))
            assert answers == [[Kept.DURABLE]] * 50
            assert disk.syncs - before <= 2
            await spool.close()

    run(scenario())


def test_policies_of_writing_through(tmp_path: Path) -> None:
    """Without a sync before the answer, an entry is not called durable; an interval writes it through soon."""

    async def scenario() -> None:
        with WatchedDisk() as disk:
            never = await open_spool(tmp_path / "never", SpoolOptions(fsync=Fsync.NEVER))
            assert await never.append(entries("a")) == [Kept.HELD]
            assert disk.syncs == 0
            assert not never.stats.synced
            assert await never.flush()
            assert never.stats.synced
            await never.close()
            options = SpoolOptions(fsync=Fsync.INTERVAL, interval_s=0.001)
            spool = await open_spool(tmp_path / "interval", options)
            assert await spool.append(entries("a", "b")) == [Kept.HELD] * 2
            await asyncio.to_thread(eventually, lambda: spool.stats.synced or None)
            await spool.append(entries("c"))
            await spool.close()
            left = disk.after_power_loss(tmp_path / "interval", tmp_path / "copy")
            again = await open_spool(left)
            assert await look(again) == ["a", "b", "c"]
            await again.close()

    run(scenario())


@given(torn=st.integers(0, 200))
@settings(max_examples=25, deadline=None)
def test_a_loss_of_power_costs_nothing_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, torn: int
) -> None:
    """Half an entry at the end is cut off; everything that was durable is there, and nothing counts as damaged."""
    tmp_path = tmp_path_factory.mktemp("spool")

    async def scenario() -> None:
        with WatchedDisk() as disk:
            spool = await open_spool(tmp_path / "spool")
            durable = [f"durable {n}" for n in range(12)]
            assert Kept.HELD not in await spool.append(entries(*durable))
            disk.fails = True
            assert await spool.append(entries("x" * 40, "y" * 40)) == [Kept.HELD] * 2
            disk.fails = False
            left = disk.after_power_loss(tmp_path / "spool", tmp_path / "copy", torn)
            await spool.close()
        again = await open_spool(left)
        found = await look(again)
        assert found[:12] == durable
        assert found[12:] == ["x" * 40, "y" * 40][: len(found) - 12]
        assert again.stats.damaged == 0
        await again.close()

    run(scenario())


def test_after_a_sync_that_failed_a_later_one_says_nothing_of_it(tmp_path: Path) -> None:
    """An entry whose sync failed is not durable; the next goes into another file, and is."""

    async def scenario() -> None:
        with WatchedDisk() as disk:
            spool = await open_spool(tmp_path, SpoolOptions())
            await spool.append(entries("a"))
            disk.fails = True
            assert await spool.append(entries("b")) == [Kept.HELD]
            disk.fails = False
            assert await spool.append(entries("c")) == [Kept.DURABLE]
            assert len(segments(tmp_path)) == 2
            assert await drain(spool) == ["a", "b", "c"]
            await spool.close()

    run(scenario())


def test_a_full_disk_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk is full entries are lost and counted; what half got there is taken back, and life goes on."""
    write, full = os.write, False

    def scarce(file: int, data: Any) -> int:
        if not full:
            return write(file, data)
        if len(data) <= 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) - 10])

    async def scenario() -> None:
        nonlocal full
        losses = Losses()
        spool = await open_spool(tmp_path, SpoolOptions(), on_lost=losses)
        await spool.append(entries("before"))
        monkeypatch.setattr(os, "write", scarce)
        full = True
        assert await spool.append(entries("lost", "too")) == [Kept.LOST] * 2
        full = False
        assert await spool.append(entries("after")) == [Kept.DURABLE]
        assert losses.told == [(Lost.DISK, 2, 7)]
        assert spool.stats.entries == 2
        await spool.close()
        again = await open_spool(tmp_path)
        assert await drain(again) == ["before", "after"]
        assert (again.stats.damaged, again.stats.torn_bytes) == (0, 0)
        await again.close()

    run(scenario())


def test_a_directory_that_takes_no_files_loses_only_what_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no new file can be made, the append says lost; nothing is raised."""

    def refuse(_path: Path) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    async def scenario() -> None:
        losses = Losses()
        spool = await open_spool(tmp_path, on_lost=losses)
        with monkeypatch.context() as patch:
            patch.setattr("app.results.segments.open_for_append", refuse)
            assert await spool.append(entries("a")) == [Kept.LOST]
        assert losses.entries(Lost.DISK) == 1
        assert await spool.append(entries("b")) == [Kept.DURABLE]
        assert await drain(spool) == ["b"]
        await spool.close()

    run(scenario())


def test_when_it_is_full_the_oldest_are_refused_and_counted(tmp_path: Path) -> None:
    """The spool never holds more than its bytes; what it says it refused is exactly what is missing."""

    async def scenario() -> None:
        losses = Losses()
        spool = await open_spool(tmp_path, on_lost=losses)
        names = [f"entry {n:04d}" for n in range(300)]
        for name in names:
            assert await spool.append(entries(name)) == [Kept.DURABLE]
            assert sum(path.stat().st_size for path in segments(tmp_path)) <= SMALL.max_bytes
        left = await look(spool)
        assert left == names[-len(left) :]
        assert losses.entries(Lost.FULL) == 300 - len(left)
        assert all(size > 0 for _, _, size in losses.told)
        await spool.close()
        again = await open_spool(tmp_path)
        assert await drain(again) == left
        assert again.stats.damaged == 0
        await again.close()

    with WatchedDisk():
        run(scenario())


def test_what_must_be_kept_outlives_what_is_refused(tmp_path: Path) -> None:
    """A marked entry stays, in its place; when only such are left, what is new is refused."""

    async def scenario() -> None:
        losses = Losses()
        spool = await open_spool(tmp_path, on_lost=losses)
        await spool.append(entries("first", keep=True))
        for n in range(200):
            await spool.append(entries(f"entry {n:04d}"))
        await spool.append(entries("second", keep=True))
        for n in range(200):
            await spool.append(entries(f"other {n:04d}"))
        left = await look(spool)
        assert left[:2] == ["first", "second"]
        assert losses.entries(Lost.FULL) == 402 - len(left)
        while (await spool.append(entries("k" * 60, keep=True)))[0] is Kept.DURABLE:
            pass
        assert await spool.append(entries("new")) == [Kept.LOST]
        await spool.close()
        again = await open_spool(tmp_path)
        assert (await drain(again))[:2] == ["first", "second"]
        assert again.stats.damaged == 0
        await again.close()

    with WatchedDisk():
        run(scenario())


def test_what_is_too_large_is_refused_alone(tmp_path: Path) -> None:
    """An append of more than half the spool does not push itself out."""

    async def scenario() -> None:
        losses = Losses()
        spool = await open_spool(tmp_path, on_lost=losses)
        assert await spool.append(entries("a", "x" * 5_000)) == [Kept.DURABLE, Kept.LOST]
        assert await spool.append(entries("y" * 1_000)) == [Kept.DURABLE]
        assert losses.told == [(Lost.FULL, 1, 5_000)]
        assert await drain(spool) == ["a", "y" * 1_000]
        await spool.close()

    run(scenario())


def test_a_refusal_under_way_does_not_disturb_reading(tmp_path: Path) -> None:
    """Entries that were looked at and then refused can be committed; the next ones come."""

    async def scenario() -> None:
        spool = await open_spool(tmp_path)
        await spool.append(entries(*(f"{n:04d}" for n in range(40))))
        seen = await spool.peek(4)
        await spool.append(entries(*("x" * 50 for _ in range(15))))
        await spool.append(entries(*("y" * 50 for _ in range(15))))
        await spool.append(entries(*("z" * 50 for _ in range(15))))
        waiting = spool.stats.entries
        assert waiting < 85
        await spool.commit(seen[-1])
        assert spool.stats.entries == waiting
        left = await drain(spool)
        assert len(left) == waiting
        assert left[-1] == "z" * 50
        await spool.close()

    run(scenario())


def test_damage_in_the_middle_costs_only_what_it_hits(tmp_path: Path) -> None:
    """An unreadable entry is counted and told of, whether found at the start or while running."""

    async def scenario() -> None:
        first = await open_spool(tmp_path)
        await first.append(entries(*(f"entry {n}" for n in range(45))))
        await first.close()
        files = segments(tmp_path)
        data = files[1].read_bytes()
        files[1].write_bytes(data.replace(b"entry 10", b"xxxxx 10"))
        losses = Losses()
        spool = await open_spool(tmp_path, on_lost=losses)
        assert (spool.stats.damaged, spool.stats.entries) == (1, 44)
        files[2].write_bytes(files[2].read_bytes().replace(b"entry 21", b"xxxxx 21"))
        files[3].unlink()
        left = await drain(spool)
        assert [name for name in left if name in ("entry 10", "entry 21")] == []
        assert spool.stats.damaged == 45 - len(left) == losses.entries(Lost.DAMAGED)
        assert spool.stats.entries == 0
        await spool.close()

    run(scenario())


def test_a_lost_place_means_repeats_and_no_loss(tmp_path: Path) -> None:
    """Without the file that says how far it was read, entries of the file that was being read come again."""

    async def scenario() -> None:
        first = await open_spool(tmp_path)
        await first.append(entries(*"abc"))
        await first.commit((await first.peek(2))[-1])
        await first.close()
        overwrite_positions(tmp_path)
        second = await open_spool(tmp_path)
        assert await drain(second) == [*"abc"]
        assert second.stats.damaged == 0
        await second.close()

    run(scenario())


def change_of(**changes: str | None) -> Callable[[bytes], bytes | None]:
    """Replaces payloads by name."""

    def change(payload: bytes) -> bytes | None:
        name = payload.decode()
        new = changes.get(name, name)
        return None if new is None else new.encode()

    return change


def test_what_is_erased_is_nowhere_on_disk(tmp_path: Path) -> None:
    """Neither what waits nor what was carried out is left in any file, and the rest stays in order."""

    async def scenario() -> None:
        first = await open_spool(tmp_path)
        await first.append(entries(*(f"call{n % 4}" for n in range(40))))
        await first.close()
        spool = await open_spool(tmp_path)
        await spool.append(entries("call1", "call2", "call3"))
        await spool.commit((await spool.peek(6))[-1])
        assert await spool.rewrite(change_of(call1=None, call2="changed")) >= 18
        assert b"call1" not in bytes_below(tmp_path)
        assert b"call2" not in bytes_below(tmp_path)
        await spool.append(entries("call1"))
        before = [*(f"call{n % 4}" for n in range(6, 40)), "call2", "call3"]
        expected = [name.replace("call2", "changed") for name in before if name != "call1"] + ["call1"]
        assert await look(spool) == expected
        await spool.close()
        again = await open_spool(tmp_path)
        assert await drain(again) == expected
        assert again.stats.damaged == 0
        await again.close()

    run(scenario())


def test_erasure_takes_what_cannot_be_read(tmp_path: Path) -> None:
    """Damaged bytes may be of the erased call; they go too, and only one directory is touched when so asked."""

    async def scenario() -> None:
        first = await open_spool(tmp_path)
        await first.append(entries("secret one", "other", "last"))
        await first.close()
        path = segments(tmp_path)[0]
        path.write_bytes(path.read_bytes().replace(b"KSP", b"XXX", 1))
        spool = await open_spool(tmp_path)
        await spool.append(entries("other"))
        source = (await spool.peek(1))[0].source
        assert await spool.rewrite(change_of(other=None), source) == 1
        assert b"secret" not in bytes_below(tmp_path)
        assert await drain(spool) == ["last", "other"]
        await spool.close()

    run(scenario())


def test_an_erasure_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses the new file, the old one stays whole; what a crash leaves of a new one is removed."""

    def refuse(_self: Path, _target: Path) -> Path:
        raise OSError(errno.EIO, "Input/output error")

    async def scenario() -> None:
        spool = await open_spool(tmp_path)
        await spool.append(entries("call1", "call2"))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", refuse)
            with pytest.raises(SpoolError):
                await spool.rewrite(change_of(call1=None))
        assert b"call1" in bytes_below(tmp_path)
        assert await look(spool) == ["call1", "call2"]
        await spool.close()
        unfinished = segments(tmp_path)[0].with_suffix(".seg.tmp")
        unfinished.write_bytes(b"call1")
        again = await open_spool(tmp_path)
        assert not unfinished.exists()
        await again.rewrite(change_of(call1=None, call2=None))
        assert again.stats.entries == 0
        assert await again.peek(1) == []
        await again.close()

    run(scenario())


def test_commits_of_what_was_erased_meanwhile_are_fine(tmp_path: Path) -> None:
    """An entry that was looked at and then erased can be committed; the count stays right."""

    async def scenario() -> None:
        spool = await open_spool(tmp_path)
        await spool.append(entries("a", "call1", "b"))
        seen: list[Entry] = await spool.peek(2)
        await spool.rewrite(change_of(call1=None))
        assert spool.stats.entries == 2
        await spool.commit(seen[-1])
        assert spool.stats.entries == 1
        assert await drain(spool) == ["b"]
        await spool.close()

    run(scenario())
