"""Cluster time: one clock for the whole cluster, told by whoever leads, carried by the log.

The leader stamps each entry that it appends. A member that hears a stamp counts on from it by its own monotonic
clock, so when leadership moves, time goes on where it was: how far the members' wall clocks are apart, or that one
of them is set, does not matter. A stamp arrives late and never early, so a new leader's time is at most a message
delay behind and never ahead: nothing expires early. The wall clock is asked only by a member that has heard nothing
since it started (a first start, or a restart of the whole cluster).
"""

from __future__ import annotations

from collections.abc import Callable


class ClusterClock:
    """Nanoseconds since the Unix epoch; `now_ns` never goes back."""

    def __init__(self, monotonic_ns: Callable[[], int], wall_ns: Callable[[], int]) -> None:
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._offset_ns: int | None = None
        self._floor_ns = 0

    def now_ns(self) -> int:
        if self._offset_ns is None:
            return max(self._floor_ns, self._wall_ns())
        return max(self._floor_ns, self._monotonic_ns() + self._offset_ns)

    def stamp_ns(self) -> int:
        """The leader's next stamp; from now on this member's time counts from it."""
        now = self.now_ns()
        self.hear(now)
        return now

    def not_before(self, stamp_ns: int) -> None:
        """A stamp that was applied: time is not before it, but how long ago it was given nobody here knows."""
        self._floor_ns = max(self._floor_ns, stamp_ns)

    def hear(self, stamp_ns: int) -> None:
        """A stamp that has just been given by a living leader."""
        self._floor_ns = max(self._floor_ns, stamp_ns)
        self._offset_ns = self._floor_ns - self._monotonic_ns()
