"""How many wrong passwords somebody may try: a bucket for each user from each address, and one for each address.

A bucket holds `burst` attempts and fills again at `per_second`. What is asked again and again is not wrong twice (see
`verifier`), so honest clients with an old password do not get here. Nobody can lock a user out from elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

MAX_BUCKETS = 4096


class Rate(NamedTuple):
    burst: float
    per_second: float


PER_USER_AND_ADDRESS = Rate(10, 1)
PER_ADDRESS = Rate(40, 4)


class Attempts:
    """`clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str | None], tuple[float, float]] = OrderedDict()

    def allow(self, user: str, address: str) -> bool:
        """Whether one more may be tried now."""
        return self._left((address, user), PER_USER_AND_ADDRESS) >= 1 and self._left((address, None), PER_ADDRESS) >= 1

    def failed(self, user: str, address: str) -> None:
        """One was wrong."""
        self._take((address, user), PER_USER_AND_ADDRESS)
        self._take((address, None), PER_ADDRESS)

    def _left(self, key: tuple[str, str | None], rate: Rate) -> float:
        tokens, at = self._buckets.get(key, (rate.burst, 0.0))
        return min(rate.burst, tokens + (self._clock() - at) * rate.per_second)

    def _take(self, key: tuple[str, str | None], rate: Rate) -> None:
        self._buckets[key] = self._left(key, rate) - 1, self._clock()
        self._buckets.move_to_end(key)
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
