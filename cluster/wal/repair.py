"""Reading the log back, and telling a torn tail from damage.

A write that the power cut short is *torn*: sectors of it are missing, and it was never promised to anybody. It can only
be the very last one. It is cut off, with a copy kept. Anything else that is not as it was written is damage, and damage
is refused with file and offset, never cut off: what follows it was promised (FAST'18, "Protocol-Aware Recovery").
`wal.record` says how the two are told apart.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import NamedTuple

from cluster.disk import Disk, opened, syncing, writing
from cluster.wal.record import (
    BadRecord,
    CorruptLog,
    Head,
    Kind,
    Mark,
    Record,
    Save,
    decode_head,
    decode_save,
    find_barrier,
    read_record,
)
from cluster.wal.segment import SUFFIX, SegmentName, room_beyond
from raft.messages import Entry, HardState


class Metadata(NamedTuple):
    """Whose log it is."""

    cluster_id: int
    member_id: int


class ReplayedLog(NamedTuple):
    """What the log says. `entries` follow the index `base` without a gap; `marks` are all that were read, oldest
    first."""

    metadata: Metadata
    hard_state: HardState
    base: int
    entries: list[Entry]
    marks: tuple[Mark, ...]


class Tail(NamedTuple):
    """Where the log ends. `torn` says why what follows is no record, or is None where only zeros follow. Nothing says
    that what lies between `unproven` and `offset` was ever synced."""

    segments: list[SegmentName]
    offset: int
    chain: int
    torn: str | None
    unproven: int = 0


def list_segments(disk: Disk, directory: str) -> list[SegmentName]:
    """The log's files in order. Raises CorruptLog if one is missing in between or has no proper name."""
    segments: list[SegmentName] = []
    for text in disk.listdir(directory):
        if not text.endswith(SUFFIX):
            continue
        name = SegmentName.parse(text)
        if name is None:
            raise CorruptLog(os.path.join(directory, text), 0, "not the name of a segment")
        segments.append(name)
    for before, after in itertools.pairwise(segments):
        if after.sequence != before.sequence + 1:
            raise CorruptLog(os.path.join(directory, str(after)), 0, f"no segment {before.sequence + 1:016x} before it")
    return segments


def read_log(disk: Disk, directory: str, after: int) -> tuple[ReplayedLog, Tail]:
    """Reads everything, changes nothing; gives the entries after index `after`. Raises CorruptLog."""
    segments = list_segments(disk, directory)
    if not segments:
        raise CorruptLog(directory, 0, "no segment")
    replay = _Replay(after)
    last: _Segment | None = None
    for name in segments:
        path = os.path.join(directory, str(name))
        segment = _Segment(path, _read_file(disk, path), name, may_be_torn=name is segments[-1])
        _replay_segment(segment, replay, last)
        last = segment
    replay.check_commit(segment)
    return replay.result(), Tail(segments, segment.offset, segment.chain, segment.torn, segment.unproven)


def _read_file(disk: Disk, path: str) -> bytes:
    try:
        with opened(disk, path) as handle:
            return disk.pread(handle, disk.size(handle), 0)
    except OSError as error:
        raise CorruptLog(path, 0, f"cannot be read: {error.strerror}") from error


def _replay_segment(segment: _Segment, replay: _Replay, before: _Segment | None) -> None:
    for record in segment:
        try:
            if segment.offset == 0:
                head = _head(record, segment)
                if before is not None and head.chain != before.chain:
                    raise CorruptLog(before.path, before.offset, "the end of the segment is missing")
                replay.begin(head)
            else:
                replay.add(decode_save(record.payload))
        except CorruptLog:
            raise
        except ValueError as error:
            raise CorruptLog(segment.path, segment.offset, str(error)) from error
    if segment.offset == 0:
        raise CorruptLog(segment.path, 0, "no head")


def _head(record: Record, segment: _Segment) -> Head:
    if record.kind != Kind.HEAD:
        raise ValueError("not a head")
    head = decode_head(record.payload)
    if (head.sequence, head.index) != segment.name:
        raise ValueError(f"this is segment {SegmentName(head.sequence, head.index)}")
    return head


