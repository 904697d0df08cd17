"""The write-ahead log: a chain of records over segments, appended to in one write and one fsync.

Owns the files `<sequence>-<index>.wal` of one directory. Knows no threads and awaits nothing: `prepare` is pure and
quick, `write` blocks, and whoever calls them sees to it that one `write` ends before the next `prepare`. `make_room`
may run beside `prepare`, and beside a `write` without sync, never beside another `write`.

Invariants: what `write(sync=True)` has returned for is on disk. A batch never spans two segments. A segment gets its
name only when its first records are on disk. After a StorageFailed there is never another write.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cluster.disk import Disk, sync_failure, syncing, writing
from cluster.failures import DiskFull, StorageFailed
from cluster.wal.record import (
    FORMAT_VERSION,
    Head,
    Kind,
    Mark,
    Save,
    encode_head,
    encode_record,
    encode_save,
    record_bytes,
)
from cluster.wal.repair import Metadata, ReplayedLog, Tail, cut_torn_tail, list_segments, read_log, write_again
from cluster.wal.segment import ROOM_STEP_BYTES, TEMPORARY_SUFFIX, SegmentFile, SegmentName
from raft.messages import Entry, HardState

log = logging.getLogger(__name__)

SEGMENT_BYTES = 64 << 20
ROOM_AHEAD_BYTES = 4 * ROOM_STEP_BYTES
MAX_SAVE_BYTES = 8 << 20
"""Entries with more data than this together become several records."""


class Batch(NamedTuple):
    """What `prepare` made for `write`: bytes for one place, and the log's state once they are there."""

    data: bytes
    offset: int
    new_segment: SegmentName | None
    end: int
    chain: int
    next_index: int
    hard_state: HardState


