"""The one way to Redis: connections, time-outs, scripts that a server has forgotten, and what errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError

from app.results.redis.durability import QUESTIONS, Durability
from app.results.redis.failures import CAUGHT, told
from app.results.redis.options import RedisOptions
from app.results.redis.scripts import Script, Scripts
from app.results.store import StoreAwayError, StoreError

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")

_MADE: ContextVar[list[bool] | None] = ContextVar("made", default=None)
"""Whether each connection made for the command under way is durable."""

Argument: TypeAlias = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an operation of a script, on the keys of one tenant."""

    script: Script
    key: str
    arguments: tuple[Argument, ...]

    def command(self, whole: bool) -> tuple[Argument, ...]:
        """As Redis takes it; whole: with the text of the script, for a server that does not know it."""
        begin = ("EVAL", self.script.text) if whole else ("EVALSHA", self.script.sha)
        return (*begin, 1, self.key, *self.arguments)


Command: TypeAlias = Run | tuple[Argument, ...]


class RedisLink:
    """A pool of connections. Nothing is sent twice by itself, but for a script Redis did not know: nothing was done.

    Args:
        url: `redis://`, `rediss://`, `unix://`, or `redis+cluster://` or `rediss+cluster://` (any node of it).
        options: time-outs and bounds.

    Raises:
        ValueError: not such a URL.
    """

    def __init__(self, url: str, options: RedisOptions) -> None:
        self.options = options
        self.scripts = Scripts.of(options)
        self.durability = Durability(options.durable)
        self._places = asyncio.Semaphore(options.max_connections)
        self._client = self._made(url)

    def write(self, key: str, operation: str, *arguments: Argument) -> Run:
        """An operation of the script that writes."""
        return Run(self.scripts.write, key, (operation, *arguments))

    def rest(self, key: str, operation: str, *arguments: Argument) -> Run:
        """An operation of the other script."""
        return Run(self.scripts.rest, key, (operation, *arguments))

    async def one(self, command: Command) -> Any:
        """The answer to one command.

        Raises:
            StoreAwayError: Redis does not serve.
            StoreError: it refused what it should not have.
        """
        (answer,), _ = await self.all([command])
        if isinstance(answer, StoreError):
            raise answer
        return answer

    async def count(self, command: Command) -> int:
        """Like `one`, for an answer that is a number."""
        return int(await self.one(command))

    async def all(self, commands: Sequence[Command]) -> tuple[list[Any], bool]:
        """The answers to several commands, sent together and carried out in order; a StoreError for one refused.

        Returns also whether what was written is on disk.

        Raises:
            StoreAwayError: Redis does not serve; any of the commands may have been carried out.
        """
        try:
            async with asyncio.timeout(self.options.connect_timeout_s + self.options.timeout_s), self._places:
                # A connection that was there before goes to a server that has not restarted since it was asked.
                durable = self.durability.now
                made: list[bool] = []
                _MADE.set(made)
                answers = await self._sent([_plain(command, False) for command in commands])
                answers = await self._taught(commands, answers)
                durable = all(made) if made else durable
        except CAUGHT as error:
            raise told(error) from None
        answers = [told(answer) if isinstance(answer, BaseException) else answer for answer in answers]
        away = next((answer for answer in answers if isinstance(answer, StoreAwayError)), None)
        if away is not None:
            if isinstance(self._client, RedisCluster):
                await self._client.aclose()  # finds the nodes anew, next time
            raise away
        return answers, durable

    async def compact(self) -> bool:
        """Asks every server to write its files anew, in the background; False where one refuses.

        What was erased is in the log and in the last snapshot until then.
        """
        try:
            if not isinstance(self._client, RedisCluster):
                return await _rewritten(self._client)
            await self._client.initialize()
            return all([await _rewritten(node) for node in self._client.get_primaries()])
        except CAUGHT:
            return False

    async def close(self) -> None:
        """Lets go of every connection."""
        await self._client.aclose()
        if isinstance(self._client, Redis):
            await self._client.connection_pool.disconnect()

    async def _sent(self, commands: Sequence[tuple[Argument, ...]]) -> list[Any]:
        pipeline: Any = (
            self._client.pipeline()
            if isinstance(self._client, RedisCluster)
            else self._client.pipeline(transaction=False)
        )
        for command in commands:
            pipeline.execute_command(*command)
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    async def _taught(self, commands: Sequence[Command], answers: list[Any]) -> list[Any]:
        """Sends what a server did not know again, and what came after it, so that the order is kept."""
        first = next((at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)), None)
        if first is None:
            return answers
        taught: set[tuple[str, str]] = set()
        again = []
        for command in commands[first:]:
            whole = isinstance(command, Run) and (command.script.sha, command.key) not in taught
            if isinstance(command, Run):
                taught.add((command.script.sha, command.key))
            again.append(_plain(command, whole))
        return [*answers[:first], *await self._sent(again)]

    def _made(self, url: str) -> Redis | RedisCluster:
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in SCHEMES:
            raise ValueError(f"expected a URL that begins with one of {', '.join(SCHEMES)}")
        settings: dict[str, Any] = {
            "decode_responses": True,
            "encoding_errors": "surrogatepass",
            "socket_timeout": self.options.timeout_s,
            "socket_connect_timeout": self.options.connect_timeout_s,
            "protocol": 2,
            "retry": Retry(NoBackoff(), 0),
            "driver_info": None,
        }
        if not scheme.endswith("+cluster"):
            pool: ConnectionPool = ConnectionPool.from_url(
                url,
                max_connections=self.options.max_connections,
                redis_connect_func=self._prepare,
                **settings,
            )
            return Redis.from_pool(pool)
        plain = f"{scheme.removesuffix('+cluster')}://{rest}"
        cluster: RedisCluster = RedisCluster.from_url(plain, **settings)
        for known in (cluster.connection_kwargs, *(node.connection_kwargs for node in cluster.startup_nodes)):
            known["redis_connect_func"] = self._prepare
        return cluster

    async def _prepare(self, connection: AbstractConnection) -> None:
        """What every new connection does first: teaches the scripts, and asks whether writes are durable."""
        await connection.on_connect()
        lessons = [("SCRIPT", "LOAD", script.text) for script in (self.scripts.write, self.scripts.rest)]
        questions = [*lessons, *QUESTIONS]
        await connection.send_packed_command(connection.pack_commands(questions))
        answers = [await _answer(connection) for _ in questions]
        durable = self.durability.note(_server_of(connection), answers[len(lessons) :])
        made = _MADE.get()
        if made is not None:
            made.append(durable)


def _server_of(connection: AbstractConnection) -> str:
    place = (str(getattr(connection, name, "")) for name in ("host", "port", "path"))
    return "|".join(place)


def _plain(command: Command, whole: bool) -> tuple[Argument, ...]:
    return command.command(whole) if isinstance(command, Run) else command


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


async def _rewritten(server: Any) -> bool:
    _, log = await server.execute_command("CONFIG", "GET", "appendonly")
    _, snapshots = await server.execute_command("CONFIG", "GET", "save")
    if log == "yes":
        await server.execute_command("BGREWRITEAOF")
    if snapshots:
        await server.execute_command("BGSAVE", "SCHEDULE")
    return True
