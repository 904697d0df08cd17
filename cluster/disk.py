"""The disk as a port: the few operations that the write-ahead log and the snapshots need.

`RealDisk` is the operating system's. A simulator puts another behind the same `Disk`: one that forgets what was never
synced, tears writes at sectors, fills up, or fails. Nothing else in `cluster` opens, writes or syncs a file of the data
directory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from cluster.failures import DiskFull, StorageFailed

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OWNER_ONLY = 0o600


class Disk(Protocol):
    """Paths are absolute; a handle is an opaque number. Every method may raise OSError."""

    def open(self, path: str) -> int:
        """Opens an existing file for reading and writing."""

    def create(self, path: str) -> int:
        """Opens a new, empty file, for its owner only. A file that was there is emptied."""

    def close(self, handle: int) -> None: ...

    def pread(self, handle: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        """Writes all of `data`. If it raises, a part may be written."""

    def truncate(self, handle: int, size: int) -> None: ...

    def fdatasync(self, handle: int) -> None:
        """Makes the file's content and size durable."""

    def size(self, handle: int) -> int: ...

    def rename(self, old: str, new: str) -> None:
        """Atomic, and durable after `fsync_dir`."""

    def unlink(self, path: str) -> None: ...

    def listdir(self, path: str) -> list[str]:
        """File names, sorted."""

    def exists(self, path: str) -> bool: ...

    def fsync_dir(self, path: str) -> None:
        """Makes what was created, renamed and removed in that directory durable."""


class RealDisk:
    """`Disk` over the operating system."""

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def create(self, path: str) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _OWNER_ONLY)

    def close(self, handle: int) -> None:
        os.close(handle)

    def pread(self, handle: int, size: int, offset: int) -> bytes:
        pieces = []
        while size:
            piece = os.pread(handle, size, offset)
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
            offset += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        written = os.pwrite(handle, data, offset)
        while written < len(data):
            written += os.pwrite(handle, memoryview(data)[written:], offset + written)

    def truncate(self, handle: int, size: int) -> None:
        os.ftruncate(handle, size)

    def fdatasync(self, handle: int) -> None:
        os.fdatasync(handle)

    def size(self, handle: int) -> int:
        return os.fstat(handle).st_size

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def fsync_dir(self, path: str) -> None:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_failure(error: OSError, path: str, offset: int) -> DiskFull | StorageFailed:
    """What a failed write means: DiskFull if it may be tried again, else StorageFailed."""
    if error.errno in _FULL:
        return DiskFull(path)
    return StorageFailed(path, offset, f"write failed: {error.strerror}")


def sync_failure(error: OSError, path: str, offset: int) -> StorageFailed:
    """What a failed fsync means, whatever the reason: it is final."""
    return StorageFailed(path, offset, f"fsync failed: {error.strerror}")


@contextmanager
def writing(path: str, offset: int = 0) -> Iterator[None]:
    """Names what goes wrong within, see `write_failure`."""
    try:
        yield
    except OSError as error:
        raise write_failure(error, path, offset) from error


@contextmanager
def syncing(path: str, offset: int = 0) -> Iterator[None]:
    """Names what goes wrong within, see `sync_failure`."""
    try:
        yield
    except OSError as error:
        raise sync_failure(error, path, offset) from error


@contextmanager
def opened(disk: Disk, path: str) -> Iterator[int]:
    handle = disk.open(path)
    try:
        yield handle
    finally:
        disk.close(handle)
