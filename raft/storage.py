"""What raft reads from disk, and the in-memory twin that tests and examples use.

Raft only ever reads through `Storage`; writing is the caller's job, told by `Ready`. The stored log is a run of
entries `first_index..last_index` that starts right after the snapshot's index. A storage must show a save before the
`advance()` that follows it, and must not show entries that it was not given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from raft.errors import Compacted, StorageError, Unavailable
from raft.messages import ConfState, Entry, HardState, Snapshot


class Storage(Protocol):
    @property
    def first_index(self) -> int:
        """The index of the first entry held, or the one that the next entry will get if none is."""

    @property
    def last_index(self) -> int:
        """The index of the last entry held; `first_index - 1` if none is."""

    def initial_state(self) -> tuple[HardState, ConfState]:
        """What was saved last. The ConfState is the one in force at the caller's applied index."""

    def term(self, index: int) -> int:
        """The term of the entry at `index`, known from `first_index - 1` on. Raises Compacted or Unavailable."""

    def entries(self, lo: int, hi: int, max_bytes: int) -> Sequence[Entry]:
        """Entries `lo..hi-1`, cut off after `max_bytes` of data but never before the first one. Raises Compacted or
        Unavailable."""

    def snapshot(self) -> Snapshot | None:
        """The newest snapshot that can be sent to a member, or None if there is none just now."""


def limit_bytes(entries: Sequence[Entry], max_bytes: int) -> Sequence[Entry]:
    """The longest start of `entries` whose data fits in `max_bytes`; never less than one entry."""
    size = 0
    for position, entry in enumerate(entries):
        size += len(entry.data)
        if size > max_bytes and position:
            return entries[:position]
    return entries


class MemoryStorage:
    """A Storage that keeps everything in memory.

    Invariant: `_entries[i].index == first_index + i`. What is in here counts as being on disk: a test that crashes a
    member builds the next RawNode from the same MemoryStorage.
    """

    def __init__(self, conf_state: ConfState = ConfState()) -> None:  # noqa: B008  # immutable
        self._hard_state = HardState()
        self._snapshot = Snapshot(0, 0, conf_state)
        self._entries: list[Entry] = []
        self._before = (0, 0)  # index and term of the entry before the first one held

    @property
    def first_index(self) -> int:
        return self._before[0] + 1

    @property
    def last_index(self) -> int:
        return self._before[0] + len(self._entries)

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._hard_state, self._snapshot.conf_state

    def term(self, index: int) -> int:
        before, before_term = self._before
        if index == before:
            return before_term
        self._check(index)
        return self._entries[index - before - 1].term

    def entries(self, lo: int, hi: int, max_bytes: int) -> Sequence[Entry]:
        self._check(lo)
        self._check(hi - 1)
        first = self.first_index
        return limit_bytes(self._entries[lo - first : hi - first], max_bytes)

    def snapshot(self) -> Snapshot | None:
        return self._snapshot if self._snapshot.index else None

    def _check(self, index: int) -> None:
        if index < self.first_index:
            raise Compacted(f"index {index} is before the first entry {self.first_index}")
        if index > self.last_index:
            raise Unavailable(f"index {index} is after the last entry {self.last_index}")

    # What the caller of raft does.

    def save(self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None) -> None:
        """Stores what a Ready carries. A snapshot replaces the log; entries replace what conflicts with them."""
        if snapshot is not None:
            self._snapshot = snapshot
            self._before = (snapshot.index, snapshot.term)
            self._entries.clear()
        if entries:
            self._append(entries)
        if hard_state is not None:
            self._hard_state = hard_state

    def _append(self, entries: Sequence[Entry]) -> None:
        keep = entries[0].index - self.first_index
        if not 0 <= keep <= len(self._entries):
            raise StorageError(f"entry {entries[0].index} does not follow {self.first_index}..{self.last_index}")
        del self._entries[keep:]
        self._entries.extend(entries)

    def create_snapshot(self, index: int, conf_state: ConfState) -> Snapshot:
        """Notes that the caller's state at `index`, which it has applied, is safe; the log itself stays."""
        self._snapshot = Snapshot(index, self.term(index), conf_state)
        return self._snapshot

    def compact(self, index: int) -> None:
        """Forgets the entries up to and including `index`, which a snapshot must cover. Raises StorageError."""
        if index > self._snapshot.index:
            raise StorageError(f"no snapshot covers {index}")
        term = self.term(index)
        del self._entries[: index - self._before[0]]
        self._before = (index, term)
