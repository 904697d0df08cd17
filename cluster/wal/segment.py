"""One file of the write-ahead log: its name, and room made of zeros ahead of what is written.

Zeros that are on disk before they are used make an fsync cheap (nothing but data to write) and a full disk harmless
(it is met here, where nothing was promised). The file only ever holds records, then zeros.

Room grows in whole steps, and reaches beyond each record before it is written. So the segment in use is never shorter
than `room_beyond` its last record, whatever a power cut did: one that is has lost its end.
"""

from __future__ import annotations

import contextlib
import re
from typing import NamedTuple

from cluster.disk import Disk, sync_failure, write_failure, writing

ROOM_STEP_BYTES = 1 << 20
SUFFIX = ".wal"
TEMPORARY_SUFFIX = ".tmp"
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.wal")


def room_beyond(end: int) -> int:
    """How long a file is, at the least, that has a record which ends there."""
    return (end // ROOM_STEP_BYTES + 1) * ROOM_STEP_BYTES


class SegmentName(NamedTuple):
    """`index` is that of the entry which will follow the last one of the segment before."""

    sequence: int
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on these

    def __str__(self) -> str:
        return f"{self.sequence:016x}-{self.index:016x}{SUFFIX}"

    @classmethod
    def parse(cls, text: str) -> SegmentName | None:
        match = _NAME.fullmatch(text)
        return cls(int(match[1], 16), int(match[2], 16)) if match else None


class SegmentFile:
    """An open segment. Everything before `allocated` is on disk, as records or as zeros. Methods raise DiskFull (try
    again) or StorageFailed (never try again)."""

    __slots__ = ("_disk", "allocated", "handle", "path")

    def __init__(self, disk: Disk, path: str, handle: int, allocated: int) -> None:
        self.path = path
        self.allocated = allocated
        self._disk = disk
        self.handle = handle

    @classmethod
    def create(cls, disk: Disk, path: str) -> SegmentFile:
        with writing(path):
            return cls(disk, path, disk.create(path), 0)

    @classmethod
    def open(cls, disk: Disk, path: str) -> SegmentFile:
        """What it holds was perhaps never synced by whoever wrote it, and its last step was perhaps never finished."""
        with writing(path):
            handle = disk.open(path)
            file = cls(disk, path, handle, disk.size(handle) // ROOM_STEP_BYTES * ROOM_STEP_BYTES)
        file.sync()
        return file

    def extend(self) -> None:
        """Adds one step of room."""
        with writing(self.path, self.allocated):
            self._disk.pwrite(self.handle, bytes(ROOM_STEP_BYTES), self.allocated)
        self.sync()
        self.allocated += ROOM_STEP_BYTES

    def reserve(self, end: int) -> None:
        """Makes room for a record that ends there, if it is not there yet."""
        while self.allocated < room_beyond(end):
            self.extend()

    # For each save; `with writing(...)` and `with syncing(...)` would cost more than the calls themselves.

    def write(self, data: bytes, offset: int) -> None:
        try:
            self._disk.pwrite(self.handle, data, offset)
        except OSError as error:
            raise write_failure(error, self.path, offset) from error

    def sync(self, offset: int = 0) -> None:
        try:
            self._disk.fdatasync(self.handle)
        except OSError as error:
            raise sync_failure(error, self.path, offset) from error

    def give_back(self, end: int) -> None:
        """The room after `end`, of a file that is never written again. It does not matter whether that succeeds."""
        with contextlib.suppress(OSError):
            self._disk.truncate(self.handle, end)

    def close(self) -> None:
        self._disk.close(self.handle)
