"""Fairness between endpoints: how many attempts each may have under way, and when what must wait is due again."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

Place = tuple[str, str]
"""Tenant and endpoint."""

_TROUBLED_AFTER = 3
"""Failures in a row after which an endpoint is tried once at a time."""
_FIRST_PACE_S = 0.05
_SMOOTHING = 0.2
_MAX_PARKED_S = 60.0
_MANY = 10_000


@dataclass(slots=True)
class Lane:
    """One endpoint. active: attempts under way. failures: in a row. pace_s: what an attempt takes lately."""

    active: int = 0
    failures: int = 0
    pace_s: float = _FIRST_PACE_S
    parked_until: float = 0.0


class Lanes:
    """The lanes of one process. most: attempts under way at an endpoint."""

    def __init__(self, most: int, rng: Random) -> None:
        self._most = most
        self._rng = rng
        self._lanes: dict[Place, Lane] = {}

    def enter(self, place: Place) -> bool:
        """Takes a place in an endpoint's lane; False where it is full."""
        lane = self._lanes.get(place)
        if lane is None:
            self._forget_the_idle()
            lane = self._lanes[place] = Lane()
        if lane.active >= (1 if lane.failures >= _TROUBLED_AFTER else self._most):
            return False
        lane.active += 1
        return True

    def leave(self, place: Place) -> None:
        """Gives the place back."""
        self._lanes[place].active -= 1

    def learn(self, place: Place, *, failed: bool, seconds: float) -> None:
        """How an attempt went."""
        lane = self._lanes[place]
        lane.failures = lane.failures + 1 if failed else 0
        lane.pace_s += _SMOOTHING * (seconds - lane.pace_s)

    def park(self, place: Place, now: float) -> float:
        """When something that finds the lane full is due again.

        One after the other, as fast as the endpoint works lately: so a long backlog of a slow endpoint is moved out
        of the way of the others about once, not again and again. Never far, for it may recover.
        """
        lane = self._lanes[place]
        lane.parked_until = max(now, lane.parked_until) + lane.pace_s / self._most
        wait_s = min(lane.parked_until - now, _MAX_PARKED_S)
        return now + wait_s * self._rng.uniform(0.9, 1.0)

    def _forget_the_idle(self) -> None:
        if len(self._lanes) >= _MANY:
            self._lanes = {place: lane for place, lane in self._lanes.items() if lane.active}
