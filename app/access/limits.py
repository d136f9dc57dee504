"""How much one client or tenant may ask for: token buckets, calls at a time, and wrong credentials by address.

All of it is this process's own count: several processes allow as many times the limit as there are of them.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from app.access.peers import peer_key

MAX_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So much a second on average, and at most `burst` at once."""

    per_s: float
    burst: float

    def __post_init__(self) -> None:
        if not (0 < self.per_s < math.inf and 0 < self.burst < math.inf):
            raise ValueError("expected a rate and a burst above 0")

    @property
    def window_s(self) -> float:
        """How long an empty bucket takes to be full."""
        return self.burst / self.per_s


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of an attempt. retry_after_s: until as much can be had, 0 where it was had.

    remaining: what is left. full_in_s: until everything is there again.
    """

    allowed: bool
    retry_after_s: float
    remaining: float
    full_in_s: float


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float


class Buckets:
    """One token bucket a key, all of one rate unless a rate is given; at most `max_buckets`, the last used.

    Times are monotonic seconds. A bucket that gives way to others is full when it comes back: who has many keys
    gains by it, but keys are not given away.
    """

    def __init__(self, max_buckets: int = MAX_BUCKETS) -> None:
        self._max = max_buckets
        self._buckets: OrderedDict[Hashable, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, rate: Rate, amount: float, now: float, *, overdraw: bool = False) -> Taken:
        """Takes an amount, all or nothing. overdraw: what is left need not suffice, but must be above 0.

        An overdrawn bucket owes what was taken beyond its level, so that on average the rate still holds; for
        amounts that may be larger than any burst, and are known only once they are there.
        """
        bucket = self._buckets.pop(key, None) or _Bucket(rate.burst, now)
        self._buckets[key] = bucket
        if len(self._buckets) > self._max:
            self._buckets.popitem(last=False)
        elapsed = max(0.0, now - bucket.at)
        bucket.level = min(rate.burst, bucket.level + elapsed * rate.per_s)
        bucket.at = now
        allowed = bucket.level > 0 if overdraw else bucket.level >= amount
        missing = 0.0 if allowed else (0.0 if overdraw else amount) - bucket.level
        if allowed:
            bucket.level -= amount
        wait_s = 0.0 if allowed else max(missing / rate.per_s, 0.001)
        return Taken(allowed, wait_s, max(0.0, bucket.level), (rate.burst - bucket.level) / rate.per_s)


class Places:
    """How many of something each key holds at a time (calls of a tenant)."""

    def __init__(self) -> None:
        self._held: dict[Hashable, int] = {}

    def enter(self, key: Hashable, most: int | None) -> bool:
        """Takes a place; False where `most` are taken. None: any number."""
        held = self._held.get(key, 0)
        if most is not None and held >= most:
            return False
        self._held[key] = held + 1
        return True

    def leave(self, key: Hashable) -> None:
        """Gives a place back."""
        held = self._held.get(key, 0) - 1
        if held > 0:
            self._held[key] = held
        else:
            self._held.pop(key, None)

    def held(self, key: Hashable) -> int:
        """How many places are taken."""
        return self._held.get(key, 0)


@dataclass(frozen=True, slots=True)
class Patience:
    """How many wrong credentials an address may send, and what then.

    free: without any consequence. first_s: how long it is put off after the next; each further one doubles it, up to
    `longest_s`. forget_s: after so long without a wrong one all is forgotten.
    """

    free: int = 10
    first_s: float = 1.0
    longest_s: float = 300.0
    forget_s: float = 900.0


@dataclass(slots=True)
class _Failures:
    count: int
    last: float
    blocked_until: float


class Guard:
    """Wrong credentials by peer address; at most `max_peers`, the last seen. Times are monotonic seconds.

    An address that is put off harms no other. What is sent while it is put off does not count, and right credentials
    that are at hand still let in (see `Authenticator`), so that one bad client does not shut out those beside it.
    """

    def __init__(self, patience: Patience, max_peers: int = MAX_BUCKETS) -> None:
        self._patience = patience
        self._max = max_peers
        self._peers: OrderedDict[str, _Failures] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def blocked_s(self, peer: str | None, now: float) -> float:
        """For how many seconds the address is put off; 0 where it is not."""
        failures = self._peers.get(peer_key(peer))
        return 0.0 if failures is None else max(0.0, failures.blocked_until - now)

    def failed(self, peer: str | None, now: float) -> float:
        """Counts wrong credentials; for how many seconds the address is now put off."""
        patience, key = self._patience, peer_key(peer)
        failures = self._peers.pop(key, None)
        if failures is None or now - max(failures.last, failures.blocked_until) >= patience.forget_s:
            failures = _Failures(0, now, 0.0)
        self._peers[key] = failures
        if len(self._peers) > self._max:
            self._peers.popitem(last=False)
        if failures.blocked_until > now:
            return failures.blocked_until - now
        failures.count += 1
        failures.last = now
        over = failures.count - patience.free
        if over > 0:
            wait_s = min(patience.longest_s, patience.first_s * 2.0 ** min(over - 1, 64))
            failures.blocked_until = now + wait_s
            return wait_s
        return 0.0
