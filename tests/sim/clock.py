"""A member's own clocks, made from true time: a monotonic one that runs a little wrong, a wall clock that is set."""

from __future__ import annotations

MILLION = 1_000_000
EPOCH_NS = 1_700_000_000 * 10**9


class MemberClock:
    """`rate_ppm` is how wrong the monotonic clock runs. Each boot of the machine begins it at another number."""

    def __init__(self, rate_ppm: int, monotonic_base_ns: int, wall_offset_ns: int) -> None:
        self.rate_ppm = rate_ppm
        self.monotonic_base_ns = monotonic_base_ns
        self.wall_offset_ns = wall_offset_ns

    def monotonic_ns(self, now_ns: int) -> int:
        return self.monotonic_base_ns + now_ns + now_ns * self.rate_ppm // MILLION

    def wall_ns(self, now_ns: int) -> int:
        return EPOCH_NS + now_ns + self.wall_offset_ns

    def true_duration_ns(self, duration_ns: int) -> int:
        """How long a duration by this member's monotonic clock takes."""
        return duration_ns * MILLION // (MILLION + self.rate_ppm)
