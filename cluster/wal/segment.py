"""One file of the write-ahead log: its name, and room made of zeros ahead of what is written.

Zeros that are on disk before they are used make an fsync cheap (nothing but data to write) and a full disk harmless
(it is met here, where nothing was promised). The file only ever holds records, then zeros.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cluster.disk import Disk, syncing, writing

ROOM_STEP_BYTES = 1 << 20
SUFFIX = ".wal"
TEMPORARY_SUFFIX = ".tmp"
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.wal")
_ZEROS = bytes(ROOM_STEP_BYTES)


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

    __slots__ = ("_disk", "_handle", "allocated", "path")

    def __init__(self, disk: Disk, path: str, handle: int, allocated: int) -> None:
        self.path = path
        self.allocated = allocated
        self._disk = disk
        self._handle = handle

    @classmethod
    def create(cls, disk: Disk, path: str) -> SegmentFile:
        with writing(path):
            return cls(disk, path, disk.create(path), 0)

    @classmethod
    def open(cls, disk: Disk, path: str) -> SegmentFile:
        """What it holds was perhaps never synced by whoever wrote it."""
        with writing(path):
            handle = disk.open(path)
            file = cls(disk, path, handle, disk.size(handle))
        file.sync()
        return file

    def extend(self) -> None:
        """Adds one step of room."""
        with writing(self.path, self.allocated):
            self._disk.pwrite(self._handle, _ZEROS, self.allocated)
        self.sync()
        self.allocated += ROOM_STEP_BYTES

    def reserve(self, end: int) -> None:
        """Makes room up to `end` if it is not there yet."""
        while self.allocated < end:
            self.extend()

    def write(self, data: bytes, offset: int) -> None:
        with writing(self.path, offset):
            self._disk.pwrite(self._handle, data, offset)

    def sync(self, offset: int = 0) -> None:
        with syncing(self.path, offset):
            self._disk.fdatasync(self._handle)

    def truncate(self, size: int) -> None:
        """Gives up what lies after `size`, durably."""
        with writing(self.path, size):
            self._disk.truncate(self._handle, size)
        self.sync(size)
        self.allocated = size

    def close(self) -> None:
        self._disk.close(self._handle)
