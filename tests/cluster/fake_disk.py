"""A disk in memory that behaves as badly as real ones are allowed to.

What was not synced may be lost, sector by sector, when the power goes; names that were not synced may be undone; calls
fail on demand; space can run out. A crash can be put before any call: it raises `PowerCut`, which no product code
catches.
"""

from __future__ import annotations

import copy
import errno
import os
import random
from collections.abc import Callable, Iterable

SECTOR = 512


class PowerCut(BaseException):
    """The machine stopped here."""


class _File:
    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.dirty: set[int] = set()  # sectors written since the last sync


class FakeDisk:
    """`calls` counts what could be a moment of a crash; `log` names them."""

    def __init__(self, capacity: int = 1 << 40) -> None:
        self.capacity = capacity
        self.calls = 0
        self.log: list[str] = []
        self.crash_before: int | None = None
        self.fail: Callable[[str, str], int | None] = lambda call, path: None
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._handles: dict[int, tuple[str, _File]] = {}
        self._next_handle = 1000

    # What a test does to it.

    def power_cut(self, seed: int) -> FakeDisk:
        """The disk as the next start finds it: a random part of what was not synced is there."""
        rng = random.Random(seed)
        after = FakeDisk(self.capacity)
        names = self._names if rng.random() < 0.5 else self._durable_names
        for path, file in names.items():
            survivor = _File()
            survivor.data = bytearray(_survive(file, rng))
            survivor.durable = bytearray(survivor.data)
            after._names[path] = survivor
        after._durable_names = dict(after._names)
        return after

    def clone(self) -> FakeDisk:
        other = FakeDisk(self.capacity)
        other._names = copy.deepcopy(self._names)
        other._durable_names = dict(other._names)
        return other

    def content(self, path: str) -> bytes:
        return bytes(self._names[path].data)

    def put(self, path: str, data: bytes) -> None:
        file = _File()
        file.data, file.durable = bytearray(data), bytearray(data)
        self._names[path] = self._durable_names[path] = file

    def paths(self) -> list[str]:
        return sorted(self._names)

    @property
    def used(self) -> int:
        return sum(len(file.data) for file in self._names.values())

    @property
    def open_handles(self) -> int:
        return len(self._handles)

    # What the product calls.

    def _call(self, name: str, path: str) -> None:
        if self.calls == self.crash_before:
            raise PowerCut
        self.calls += 1
        self.log.append(f"{name} {os.path.basename(path)}")
        error = self.fail(name, path)
        if error is not None:
            raise OSError(error, os.strerror(error), path)

    def _found(self, path: str) -> _File:
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self._names[path]

    def _handle(self, path: str, file: _File) -> int:
        self._next_handle += 1
        self._handles[self._next_handle] = (path, file)
        return self._next_handle

    def open(self, path: str) -> int:
        self._call("open", path)
        return self._handle(path, self._found(path))

    def create(self, path: str) -> int:
        self._call("create", path)
        file = self._names[path] = _File()
        return self._handle(path, file)

    def close(self, handle: int) -> None:
        del self._handles[handle]

    def pread(self, handle: int, size: int, offset: int) -> bytes:
        path, file = self._handles[handle]
        self._call("pread", path)
        return bytes(file.data[offset : offset + size])

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        path, file = self._handles[handle]
        self._call("pwrite", path)
        grown = max(0, offset + len(data) - len(file.data))
        room = self.capacity - self.used
        if grown > room:
            data = data[: max(0, len(data) - (grown - room))]
        file.data.extend(bytes(max(0, offset + len(data) - len(file.data))))
        file.data[offset : offset + len(data)] = data
        if data:
            file.dirty.update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))
        if grown > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def truncate(self, handle: int, size: int) -> None:
        path, file = self._handles[handle]
        self._call("truncate", path)
        del file.data[size:]

    def fdatasync(self, handle: int) -> None:
        path, file = self._handles[handle]
        try:
            self._call("fdatasync", path)
        except OSError:
            file.dirty.clear()  # the pages are marked clean, though they never reached the disk
            raise
        _write_sectors(file.durable, file, file.dirty)
        file.dirty.clear()

    def size(self, handle: int) -> int:
        return len(self._handles[handle][1].data)

    def rename(self, old: str, new: str) -> None:
        self._call("rename", old)
        self._names[new] = self._found(old)
        del self._names[old]

    def unlink(self, path: str) -> None:
        self._call("unlink", path)
        self._found(path)
        del self._names[path]

    def listdir(self, path: str) -> list[str]:
        return sorted(os.path.basename(name) for name in self._names if os.path.dirname(name) == path)

    def exists(self, path: str) -> bool:
        return path in self._names or any(name.startswith(path + "/") for name in self._names)

    def fsync_dir(self, path: str) -> None:
        self._call("fsync_dir", path)
        self._durable_names = dict(self._names)


def _write_sectors(content: bytearray, file: _File, sectors: Iterable[int]) -> None:
    """Brings durable content to the size of now, with those sectors as they are now."""
    del content[len(file.data) :]
    content.extend(bytes(len(file.data) - len(content)))
    for sector in sectors:
        content[sector * SECTOR : (sector + 1) * SECTOR] = file.data[sector * SECTOR : (sector + 1) * SECTOR]


def _survive(file: _File, rng: random.Random) -> bytes:
    content = bytearray(file.durable)
    if rng.random() < 0.7:
        chance = rng.choice((0.1, 0.5, 0.9, 1.0))
        _write_sectors(content, file, [sector for sector in sorted(file.dirty) if rng.random() < chance])
    return bytes(content)