class _Segment:
    """Walks the records of one segment. `offset` and `chain` are those before the record that was given last, and the
    end's when all were given. Everything before `unproven` was synced when the record there was written."""

    def __init__(self, path: str, data: bytes, name: SegmentName, *, may_be_torn: bool) -> None:
        self.path = path
        self.name = name
        self.offset = 0
        self.chain = 0
        self.unproven = 0
        self.torn: str | None = None
        self._data = data
        self._may_be_torn = may_be_torn

    def __iter__(self) -> Iterator[Record]:
        view = memoryview(self._data)
        while (record := self._next(view)) is not None:
            yield record
            if record.barrier:
                self.unproven = self.offset
            self.offset, self.chain = record.end, record.chain

    def _next(self, view: memoryview) -> Record | None:
        try:
            record = read_record(view, self.offset, self.name.sequence, self.chain)
        except BadRecord as bad:
            self._judge(str(bad), torn=bad.torn)
            return None
        if record is None and len(self._data.rstrip(b"\0")) > self.offset:
            self._judge("no header, but more data", torn=True)
        if record is None:
            self._check_length()
        return record

    def _check_length(self) -> None:
        """Only the segment in use still has its room; of the others, the next head proves the end."""
        if self._may_be_torn and self.offset and len(self._data) < room_beyond(self.offset):
            raise CorruptLog(self.path, len(self._data), "the end of the file is missing")

    def _judge(self, reason: str, *, torn: bool) -> None:
        barrier = find_barrier(self._data, self.offset, self.name.sequence)
        if barrier is not None:
            raise CorruptLog(self.path, self.offset, f"{reason}; a later record, at {barrier}, is valid")
        # A segment gets its name when its head is on disk, and is synced when the next one begins.
        if not torn or not self._may_be_torn or self.offset == 0:
            raise CorruptLog(self.path, self.offset, reason)
        self._check_length()
        self.torn = reason


class _Replay:
    """Puts saves together again. Raises ValueError for what cannot follow.

    Invariant: `_entries[i].index == _base + 1 + i`.
    """

    def __init__(self, after: int) -> None:
        self._base = after
        self._entries: list[Entry] = []
        self._hard_state = HardState()
        self._marks: list[Mark] = []
        self._metadata: Metadata | None = None

    def begin(self, head: Head) -> None:
        metadata = Metadata(head.cluster_id, head.member_id)
        if self._metadata not in (None, metadata):
            raise ValueError("belongs to another member")
        self._metadata = metadata
        self._hard_state = head.hard_state

    def add(self, save: Save) -> None:
        if save.mark is not None:
            self._add_mark(save.mark)
        for entry in save.entries:
            self._add_entry(entry)
        if save.hard_state is not None:
            self._hard_state = save.hard_state

    def _add_mark(self, mark: Mark) -> None:
        self._marks.append(mark)
        if mark.installed:
            self._entries.clear()
            self._base = max(self._base, mark.index)

    def _add_entry(self, entry: Entry) -> None:
        """An entry replaces all from its index on."""
        position = entry.index - self._base - 1
        if position > len(self._entries):
            raise ValueError(f"entry {entry.index} does not follow {self._base + len(self._entries)}")
        if position < len(self._entries):
            del self._entries[max(0, position) :]
        if position >= 0:
            self._entries.append(entry)

    def check_commit(self, segment: _Segment) -> None:
        last = self._base + len(self._entries)
        committed = max([self._hard_state.commit, *(mark.index for mark in self._marks)])
        if committed > last:
            reason = f"entries up to {committed} were committed, but the log ends at {last}"
            raise CorruptLog(segment.path, segment.offset, reason)

    def result(self) -> ReplayedLog:
        assert self._metadata is not None
        return ReplayedLog(self._metadata, self._hard_state, self._base, self._entries, tuple(self._marks))


def cut_torn_tail(disk: Disk, path: str, offset: int) -> str:
    """Writes zeros over what follows `offset`, keeping a copy in the file whose path it returns. If that is itself cut
    short, what is left is a torn tail."""
    tail = _read_file(disk, path)[offset:].rstrip(b"\0")
    copy_path = f"{path}.torn-{offset}"
    with writing(copy_path):
        copy = disk.create(copy_path)
        try:
            disk.pwrite(copy, tail, 0)
            disk.fdatasync(copy)
        finally:
            disk.close(copy)
    with syncing(copy_path):
        disk.fsync_dir(os.path.dirname(path))
    with writing(path, offset), opened(disk, path) as handle:
        disk.pwrite(handle, bytes(len(tail)), offset)
        with syncing(path, offset):
            disk.fdatasync(handle)
    return copy_path


def write_again(disk: Disk, path: str, start: int, end: int) -> None:
    """Makes durable what a process that died may have left in the cache alone. To sync is not enough: after a failed
    fsync the kernel shows the pages as they were written and holds them for clean (ATC'20)."""
    with writing(path, start), opened(disk, path) as handle:
        disk.pwrite(handle, disk.pread(handle, end - start, start), start)
        with syncing(path, start):
            disk.fdatasync(handle)
