"""The stores that tests of results run over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.results.conformance import Play, play_in_memory, play_in_redis
from tests.support.redis import RedisServer, redis_server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One Redis for every test that takes a tenant of its own and leaves the server as it was."""
    with redis_server(Path(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The same, a cluster of a single node: it refuses what touches more than one slot."""
    with redis_server(Path(tmp_path_factory.mktemp("cluster")), cluster=True) as server:
        yield server


@pytest.fixture(params=["memory", "redis", "cluster"])
def play(request: pytest.FixtureRequest) -> Play:
    """Runs a scenario over each kind of store."""
    if request.param == "memory":
        return play_in_memory
    server: RedisServer = request.getfixturevalue(request.param)
    return lambda scenario: play_in_redis(server, scenario)
