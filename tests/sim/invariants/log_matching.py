"""Log Matching (Raft paper, section 5.3, figure 3): two entries with the same index and term are the same, and so are
all entries before them. By induction it is enough that each has the same entry before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raft.messages import Entry


class LogMatching:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._entries: dict[tuple[int, int], tuple[Entry, int | None]] = {}

    def became_durable(self, member: Any, entries: Sequence[tuple[Entry, int | None]]) -> None:
        """Every entry that matters gets to a disk."""
        for entry, before in entries:
            known = self._entries.get((entry.term, entry.index))
            if known is None:
                self._entries[entry.term, entry.index] = (entry, before)
                continue
            if known[0] != entry:
                self._world.fail("log matching", f"{member}: entry {entry.index} of term {entry.term} is another one")
            if known[1] is None:
                self._entries[entry.term, entry.index] = (entry, before)
            elif before is not None and known[1] != before:
                text = (
                    f"{member}: before {entry.index} of term {entry.term} is one of {before}, elsewhere of {known[1]}"
                )
                self._world.fail("log matching", text)
