"""The operating system's disk, with a stopwatch on the write-ahead log: how long its fsyncs take and how much it
writes.

Operators watch these two numbers first (etcd: `etcd_disk_wal_fsync_duration_seconds`,
`etcd_disk_wal_write_bytes_total`): a slow disk is what makes a cluster slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cluster.disk import RealDisk
from cluster.wal.segment import SUFFIX


class MeasuredDisk(RealDisk):
    """`observe` gets the seconds of each fsync of a log segment, in the thread that made it."""

    def __init__(self, observe: Callable[[float], None]) -> None:
        self.log_bytes_written = 0
        self._observe = observe
        self._log_handles: set[int] = set()

    def open(self, path: str) -> int:
        return self._noted(super().open(path), path)

    def create(self, path: str) -> int:
        return self._noted(super().create(path), path)

    def _noted(self, handle: int, path: str) -> int:
        if SUFFIX in path:
            self._log_handles.add(handle)
        return handle

    def close(self, handle: int) -> None:
        self._log_handles.discard(handle)
        super().close(handle)

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        super().pwrite(handle, data, offset)
        if handle in self._log_handles:
            self.log_bytes_written += len(data)

    def fdatasync(self, handle: int) -> None:
        if handle not in self._log_handles:
            super().fdatasync(handle)
            return
        begun = time.perf_counter()
        super().fdatasync(handle)
        self._observe(time.perf_counter() - begun)
