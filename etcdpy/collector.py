"""Python's cyclic collector, kept from walking the store again and again.

The store has no reference cycles, so its half a million nodes are nothing to the collector but work: a full
collection over them takes about 50 ms, and by default Python makes one whenever a quarter as many objects have come
anew. Here the young generations are collected as ever, which finds nearly all cycles (of connections, tasks,
exceptions), and the old one seldom and by the clock.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

FULL_COLLECTION_SECONDS = 600.0
_YOUNG, _MIDDLE, _NEVER = 10_000, 10, 1 << 30


class Collector:
    """Call `check` now and then. `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Takes all that is alive now out of the collector's sight: what was loaded stays."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(_YOUNG, _MIDDLE, _NEVER)
        self._monotonic = monotonic
        self._last = monotonic()

    def check(self) -> None:
        if self._monotonic() - self._last >= FULL_COLLECTION_SECONDS:
            gc.collect()
            self._last = self._monotonic()
