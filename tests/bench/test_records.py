"""The benchmark of records measures every part, each figure beside its baseline, and notices what does not work."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.results.store import StoreError
from app.results.writes import AppendRecord
from bench import record_live, record_memory, record_poll, record_recovery, record_store
from bench.clients import ServerProcess, server_process
from bench.figures import BenchError, Figure, Machine, Sizes, as_json, as_markdown, percentile, spending
from bench.made import made_append, made_call, made_text, opened_stores, write_all
from bench.records import PARTS, main
from bench.redis_server import redis_server
from tests.support.tiny_bundle import write_tiny_bundle

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="NO redis-server ON THIS MACHINE: nothing about Redis is tested (Debian: apt install redis-server)",
)


@pytest.fixture
def sizes(tmp_path: Path) -> Sizes:
    """As little as can be measured."""
    return Sizes(
        tmp_path,
        write_tiny_bundle(tmp_path / "tiny"),
        calls=3,
        records=4,
        rounds=1,
        lone_writes=3,
        viewers=4,
        events=5,
        events_per_s=50.0,
        window_s=0.2,
        stored=12,
        few=6,
        polls=3,
        measured=120,
        away_s=0.3,
        load_per_s=40.0,
    )


def sound(figures: list[Figure]) -> None:
    """Every figure is more than nothing, and so is every baseline."""
    assert figures
    assert all(figure.value > 0 and figure.unit for figure in figures)
    assert all(
        figure.ratio is not None and figure.against for figure in figures if figure.baseline is not None
    )
    assert len({figure.what for figure in figures}) == len(figures)


@needs_redis
def test_stores_are_measured(sizes: Sizes) -> None:
    """Memory and Redis with each policy of its log: a rate, processor time and two latencies, all with baselines."""
    figures = list(record_store.measure(sizes))
    sound(figures)
    kinds = [figure.what.rpartition(", ")[0].removesuffix(", one write") for figure in figures]
    assert kinds == [
        kind
        for kind in ("memory", "Redis, fsync no", "Redis, fsync everysec", "Redis, fsync always")
        for _ in range(4)
    ]
    assert all(figure.baseline is not None for figure in figures)


def test_the_spool_is_measured(sizes: Sizes) -> None:
    """Written through, and not."""
    figures = list(record_store.measure_spool(sizes))
    sound(figures)
    assert [figure.what.partition(",")[0] for figure in figures] == ["fsync always"] * 2 + ["fsync never"] * 2


@pytest.mark.slow
def test_viewers_are_measured(sizes: Sizes) -> None:
    """In a process and over sockets; one of them really stalls, and the others are told everything."""
    figures = [figure for figure in record_live.measure(sizes) if figure.part != "memory"]
    sound(figures)
    assert [figure.what for figure in figures if figure.against == "the same without"] == [
        f"WebSockets, 50 events/s, latency {name}, 1 viewer stalled" for name in ("p50", "p99")
    ]


@pytest.mark.slow
@needs_redis
def test_polls_are_measured(sizes: Sizes) -> None:
    """The list and the 304, beside a bare answer and beside few calls, in memory and in Redis."""
    figures = list(record_poll.measure(sizes))
    sound(figures)
    assert sum(figure.baseline is not None for figure in figures) == 2 * 8


@needs_redis
def test_memory_is_measured(sizes: Sizes) -> None:
    """A stored record takes more than its JSON, in memory and in Redis."""
    figures = list(record_memory.measure(sizes))
    sound(figures)
    assert all((figure.ratio or 0) > 1 for figure in figures)


@pytest.mark.slow
@needs_redis
def test_an_outage_is_measured(sizes: Sizes) -> None:
    """Redis is killed and started again; everything that was written is there."""
    figures = list(record_recovery.measure(sizes))
    written = int(sizes.load_per_s * (1.0 + sizes.away_s + 2.0))
    assert [figure.value for figure in figures if figure.unit == "records"] == [written, written]
    assert figures[0].value >= figures[1].value


@pytest.mark.slow
def test_a_missing_record_is_noticed(sizes: Sizes) -> None:
    """What a call was told that the store does not hold counts as missing."""
    options = {"bundle": str(sizes.bundle), "store": {"url": "memory://"}, "most_calls": 1_000}
    with server_process(options, sizes.folder / "server") as server:
        told = server.ask("load", calls=2, per_second=1_000, seconds=0.01)["told"]
        assert sum(told.values()) == 10
        assert server.ask("missing", told=told) == {"missing": 0, "twice": 0}
        more = {call_id: last + 2 for call_id, last in told.items()}
        assert server.ask("missing", told=more) == {"missing": 4, "twice": 0}


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    """A bundle that is not there."""
    options = {"bundle": str(tmp_path / "none"), "store": {"url": "memory://"}, "most_calls": 1_000}
    with pytest.raises(BenchError, match="BundleError"), server_process(options, tmp_path):
        raise AssertionError("it started")


def test_a_refused_write_is_no_figure(tmp_path: Path) -> None:
    """A record of a call that is not known."""

    async def work() -> None:
        async with opened_stores(tmp_path) as stores:
            await write_all(stores.results, [made_call("a"), made_append("a", 1)])
            answers = await stores.results.write([made_append("b", 1)])
            assert isinstance(answers[0], StoreError)
            with pytest.raises(BenchError, match="CallNotFoundError"):
                await write_all(stores.results, [made_append("b", 1)])

    asyncio.run(work())


def test_records_are_of_a_real_size() -> None:
    """As `docs/protocol.md` shows one: between half and one and a half kilobyte of JSON; no two are alike."""
    texts = {made_text("a", seq) for seq in range(10)}
    assert len(texts) == 10
    assert all(500 < len(text) < 1_500 for text in texts)
    assert isinstance(made_append("a", 1), AppendRecord)


@needs_redis
def test_a_redis_comes_back_with_what_was_written(tmp_path: Path) -> None:
    """`always`: nothing is lost by SIGKILL."""

    async def count(url: str, texts: int) -> int:
        async with record_store.plain_redis(redis) as client:
            if texts:
                await record_store.plain_adds(client, [("a", f"text {number}") for number in range(texts)])
            return int(await client.xlen("plain:a"))

    with redis_server(tmp_path / "redis", "always") as redis:
        assert redis.memory() > 0
        assert asyncio.run(count(redis.url, 7)) == 7
        redis.kill()
        redis.start()
        assert asyncio.run(count(redis.url, 0)) == 7


def test_percentiles() -> None:
    """The nearest rank; of nothing there is none."""
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([3.0], 0.01) == 3.0
    with pytest.raises(BenchError):
        percentile([], 0.5)


def test_processor_time_of_others_counts() -> None:
    """A process that is named counts beside this one, which is in any case."""
    with spending() as own:
        sum(range(200_000))
    assert own.wall_s > 0
    assert own.cpu_s > 0


def test_the_table_and_the_json_say_the_same(tmp_path: Path) -> None:
    """Figures with their baselines and ratios, and the machine; paths of the machine stay out."""
    figures = [
        Figure("store", "records", 1_500.0, "1/s", 6_000.0, "plain"),
        Figure("poll", "some", 0.1234, "s"),
    ]
    machine, sizes = Machine(2, "Linux x86_64", "3.11.7", "7.0.15"), Sizes(tmp_path)
    table = as_markdown(figures, machine, sizes, 61.2)
    assert "2 cores, Linux x86_64, Python 3.11.7, Redis 7.0.15" in table
    assert "| store | records | 1,500 1/s | 6,000 1/s (plain) | 0.25 |" in table
    assert "| poll | some | 0.123 s |  |  |" in table
    said = as_json(figures, machine, sizes, 61.2)
    assert [figure["ratio"] for figure in said["figures"]] == [0.25, None]
    assert str(tmp_path) not in json.dumps(said)
    assert replace(sizes, calls=1).stored == said["sizes"]["stored"] == 100_000


@needs_redis
def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the parts that are asked for, with sizes by flags; a table, or JSON."""
    small = ["--folder", str(tmp_path), "--calls", "2", "--records", "2", "--rounds", "1", "--measured", "20"]
    main(["--only", "spool", "memory", "--json", *small])
    said = json.loads(capsys.readouterr().out)
    assert {figure["part"] for figure in said["figures"]} == {"spool", "memory"}
    assert said["sizes"]["calls"] == 2
    main(["--only", "spool", *small])
    assert capsys.readouterr().out.count("| spool |") == 4
    assert list(tmp_path.iterdir()) == []
    assert set(PARTS) == {"store", "spool", "live", "poll", "memory", "recovery"}


def test_what_does_not_work_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part that cannot be measured: no table, and the reason in one line."""
    with pytest.raises(SystemExit, match="did not start"):
        main(["--only", "live", "--folder", str(tmp_path), "--bundle", str(tmp_path / "none"), "--viewers", "1",
              "--events", "1", "--rounds", "1"])  # fmt: skip
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_a_server_that_fails_is_no_figure(tmp_path: Path) -> None:
    """Something it cannot do."""
    with server_process({"bare": True}, tmp_path) as server:
        assert isinstance(server, ServerProcess)
        assert server.ask("usage")["viewers"] == 0
        with pytest.raises(BenchError, match="failed to fly"):
            server.ask("fly")
