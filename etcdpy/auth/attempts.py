"""How many wrong passwords somebody may try: a bucket for each user from each address, and one for each address.

A bucket holds `burst` attempts and fills again at `per_second`. An attempt is taken before it is made, so that many at
once are no way around, and given back if it was right. What is asked again and again is not wrong twice (see
`verifier`), so honest clients with an old password do not get here. Nobody can lock a user out from elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

MAX_BUCKETS = 4096

_Key: TypeAlias = tuple[str, str | None]


class Rate(NamedTuple):
    burst: float
    per_second: float


PER_USER_AND_ADDRESS = Rate(20, 5)
PER_ADDRESS = Rate(40, 10)
"""Less than a thread can check at bcrypt's usual cost, about 13 a second."""


class Attempts:
    """`clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._tokens: OrderedDict[_Key, tuple[float, float]] = OrderedDict()

    def take(self, user: str, address: str) -> bool:
        """Whether one more may be made now; it then counts."""
        buckets = _buckets(user, address)
        if any(self._left(key, rate) < 1 for key, rate in buckets):
            return False
        for key, rate in buckets:
            self._add(key, rate, -1)
        return True

    def give_back(self, user: str, address: str) -> None:
        """It was right."""
        for key, rate in _buckets(user, address):
            self._add(key, rate, 1)

    def seconds_until(self, user: str, address: str) -> float:
        """How long until one may be made, if nobody else makes one."""
        return max((1 - self._left(key, rate)) / rate.per_second for key, rate in _buckets(user, address))

    def _left(self, key: _Key, rate: Rate) -> float:
        tokens, at = self._tokens.get(key, (rate.burst, 0.0))
        return min(rate.burst, tokens + (self.clock() - at) * rate.per_second)

    def _add(self, key: _Key, rate: Rate, tokens: int) -> None:
        self._tokens[key] = min(rate.burst, self._left(key, rate) + tokens), self.clock()
        self._tokens.move_to_end(key)
        if len(self._tokens) > MAX_BUCKETS:
            self._tokens.popitem(last=False)


def _buckets(user: str, address: str) -> tuple[tuple[_Key, Rate], ...]:
    return ((address, user), PER_USER_AND_ADDRESS), ((address, None), PER_ADDRESS)
