"""A member's disk in memory, as bad as real ones are allowed to be (`cluster.disk.Disk`).

A file has a cached content, which the process reads, and a durable one, which the next power-on finds. What lies
between is decided by the seed, sector by sector: kept, lost, torn at 512 bytes, out of order. Names are a journal of
their own: a power cut keeps a prefix of what was not synced. After a failed fsync the pages are clean and gone: the
cache shows what the disk never got (ATC'20). A crash can be put before any call."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from random import Random

SECTOR = 512


class PowerCut(BaseException):
    """The machine stops here."""


class _File:
    __slots__ = ("data", "dirty", "durable")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.dirty: set[int] = set()


class SimDisk:
    """`crash_in` counts down the calls until PowerCut; `errors` are raised by the next call of that name; `capacity`
    limits all files together; `on_sync` is called when content has become durable. `names_version` goes up whenever
    durable names change."""

    def __init__(self, random: Random) -> None:
        self.capacity = 1 << 40
        self.crash_in: int | None = None
        self.errors: dict[str, int] = {}
        self.on_sync: Callable[[], None] | None = None
        self.names_version = 0
        self._random = random
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._journal: list[tuple[str, str, _File | None]] = []
        self._handles: dict[int, tuple[str, _File]] = {}
        self._next_handle = 3

    # What happens to it.

    def kill_process(self) -> None:
        """The process is gone; what it wrote is in the cache of the machine, which lives on."""
        self._handles.clear()
        self._disarm()

    def cut_power(self) -> None:
        """Only what was synced is sure; of the rest chance keeps some."""
        random = self._random
        for entry in self._journal[: random.choice((0, random.randint(0, len(self._journal)), len(self._journal)))]:
            self._make_durable(entry)
        self._journal.clear()
        for path in sorted(self._durable_names):
            self._lose_unsynced(self._durable_names[path])
        self._names = dict(self._durable_names)
        self._handles.clear()
        self.names_version += 1
        self._disarm()

    def _lose_unsynced(self, file: _File) -> None:
        if file.dirty:
            chance = self._random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
            kept = [sector for sector in sorted(file.dirty) if self._random.random() < chance]
            if kept or self._random.random() < 0.5:  # the size is in the inode, and as unsure as the rest
                _write_sectors(file, kept)
            file.dirty.clear()
        file.data = bytearray(file.durable)

    def _disarm(self) -> None:
        self.crash_in = None
        self.errors.clear()

    def rot(self) -> str | None:
        """Flips one bit of what is at rest, not of the zeros beyond; says where."""
        paths = [path for path in sorted(self._durable_names) if any(self._durable_names[path].durable)]
        if not paths:
            return None
        path = self._random.choice(paths)
        file = self._durable_names[path]
        offset = self._random.choice([offset for offset, byte in enumerate(file.durable) if byte])
        flipped = 1 << self._random.randrange(8)
        file.durable[offset] ^= flipped
        file.data[offset : offset + 1] = bytes([file.durable[offset]])
        return f"{os.path.basename(path)}:{offset}"

    # What is sure to survive.

    def durable_paths(self) -> list[str]:
        return sorted(self._durable_names)

    def durable(self, path: str) -> bytearray:
        return self._durable_names[path].durable

    def is_durable(self, path: str) -> bool:
        """Whether name and whole content would survive."""
        file = self._durable_names.get(path)
        return file is not None and file.data == file.durable

    @property
    def used(self) -> int:
        return sum([len(file.data) for file in self._names.values()])

    # What the product calls.

    def _call(self, name: str, path: str) -> None:
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                raise PowerCut
        if self.errors and name in self.errors:
            raise _error(self.errors.pop(name), path)

    def _found(self, path: str) -> _File:
        if path not in self._names:
            raise _error(errno.ENOENT, path)
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
        self._journal.append(("create", path, file))
        return self._handle(path, file)

    def close(self, handle: int) -> None:
        self._handles.pop(handle, None)

    def pread(self, handle: int, size: int, offset: int) -> bytes:
        path, file = self._handles[handle]
        self._call("pread", path)
        return bytes(file.data[offset : offset + size])

    def pwrite(self, handle: int, data: bytes, offset: int) -> None:
        path, file = self._handles[handle]
        self._call("pwrite", path)
        content = file.data
        grown = max(0, offset + len(data) - len(content))
        room = self.capacity - self.used if grown and self.capacity < 1 << 40 else grown
        if grown > room:
            data = data[: max(0, len(data) - (grown - room))]
        if offset > len(content):
            content.extend(bytes(offset - len(content)))
        content[offset : offset + len(data)] = data
        if data:
            file.dirty.update(range(offset // SECTOR, (offset + len(data) - 1) // SECTOR + 1))
        if grown > room:
            raise _error(errno.ENOSPC, path)

    def truncate(self, handle: int, size: int) -> None:
        path, file = self._handles[handle]
        self._call("truncate", path)
        del file.data[size:]
        file.dirty.add(size // SECTOR)

    def fdatasync(self, handle: int) -> None:
        path, file = self._handles[handle]
        try:
            self._call("fdatasync", path)
        except OSError:
            file.dirty.clear()  # the pages are marked clean, though they never reached the disk
            raise
        if file.dirty:
            _write_sectors(file, file.dirty)
            file.dirty.clear()
            if self.on_sync is not None:
                self.on_sync()

    def size(self, handle: int) -> int:
        return len(self._handles[handle][1].data)

    def rename(self, old: str, new: str) -> None:
        self._call("rename", old)
        self._names[new] = self._found(old)
        del self._names[old]
        self._journal.append((old, new, None))

    def unlink(self, path: str) -> None:
        self._call("unlink", path)
        self._found(path)
        del self._names[path]
        self._journal.append(("unlink", path, None))

    def listdir(self, path: str) -> list[str]:
        return sorted(os.path.basename(name) for name in self._names if os.path.dirname(name) == path)

    def exists(self, path: str) -> bool:
        return path in self._names or any(name.startswith(path + "/") for name in self._names)

    def fsync_dir(self, path: str) -> None:
        self._call("fsync_dir", path)
        for entry in self._journal:
            self._make_durable(entry)
        self._journal.clear()
        self.names_version += 1

    def _make_durable(self, entry: tuple[str, str, _File | None]) -> None:
        what, path, file = entry
        if file is not None:
            self._durable_names[path] = file
        elif what == "unlink":
            self._durable_names.pop(path, None)
        else:
            self._durable_names[path] = self._durable_names.pop(what)


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def _write_sectors(file: _File, sectors: set[int] | list[int]) -> None:
    """Brings the durable content to the cached size, with those sectors as they are in the cache."""
    data, durable = file.data, file.durable
    if len(durable) != len(data):
        del durable[len(data) :]
        durable.extend(bytes(len(data) - len(durable)))
    for sector in sectors:
        start = sector * SECTOR
        durable[start : start + SECTOR] = data[start : start + SECTOR]
