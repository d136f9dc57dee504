"""The Lua scripts: one for what writes, refused where Redis is full, and one for everything else, which never is.

Each operation is a file of `lua/`; the two scripts are put together here, with the bounds written into them. A script
begins with `#!lua`, by which Redis refuses it whole before its first command rather than somewhere in the middle.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from app.results.redis.naming import milliseconds
from app.results.redis.options import RedisOptions

DEDUPE_S = 86_400.0
"""How long a queue knows the key of work that was done."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script and the name Redis knows it by."""

    text: str
    sha: str


@dataclass(frozen=True, slots=True)
class Scripts:
    """Every script. write: what needs memory. rest: what reads, or makes room."""

    write: Script
    rest: Script

    @classmethod
    def of(cls, options: RedisOptions) -> Scripts:
        """The scripts for these bounds."""
        return cls(
            _put_together("#!lua", "write", options), _put_together("#!lua flags=allow-oom", "rest", options)
        )


def _put_together(begin: str, folder: str, options: RedisOptions) -> Script:
    bounds = {
        "LIVE_MS": milliseconds(options.live_ttl_s),
        "FEED_MS": milliseconds(options.feed_ttl_s),
        "FEED_ENTRIES": options.feed_entries,
        "STATS_MS": milliseconds(options.stats_ttl_s),
        "META_MS": milliseconds(options.tenant_ttl_s),
        "DEDUPE_MS": milliseconds(DEDUPE_S),
        "MAX_RECORDS": options.max_records_per_call,
    }
    place = files("app.results.redis").joinpath("lua")
    parts = [begin, *(f"local {name} = {value}" for name, value in bounds.items())]
    parts += [place.joinpath("shared.lua").read_text("utf-8"), "local op = ARGV[1]"]
    for file in sorted(place.joinpath(folder).iterdir(), key=lambda file: file.name):
        parts += [f"if op == '{file.name.removesuffix('.lua')}' then", file.read_text("utf-8"), "end"]
    text = "\n".join([*parts, "return redis.error_reply('ERR unknown operation')"])
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