class WAL:
    """An open log. `full` says that the disk had no room when room was last made; `failed` why nothing can be written
    any more."""

    def __init__(
        self,
        disk: Disk,
        directory: str,
        metadata: Metadata,
        tail: Tail,
        hard_state: HardState,
        next_index: int,
        segment_bytes: int,
    ) -> None:
        self.full = False
        self.failed: StorageFailed | None = None
        self._disk = disk
        self._directory = directory
        self._metadata = metadata
        self._segments = tail.segments
        self._current = SegmentFile.open(disk, self._path(tail.segments[-1]))
        self._next: SegmentFile | None = None
        self._offset = tail.offset
        self._chain = tail.chain
        self._hard_state = hard_state
        self._next_index = next_index
        self._segment_bytes = segment_bytes
        self._unsynced = False

    @classmethod
    def create(
        cls,
        disk: Disk,
        directory: str,
        metadata: Metadata,
        *,
        next_index: int = 1,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> WAL:
        """A new log in an empty directory. Raises DiskFull, StorageFailed."""
        name = SegmentName(0, next_index)
        path = os.path.join(directory, str(name))
        data, chain = _encode_head(name, metadata, 0, HardState())
        file = SegmentFile.create(disk, path + TEMPORARY_SUFFIX)
        try:
            file.reserve(len(data))
            file.write(data, 0)
            file.sync()
        finally:
            file.close()
        _name_durably(disk, file.path, path)
        return cls(
            disk, directory, metadata, Tail([name], len(data), chain, None), HardState(), next_index, segment_bytes
        )

    @classmethod
    def open(
        cls, disk: Disk, directory: str, *, after: int = 0, segment_bytes: int = SEGMENT_BYTES
    ) -> tuple[WAL, ReplayedLog]:
        """Reads the log, cuts off a torn tail, and goes on from there. Entries up to index `after` are left out.
        Raises CorruptLog, DiskFull, StorageFailed."""
        replayed, tail = read_log(disk, directory, after)
        return cls.resume(disk, directory, replayed, tail, segment_bytes=segment_bytes), replayed

    @classmethod
    def resume(
        cls, disk: Disk, directory: str, replayed: ReplayedLog, tail: Tail, *, segment_bytes: int = SEGMENT_BYTES
    ) -> WAL:
        """Goes on from what `read_log` gave. Raises DiskFull, StorageFailed, OSError."""
        path = os.path.join(directory, str(tail.segments[-1]))
        if tail.torn is not None:
            copy = cut_torn_tail(disk, path, tail.offset)
            log.warning("torn end of the log cut off: %s at %s of %s, copy in %s", tail.torn, tail.offset, path, copy)
        write_again(disk, path, tail.unproven, tail.offset)
        _remove_temporary(disk, directory)
        with syncing(directory):
            disk.fsync_dir(directory)
        next_index = replayed.base + len(replayed.entries) + 1
        return cls(disk, directory, replayed.metadata, tail, replayed.hard_state, next_index, segment_bytes)

    @staticmethod
    def exists(disk: Disk, directory: str) -> bool:
        return disk.exists(directory) and bool(list_segments(disk, directory))

    def close(self) -> None:
        self._current.close()
        if self._next is not None:
            self._next.close()

    # Writing.

    def save(
        self,
        hard_state: HardState | None,
        entries: Sequence[Entry] = (),
        mark: Mark | None = None,
        *,
        sync: bool = True,
    ) -> None:
        """`prepare` and `write` in one."""
        self.write(self.prepare(hard_state, entries, mark), sync=sync)

    def prepare(self, hard_state: HardState | None, entries: Sequence[Entry], mark: Mark | None = None) -> Batch:
        """Encodes one save; writes nothing. A mark comes before the entries. Raises RecordTooLarge, StorageFailed."""
        self._check_usable()
        payloads = [encode_save(*save) for save in _split(hard_state, entries, mark)]
        size = sum(record_bytes(len(payload)) for payload in payloads)
        segment, offset, chain, data = self._place(size)
        start = offset
        pieces = [data]
        offset += len(data)
        for number, payload in enumerate(payloads):
            barrier = number == 0 and not self._unsynced
            piece, chain = encode_record(
                Kind.SAVE, payload, barrier=barrier, chain=chain, sequence=segment.sequence, offset=offset
            )
            pieces.append(piece)
            offset += len(piece)
        new_segment = segment if data else None
        next_index = _next_index(self._next_index, entries, mark)
        return Batch(b"".join(pieces), start, new_segment, offset, chain, next_index, hard_state or self._hard_state)

    def _place(self, size: int) -> tuple[SegmentName, int, int, bytes]:
        """Where records of that size go: the segment, the offset in it, the chain value there, and the head that comes
        first if the segment is a new one."""
        if self._offset + size <= self._segment_bytes:
            return self._segments[-1], self._offset, self._chain, b""
        name = SegmentName(self._segments[-1].sequence + 1, self._next_index)
        head, chain = _encode_head(name, self._metadata, self._chain, self._hard_state)
        return name, 0, chain, head

    def fits(self, batch: Batch) -> bool:
        """Whether `write` needs no new segment and no more room, so that it is quick without sync."""
        return batch.new_segment is None and batch.end < self._current.allocated

    def write(self, batch: Batch, *, sync: bool = True) -> None:
        """Appends what `prepare` made last. Blocks.

        Raises DiskFull: the log is as it was, and the one thing to do is to write the same batch again later. Raises
        StorageFailed: the log is not to be written any more, and this member must stop.
        """
        self._check_usable()
        try:
            if batch.new_segment is None:
                self._append(batch, sync=sync)
            else:
                self._cut(batch, batch.new_segment)
        except DiskFull:
            self.full = True
            raise
        except StorageFailed as failure:
            self.failed = failure
            raise
        self._offset, self._chain = batch.end, batch.chain
        self._next_index, self._hard_state = batch.next_index, batch.hard_state

    @property
    def handle(self) -> int:
        """Of the file that `sync` syncs."""
        return self._current.handle

    def sync(self) -> None:
        """Makes durable what `write` wrote without sync. Blocks. Raises StorageFailed."""
        self._check_usable()
        try:
            self._disk.fdatasync(self.handle)
        except OSError as error:
            self.synced(error)
        else:
            self.synced(None)

    def synced(self, error: OSError | None) -> None:
        """What became of `fdatasync(handle)`, begun by others. Raises StorageFailed, also for what failed before it:
        the kernel reports an error once, to whoever asks first."""
        self._check_usable()
        if error is not None:
            self.failed = sync_failure(error, self._current.path, self._offset)
            raise self.failed from error
        self._unsynced = False

    def _check_usable(self) -> None:
        if self.failed is not None:
            raise StorageFailed(self.failed.file, self.failed.offset, f"earlier: {self.failed.reason}")

    def _append(self, batch: Batch, *, sync: bool) -> None:
        current = self._current
        current.reserve(batch.end)
        current.write(batch.data, batch.offset)
        if sync:
            current.sync(batch.offset)
        self._unsynced = not sync

    def _cut(self, batch: Batch, name: SegmentName) -> None:
        """Begins a new segment with the batch in it. Until it has its name, nothing of this has happened."""
        self._current.sync(self._offset)
        new = self._next or self._create_next()
        new.reserve(len(batch.data))
        new.write(batch.data, 0)
        new.sync()
        path = self._path(name)
        _name_durably(self._disk, new.path, path)
        new.path = path
        self._current.give_back(self._offset)
        self._current.close()
        self._current, self._next = new, None
        self._segments.append(name)
        self._unsynced = False

    def _create_next(self) -> SegmentFile:
        self._next = SegmentFile.create(self._disk, os.path.join(self._directory, f"next{TEMPORARY_SUFFIX}"))
        return self._next

    # Ahead of time.

    @property
    def wants_room(self) -> bool:
        """Whether `make_room` has something to do."""
        current, end = self._current, self._segment_bytes
        if current.allocated < min(self._offset + ROOM_AHEAD_BYTES, end):
            return True
        near_end = self._offset + ROOM_AHEAD_BYTES >= end
        return near_end and (self._next is None or self._next.allocated < min(ROOM_AHEAD_BYTES, end))

    def make_room(self) -> None:
        """One step of zeros ahead of the log, in this segment or the next one. Blocks; raises nothing: `full` and
        `failed` tell."""
        if self.failed is not None:
            return
        try:
            if self.wants_room:
                self._extend()
            self.full = False
        except DiskFull:
            self.full = True
        except StorageFailed as failure:
            self.failed = failure
            self.full = False  # the next write says what is wrong, and nobody waits for room

    def _extend(self) -> None:
        if self._current.allocated < min(self._offset + ROOM_AHEAD_BYTES, self._segment_bytes):
            self._current.extend()
        else:
            (self._next or self._create_next()).extend()

    def release(self, index: int, keep: int) -> None:
        """Removes the oldest segments while there are more than `keep`, but none that holds an entry after `index`,
        nor the mark of a snapshot at `index` or later."""
        while len(self._segments) > max(keep, 1) and self._segments[1].index <= index:
            self._remove(str(self._segments.pop(0)))

    def _remove(self, name: str) -> None:
        """In order and one by one, so that no power cut can leave a gap. A file that stays is only in the way."""
        try:
            for file in self._disk.listdir(self._directory):
                if file == name or file.startswith(f"{name}.torn-"):
                    self._disk.unlink(os.path.join(self._directory, file))
            self._disk.fsync_dir(self._directory)
        except OSError as error:
            log.warning("old segment %s not removed: %s", name, error)

    def _path(self, name: SegmentName) -> str:
        return os.path.join(self._directory, str(name))


def _encode_head(name: SegmentName, metadata: Metadata, chain: int, hard_state: HardState) -> tuple[bytes, int]:
    head = Head(FORMAT_VERSION, name.sequence, name.index, *metadata, chain, hard_state)
    return encode_record(Kind.HEAD, encode_head(head), barrier=True, chain=0, sequence=name.sequence, offset=0)


def _name_durably(disk: Disk, temporary_path: str, path: str) -> None:
    with writing(path):
        disk.rename(temporary_path, path)
    with syncing(path):
        disk.fsync_dir(os.path.dirname(path))


def _remove_temporary(disk: Disk, directory: str) -> None:
    for name in disk.listdir(directory):
        if name.endswith(TEMPORARY_SUFFIX):
            with writing(os.path.join(directory, name)):
                disk.unlink(os.path.join(directory, name))


def _next_index(old: int, entries: Sequence[Entry], mark: Mark | None) -> int:
    if entries:
        return entries[-1].index + 1
    return mark.index + 1 if mark is not None and mark.installed else old


def _split(hard_state: HardState | None, entries: Sequence[Entry], mark: Mark | None) -> Iterator[Save]:
    """Cuts a large save into several, each of which is a consistent one: no commit index beyond its own entries."""
    start, size = 0, 0
    for position, entry in enumerate(entries):
        if size and size + len(entry.data) > MAX_SAVE_BYTES:
            yield Save(_limited(hard_state, entry.index - 1), list(entries[start:position]), mark)
            start, size, mark = position, 0, None
        size += len(entry.data)
    yield Save(hard_state, list(entries[start:]), mark)


def _limited(hard_state: HardState | None, last_index: int) -> HardState | None:
    if hard_state is None:
        return None
    return hard_state._replace(commit=min(hard_state.commit, last_index))
