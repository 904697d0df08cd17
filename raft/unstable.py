"""The end of the log that is not on disk yet.

Owns entries and a snapshot between the moment raft accepts them and the moment the caller says they are saved.

Invariants: `entries[i].index == offset + i`; everything before `offset` is on disk (or is the pending snapshot);
entries up to `handed` were given out in a Ready and not yet reported as saved.
Source: the idea of etcd-io/raft log_unstable.go, for one Ready at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from raft.messages import Entry, Snapshot


class Unstable:
    __slots__ = ("entries", "handed", "offset", "snapshot", "snapshot_handed")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.entries: list[Entry] = []
        self.handed = offset - 1
        self.snapshot: Snapshot | None = None
        self.snapshot_handed = False

    def term(self, index: int) -> int | None:
        """The term at `index`, or None if that index is not in here."""
        position = index - self.offset
        if 0 <= position < len(self.entries):
            return self.entries[position].term
        if self.snapshot is not None and self.snapshot.index == index:
            return self.snapshot.term
        return None

    def append(self, entry: Entry) -> None:
        """Adds the entry that follows the last one."""
        self.entries.append(entry)

    def replace_from(self, entries: Sequence[Entry]) -> None:
        """Makes `entries` the end of the log: whatever is at or after the first of them goes."""
        first = entries[0].index
        keep = first - self.offset
        if keep <= 0:
            self.offset = first
            self.entries = list(entries)
        else:
            del self.entries[keep:]
            self.entries.extend(entries)
        self.handed = min(self.handed, first - 1)

    def restore(self, snapshot: Snapshot) -> None:
        """The snapshot replaces the whole log."""
        self.offset = snapshot.index + 1
        self.entries = []
        self.handed = snapshot.index
        self.snapshot = snapshot
        self.snapshot_handed = False

    @property
    def has_more(self) -> bool:
        """Whether there is something that no Ready has carried yet."""
        unsaved = self.handed < self.offset + len(self.entries) - 1
        return unsaved or (self.snapshot is not None and not self.snapshot_handed)

    def hand_out(self) -> tuple[tuple[Entry, ...], Snapshot | None]:
        """The entries and the snapshot that the next Ready carries."""
        entries = tuple(self.entries[self.handed + 1 - self.offset :])
        self.handed += len(entries)
        snapshot = None if self.snapshot_handed else self.snapshot
        self.snapshot_handed = self.snapshot is not None
        return entries, snapshot

    def stable_to(self, index: int, term: int) -> None:
        """Entries up to `index` are on disk, if the entry there is still the one of `term`: it may have been replaced
        while it was being written, and then the disk holds another log than this one."""
        position = index - self.offset
        if 0 <= position < len(self.entries) and self.entries[position].term == term:
            del self.entries[: position + 1]
            self.offset = index + 1

    def snapshot_stable(self, snapshot: Snapshot) -> None:
        """The snapshot is on disk; a newer one may have come meanwhile."""
        if self.snapshot == snapshot:
            self.snapshot = None
            self.snapshot_handed = False
