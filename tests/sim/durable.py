"""What a member's disk is sure to hold after a power cut at this very moment, read from its durable bytes.

The reading is the product's record format; the memory of the running member plays no part. It goes on from where it
stopped, so that it can be asked at each promise.
"""

from __future__ import annotations

import os

from cluster.snapshotter import SnapshotName
from cluster.wal.record import BadRecord, Kind, Mark, Save, decode_head, decode_save, read_record
from cluster.wal.segment import SegmentName
from raft.messages import Entry, HardState

from .disk import SimDisk


class DurableLog:
    """`terms` are those of the entries after `base`; `base_term` is that at `base`, or 0 where it is not known;
    `unbacked` is a mark whose snapshot was not durable with it."""

    def __init__(self, disk: SimDisk, wal_dir: str, snap_dir: str) -> None:
        self._disk = disk
        self._wal_dir = wal_dir
        self._snap_dir = snap_dir
        self.reset()

    def reset(self) -> None:
        """Reads everything again: after a power cut, the disk is what it is."""
        self.hard_state = HardState()
        self.base = 0
        self.base_term = 0
        self.last = 0
        self.terms: dict[int, int] = {}
        self.unbacked: Mark | None = None
        self._version = -1
        self._segments: list[SegmentName] = []
        self._at = -1
        self._path = ""
        self._offset = 0
        self._chain = 0

    def holds(self, index: int, term: int) -> bool:
        """Whether that very entry, or a snapshot that covers its index, is there."""
        return index <= self.base or self.terms.get(index) == term

    def last_before(self, term: int) -> tuple[int, int]:
        """Term and index of the last entry of an earlier term."""
        index = self.last
        while index > self.base and self.terms.get(index, 0) >= term:
            index -= 1
        return (self.terms.get(index, 0) if index > self.base else self.base_term), index

    def advance(self) -> list[tuple[Entry, int | None]]:
        """Reads on; returns the entries that have become durable, each with the term of the one before, if it is
        known."""
        entries: list[tuple[Entry, int | None]] = []
        while True:
            save = self._next_save()
            if save is None:
                return entries
            entries += self._add(save)

    def _next_save(self) -> Save | None:
        while True:
            record = self._read() if self._path else None
            if record is None:
                if not self._next_segment():
                    return None
                continue
            start, self._offset, self._chain = self._offset, record.end, record.chain
            if record.kind != Kind.HEAD:
                return decode_save(record.payload)
            if start == 0 and self._at == 0:
                self.hard_state = decode_head(record.payload).hard_state

    def _read(self):  # type: ignore[no-untyped-def]
        with memoryview(self._disk.durable(self._path)) as view:
            try:
                return read_record(view, self._offset, self._segments[self._at].sequence, self._chain)
            except BadRecord:
                return None

    def _next_segment(self) -> bool:
        if self._version != self._disk.names_version:
            self._version = self._disk.names_version
            known = self._segments[self._at] if self._at >= 0 else None
            self._segments = self._list()
            self._at = self._segments.index(known) if known in self._segments else -1
            if self._at < 0:
                self._path = ""
        if self._at + 1 >= len(self._segments):
            return False
        self._at += 1
        name = self._segments[self._at]
        self._path = os.path.join(self._wal_dir, str(name))
        self._offset = self._chain = 0
        if self._at == 0 and not self.last:
            self.base = self.last = name.index - 1
        return True

    def _list(self) -> list[SegmentName]:
        paths = [path for path in self._disk.durable_paths() if os.path.dirname(path) == self._wal_dir]
        names = (SegmentName.parse(os.path.basename(path)) for path in paths)
        return [name for name in names if name is not None]

    def _add(self, save: Save) -> list[tuple[Entry, int | None]]:
        if save.mark is not None:
            self._add_mark(save.mark)
        added = []
        for entry in save.entries:
            for index in range(entry.index, self.last + 1):
                self.terms.pop(index, None)
            self.terms[entry.index] = entry.term
            self.last = entry.index
            added.append((entry, self.terms.get(entry.index - 1)))
        if save.hard_state is not None:
            self.hard_state = save.hard_state
        return added

    def _add_mark(self, mark: Mark) -> None:
        path = os.path.join(self._snap_dir, str(SnapshotName(mark.index, mark.term)))
        if not self._disk.is_durable(path):
            self.unbacked = mark
        if mark.installed:
            self.terms.clear()
            self.base = self.last = mark.index
            self.base_term = mark.term
