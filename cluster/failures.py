"""How a disk can fail: what `disk.Disk` and its users raise.

Two kinds of failure exist. A full disk is met before anything was promised and passes: `DiskFull`. Everything else that
fails while writing is final: after a failed fsync nobody knows what the disk holds, and a second fsync may say "done"
although the pages are gone (PostgreSQL's "fsyncgate", ATC'20 "Can Applications Recover from fsync Failures?").

These classes are never compiled: `CorruptSnapshot` derives from one, and a native class takes native subclasses
only.
"""

from __future__ import annotations


class _AtOffset(Exception):
    """Says where in which file."""

    def __init__(self, file: str, offset: int, reason: str) -> None:
        super().__init__(f"{file}: offset {offset}: {reason}")
        self.file = file
        self.offset = offset
        self.reason = reason


class StorageFailed(_AtOffset):
    """The disk failed in a way that cannot be repaired by trying again: this member must stop."""


class DiskFull(Exception):
    """There is no room (ENOSPC, EDQUOT, EFBIG). Nothing was promised and no state changed: the same call may be made
    again later, and only the same one."""

    def __init__(self, file: str) -> None:
        super().__init__(f"{file}: no space left on device")
        self.file = file


class DataCorrupt(_AtOffset, ValueError):
    """A file does not hold what was once written to it. `offset` is where the first damaged part begins."""
