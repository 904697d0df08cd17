"""What the stats endpoints say about replication traffic. Counters only: nothing here decides anything.

Shapes and rules are etcd 3.4's (etcdserver/api/v2stats): rates over a window of the last 200 samples that empties
when nothing has come for a second, latency in milliseconds.
"""

from __future__ import annotations

import math
from collections import deque

from raft.messages import Message, MessageType

WINDOW_SAMPLES = 200
STALE_SECONDS = 1.0


class AppendTraffic:
    """Appends in one direction: how many ever, and how fast of late."""

    __slots__ = ("_window", "count")

    def __init__(self) -> None:
        self.count = 0
        self._window: deque[tuple[float, int, int]] = deque(maxlen=WINDOW_SAMPLES)

    def add(self, now: float, appends: int, size_bytes: int) -> None:
        self.count += appends
        self._window.append((now, appends, size_bytes))

    def rates(self, now: float) -> tuple[float, float]:
        """Appends and bytes per second; 0 when there is nothing to say."""
        window = self._window
        if not window or now - window[-1][0] > STALE_SECONDS:
            window.clear()
            return 0.0, 0.0
        seconds = window[-1][0] - window[0][0]
        if seconds <= 0:
            return 0.0, 0.0
        return sum(sample[1] for sample in window) / seconds, sum(sample[2] for sample in window) / seconds


class Latency:
    """Running mean and deviation (Welford), in milliseconds."""

    __slots__ = ("_square_sum", "average", "count", "current", "maximum", "minimum")

    def __init__(self) -> None:
        self.count = 0
        self.current = self.average = self.minimum = self.maximum = self._square_sum = 0.0

    def add(self, milliseconds: float) -> None:
        self.count += 1
        distance = milliseconds - self.average
        self.average += distance / self.count
        self._square_sum += distance * (milliseconds - self.average)
        self.minimum = milliseconds if self.count == 1 else min(self.minimum, milliseconds)
        self.maximum = max(self.maximum, milliseconds)
        self.current = milliseconds

    @property
    def standard_deviation(self) -> float:
        return math.sqrt(self._square_sum / self.count) if self.count else 0.0


class FollowerStats:
    """One follower, seen from the leader. A round trip is an append with entries until its acknowledgement, so it
    includes the follower's fsync; one is measured at a time."""

    __slots__ = ("_awaited_index", "_sent_at", "fail", "latency", "success")

    def __init__(self) -> None:
        self.latency = Latency()
        self.success = 0
        self.fail = 0
        self._awaited_index = 0
        self._sent_at = 0.0

    def sent(self, message: Message, now: float) -> None:
        if not self._awaited_index and message.entries and message.type == MessageType.APP:
            self._awaited_index = message.entries[-1].index
            self._sent_at = now

    def received(self, message: Message, now: float) -> None:
        if message.type != MessageType.APP_RESP:
            return
        if message.reject:
            self._awaited_index = 0
            return
        self.success += 1
        if 0 < self._awaited_index <= message.index:
            self._awaited_index = 0
            self.latency.add((now - self._sent_at) * 1000)

    def failed(self, count: int) -> None:
        self.fail += count
        self._awaited_index = 0


class TransportStats:
    """All traffic of one member. Times are the event loop's clock, in seconds."""

    def __init__(self) -> None:
        self.sent = AppendTraffic()
        self.received = AppendTraffic()
        self.followers: dict[int, FollowerStats] = {}

    def follower(self, member_id: int) -> FollowerStats:
        stats = self.followers.get(member_id)
        if stats is None:
            stats = self.followers[member_id] = FollowerStats()
        return stats
