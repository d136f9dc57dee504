"""What is kept, in Redis (7.0 or later, alone or as a cluster).

Keys. Everything of a tenant is named `kowairo:{<tenant>}:…`: the hash tag puts a tenant on one shard of a cluster, so
that each change is one Lua script that touches one slot; tenants spread over the shards. Only `kowairo:tenants` and
`kowairo:owner:<id>` stand outside. After the tag:

    meta                hash: version, last position of the feed
    call:<id>           hash: the call; `m:<name>` are its metadata
    records:<id>        stream, ids `<seq>-0`: position in the feed, record
    told:<id>           hash: position in the feed -> body of that entry
    share:<id>          hash: what the call adds to the statistics
    things:<id>         set: work and keys that go when the call is erased; docs-of:<id>: zset, its documents
    calls line:<line> active    zsets by name, `<start, 16 hex digits><id>`; subject:<digest>: set of ids
    ending              zset: when each call expires
    feed                hash: position -> type, call, seq, origin; feed-times: zset, when a position was reached
    stats:<start>       hash: counted sums; stats: zset of starts
    doc:<kind>:<key>    hash; docs:<kind>, docs-ending:<kind>: zsets by name and by expiry
    queue:<queue>       zset by due time; job:<queue>:<key>: hash; did:<queue>:<key>, once:<digest>: what came lately
    journal:<name>      hash: number -> entry

The feed holds references only. The body of an entry lies with its call and goes with it, when the call is erased and
when it expires: the entry then reads as `call_erased`. A stream would keep deleted bytes until a whole node of it is
empty, which is no erasure; that is why feed and journals are hashes of numbers.

Every key has a time to live, but for documents put without one, their indices, and journals, which end by `trim`.
"""

from app.results.redis.options import RedisOptions
from app.results.redis.stores import RedisStores

__all__ = ["RedisOptions", "RedisStores"]
