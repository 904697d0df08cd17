"""When nodes expire: binary heaps of deadlines with lazy deletion.

An entry is `(deadline_ns, created_index, path)`, which is also the order in which nodes expire, the same on every
member whatever its heaps went through. An entry is live while the node at its path still has that deadline and that
created index. Nobody takes out an entry when its node changes: stale ones are dropped when they reach the top.

Stale entries could pile up below the top (a key that is set with a long TTL again and again), so when they may
outnumber the live ones the heap becomes the old one and is sifted into a young one, a few entries with each push: no
push ever takes long. Knows nothing of the tree: `is_live` is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import TypeAlias

Deadline: TypeAlias = tuple[int, int, str]

_MIN_LIMIT = 1024
_SIFTED_PER_PUSH = 4
_LAST_NS = 2**63 - 1


class TtlHeap:
    def __init__(self, is_live: Callable[[Deadline], bool]) -> None:
        self._is_live = is_live
        self._young: list[Deadline] = []
        self._old: list[Deadline] = []
        self._limit = _MIN_LIMIT

    def __len__(self) -> int:
        """How many entries there are, stale ones included."""
        return len(self._young) + len(self._old)

    def push(self, deadline: Deadline) -> None:
        heappush(self._young, deadline)
        if self._old:
            self._sift()
        elif len(self._young) >= self._limit:
            self._old, self._young = self._young, []

    def first(self, until_ns: int = _LAST_NS) -> Deadline | None:
        """The earliest live deadline, if it is not after `until_ns`; it stays until its node is gone."""
        tops = (self._first_of(self._young, until_ns), self._first_of(self._old, until_ns))
        return min((top for top in tops if top is not None), default=None)

    def live(self) -> list[Deadline]:
        """Every live deadline once, in the order in which they fall due."""
        return sorted({deadline for heap in (self._young, self._old) for deadline in heap if self._is_live(deadline)})

    def load(self, deadlines: Iterable[Deadline]) -> None:
        """Replaces all entries."""
        self._old = []
        self._young = list(deadlines)
        heapify(self._young)
        self._set_limit()

    def _sift(self) -> None:
        for _ in range(min(_SIFTED_PER_PUSH, len(self._old))):
            deadline = self._old.pop()  # a heap without its last element is still a heap
            if self._is_live(deadline):
                heappush(self._young, deadline)
        if not self._old:
            self._set_limit()

    def _set_limit(self) -> None:
        self._limit = max(_MIN_LIMIT, 2 * len(self._young))

    def _first_of(self, heap: list[Deadline], until_ns: int) -> Deadline | None:
        while heap and heap[0][0] <= until_ns:
            if self._is_live(heap[0]):
                return heap[0]
            heappop(heap)
        return None
