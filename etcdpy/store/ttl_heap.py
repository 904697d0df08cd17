"""When nodes expire: a binary heap of deadlines with lazy deletion.

An entry is `(deadline_ns, created_index, path)`, which is also the order in which nodes expire, the same on every
member whatever their heaps went through. An entry is live while the node at its path still has that deadline and that
created index; nobody takes out an entry when its node changes, so stale ones pile up and are dropped when they reach
the top, or all at once when they may outnumber the live ones. Knows nothing of the tree: `is_live` is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from typing import TypeAlias

Deadline: TypeAlias = tuple[int, int, str]

_MIN_COMPACTION = 1024


class TtlHeap:
    def __init__(self, is_live: Callable[[Deadline], bool]) -> None:
        self._is_live = is_live
        self._heap: list[Deadline] = []
        self._compact_at = _MIN_COMPACTION

    def __len__(self) -> int:
        """How many entries there are, stale ones included."""
        return len(self._heap)

    def push(self, deadline: Deadline) -> None:
        heappush(self._heap, deadline)
        if len(self._heap) >= self._compact_at:
            self._heap = self.live()  # sorted, therefore a heap
            self._compact_at = max(_MIN_COMPACTION, 2 * len(self._heap))

    def first(self) -> Deadline | None:
        """The earliest live deadline; it stays in the heap until its node is gone."""
        heap = self._heap
        while heap and not self._is_live(heap[0]):
            heappop(heap)
        return heap[0] if heap else None

    def live(self) -> list[Deadline]:
        """Every live deadline once, in the order in which they fall due."""
        return sorted({deadline for deadline in self._heap if self._is_live(deadline)})

    def load(self, deadlines: Iterable[Deadline]) -> None:
        """Replaces all entries."""
        self._heap = list(deadlines)
        heapify(self._heap)
        self._compact_at = max(_MIN_COMPACTION, 2 * len(self._heap))
