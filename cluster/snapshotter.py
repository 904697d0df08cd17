"""Snapshot files: the whole state at one index, complete or not there at all.

Owns the files of one directory. A snapshot is written under a temporary name, synced, renamed, and the directory
synced, so a file with its final name is whole. `<term>-<index>.snap` (16 hex digits each):

    16 bytes         b"etcdpy snapshot\\n"
    frame            msgpack [version, index, term, voters, learners, header]; `header` is the caller's, opaque here
    frame ...        the state's pieces, as the state machine gave them
    last frame       length 0xFFFFFFFF, then 8 bytes: how many pieces came before

A frame is u32 length, u32 checksum, bytes; numbers are little-endian. A checksum is the CRC-32 of the checksum before
(0 at first), the length and the bytes, so each proves its own piece and all before it, and the last one the whole file.

A file received from a peer gets its final name only when the log is about to refer to it (`accept`). Everything raises
OSError as it comes, but for `accept`, on which the log's promises depend.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import re
import struct
import zlib
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import NamedTuple

import msgpack

from cluster.disk import Disk, syncing, writing
from cluster.failures import DataCorrupt
from raft.messages import ConfState, Snapshot

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
SNAPSHOTS_KEPT = 5
SUFFIX = ".snap"
_RECEIVED = ".received"
_TEMPORARY = ".tmp"
_BROKEN = ".broken"
_MAGIC = b"etcdpy snapshot\n"
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_COUNT = struct.Struct("<Q")
_END = 0xFFFFFFFF
_SYNC_EVERY_BYTES = 8 << 20
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.snap")


class CorruptSnapshot(DataCorrupt):
    """The file is not a whole and undamaged snapshot."""


class SnapshotName(NamedTuple):
    """Sorts by age: a higher index is newer."""

    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on these
    term: int

    def __str__(self) -> str:
        return f"{self.term:016x}-{self.index:016x}{SUFFIX}"

    @classmethod
    def parse(cls, text: str) -> SnapshotName | None:
        match = _NAME.fullmatch(text)
        return cls(int(match[2], 16), int(match[1], 16)) if match else None

    @classmethod
    def of(cls, snapshot: Snapshot) -> SnapshotName:
        return cls(snapshot.index, snapshot.term)


class Snapshotter:
    """The snapshot directory. Methods block; none keeps a file open but those that say so."""

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self.directory = directory
        self._temporary_names = itertools.count()

    def clean(self) -> None:
        """Removes what an earlier run left unfinished."""
        for name in self._disk.listdir(self.directory):
            if name.endswith((_TEMPORARY, _RECEIVED)):
                self._disk.unlink(self._join(name))

    def names(self) -> list[SnapshotName]:
        """Newest first."""
        names = (SnapshotName.parse(text) for text in self._disk.listdir(self.directory))
        return sorted((name for name in names if name is not None), reverse=True)

    def path(self, name: SnapshotName) -> str:
        return self._join(str(name))

    # Writing.

    def writer(self, snapshot: Snapshot, header: bytes) -> SnapshotWriter:
        """A context in which pieces are appended; leaving it without an exception makes the snapshot durable."""
        path = self.path(SnapshotName.of(snapshot))
        return SnapshotWriter(self._disk, self._temporary_path(path), path, snapshot, header)

    def write(self, snapshot: Snapshot, header: bytes, pieces: Iterable[bytes]) -> None:
        """Writes a whole snapshot. It counts only once the log has a mark for it."""
        with self.writer(snapshot, header) as writer:
            for piece in pieces:
                writer.append(piece)

    def begin(self, snapshot: Snapshot) -> ReceivedSnapshot:
        """A new file for a snapshot that comes from a peer, byte for byte as `open` reads it there."""
        path = self.path(SnapshotName.of(snapshot))
        return ReceivedSnapshot(self._disk, self._temporary_path(path), path + _RECEIVED, snapshot)

    def accept(self, snapshot: Snapshot) -> None:
        """Gives a received snapshot its final name, durably; one that has it is left as it is. Raises DiskFull,
        StorageFailed."""
        path = self.path(SnapshotName.of(snapshot))
        with writing(path):
            if self._disk.exists(path + _RECEIVED):
                self._disk.rename(path + _RECEIVED, path)
        with syncing(path):
            self._disk.fsync_dir(self.directory)

    def _temporary_path(self, path: str) -> str:
        return f"{path}.{os.getpid()}.{next(self._temporary_names)}{_TEMPORARY}"

    # Reading.

    def check(self, name: SnapshotName) -> SnapshotReader:
        """Reads the whole file once. Raises CorruptSnapshot, which also stands for "cannot be read"."""
        path = self.path(name)
        reader = SnapshotReader(self._disk, path)
        for _ in reader.pieces():
            pass
        if SnapshotName.of(reader.snapshot) != name:
            raise CorruptSnapshot(path, len(_MAGIC), f"this is snapshot {SnapshotName.of(reader.snapshot)}")
        return reader

    def load_newest_valid(self) -> SnapshotReader | None:
        """The newest snapshot without damage, whether or not the log knows it."""
        for name in self.names():
            with contextlib.suppress(CorruptSnapshot):
                return self.check(name)
        return None

    def open_reader(self, snapshot: Snapshot) -> SnapshotReader:
        """Raises CorruptSnapshot, also while its pieces are read."""
        return SnapshotReader(self._disk, self.path(SnapshotName.of(snapshot)))

    def open(self, snapshot: Snapshot) -> io.BufferedReader:
        """The file's bytes, open until it is closed, even when the file is purged."""
        handle = self._disk.open(self.path(SnapshotName.of(snapshot)))
        return io.BufferedReader(_RawFile(self._disk, handle), _SYNC_EVERY_BYTES >> 4)

    # Removing.

    def set_aside(self, name: SnapshotName) -> None:
        """Takes a damaged file out of the way without destroying it."""
        self._disk.rename(self.path(name), self.path(name) + _BROKEN)
        self._disk.fsync_dir(self.directory)

    def purge(self, newest: Snapshot, keep: int = SNAPSHOTS_KEPT) -> None:
        """Removes all but the `keep` newest up to `newest`, which the log knows. A file that stays is only in the
        way."""
        old = [name for name in self.names() if name.index <= newest.index][max(keep, 1) :]
        try:
            for name in reversed(old):
                self._disk.unlink(self.path(name))
            self._disk.fsync_dir(self.directory)
        except OSError as error:
            log.warning("old snapshot not removed: %s", error)

    def _join(self, name: str) -> str:
        return os.path.join(self.directory, name)


class _TemporaryFile:
    """A file that becomes `path` when it is complete, or goes away."""

    def __init__(self, disk: Disk, temporary_path: str, path: str) -> None:
        self._disk = disk
        self._temporary_path = temporary_path
        self._path = path
        self._handle = disk.create(temporary_path)
        self._offset = 0
        self._synced = 0
        self._open = True

    def _write(self, data: bytes) -> None:
        self._disk.pwrite(self._handle, data, self._offset)
        self._offset += len(data)
        if self._offset - self._synced >= _SYNC_EVERY_BYTES:  # in portions, so that the log's fsyncs wait less
            self._sync()

    def _sync(self) -> None:
        self._disk.fdatasync(self._handle)
        self._synced = self._offset

    def _finish(self) -> None:
        self._sync()
        self._close()
        self._disk.rename(self._temporary_path, self._path)
        self._disk.fsync_dir(os.path.dirname(self._path))

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._disk.close(self._handle)

    def abort(self) -> None:
        """Removes the temporary file."""
        self._close()
        with contextlib.suppress(OSError):  # what stays is removed at the next start
            self._disk.unlink(self._temporary_path)


class SnapshotWriter(_TemporaryFile):
    def __init__(self, disk: Disk, temporary_path: str, path: str, snapshot: Snapshot, header: bytes) -> None:
        super().__init__(disk, temporary_path, path)
        self._checksum = 0
        self._pieces = 0
        self._first = _pack_first(snapshot, header)

    def __enter__(self) -> SnapshotWriter:
        try:
            self._write(_MAGIC)
            self._write_frame(len(self._first), self._first)
        except BaseException:
            self.abort()
            raise
        return self

    def append(self, piece: bytes) -> None:
        self._write_frame(len(piece), piece)
        self._pieces += 1

    def _write_frame(self, length: int, data: bytes) -> None:
        self._checksum = _checksum(length, data, self._checksum)
        self._write(_FRAME.pack(length, self._checksum) + data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write_frame(_END, _COUNT.pack(self._pieces))
                self._finish()
        except BaseException:
            self.abort()
            raise
        if kind is not None:
            self.abort()


class ReceivedSnapshot(_TemporaryFile):
    """A snapshot that a peer sends. Whoever begins one ends it with `commit` or `abort`."""

    def __init__(self, disk: Disk, temporary_path: str, path: str, snapshot: Snapshot) -> None:
        super().__init__(disk, temporary_path, path)
        self._snapshot = snapshot

    def write(self, piece: bytes) -> None:
        self._write(piece)

    def commit(self) -> None:
        """Checks the whole file and makes it durable, ready for `Snapshotter.accept`. Raises CorruptSnapshot, OSError;
        then `abort` is due."""
        reader = SnapshotReader(self._disk, self._temporary_path)
        for _ in reader.pieces():
            pass
        if reader.snapshot != self._snapshot:
            raise CorruptSnapshot(self._temporary_path, len(_MAGIC), f"this is {reader.snapshot}")
        self._finish()


class SnapshotReader:
    """`snapshot` and `header` are known at once; `pieces` reads on. Raises CorruptSnapshot."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        frames = self._frames()
        try:
            _, _, first = next(frames)
            self.snapshot, self.header = _unpack_first(first)
        except ValueError as error:
            raise error if isinstance(error, CorruptSnapshot) else self._corrupt(len(_MAGIC), str(error)) from error
        finally:
            frames.close()

    def pieces(self) -> Iterator[bytes]:
        """Yields each piece after checking it, and ends only if the file is whole to its last byte."""
        for number, (length, offset, data) in enumerate(self._frames()):
            if length == _END:
                if _COUNT.unpack(data)[0] != number - 1:
                    raise self._corrupt(offset, "pieces are missing")
            elif number > 0:
                yield data

    def _frames(self) -> Generator[tuple[int, int, bytes], None, None]:
        try:
            handle = self._disk.open(self._path)
        except OSError as error:
            raise self._corrupt(0, f"cannot be read: {error.strerror}") from error
        try:
            yield from self._read_frames(handle)
        except OSError as error:
            raise self._corrupt(0, f"cannot be read: {error.strerror}") from error
        finally:
            self._disk.close(handle)

    def _read_frames(self, handle: int) -> Iterator[tuple[int, int, bytes]]:
        size = self._disk.size(handle)
        offset, checksum, length = len(_MAGIC), 0, 0
        if self._disk.pread(handle, offset, 0) != _MAGIC:
            raise self._corrupt(0, "not a snapshot")
        while length != _END:
            frame = self._disk.pread(handle, _FRAME.size, offset)
            if len(frame) < _FRAME.size:
                raise self._corrupt(offset, "the file ends within the snapshot")
            length, stated = _FRAME.unpack(frame)
            data_bytes = _COUNT.size if length == _END else length
            if offset + _FRAME.size + data_bytes > size:
                raise self._corrupt(offset, "a piece reaches beyond the end of the file")
            data = self._disk.pread(handle, data_bytes, offset + _FRAME.size)
            checksum = _checksum(length, data, checksum)
            if checksum != stated:
                raise self._corrupt(offset, "checksum mismatch")
            yield length, offset, data
            offset += _FRAME.size + data_bytes
        if offset != size:
            raise self._corrupt(offset, "data after the end")

    def _corrupt(self, offset: int, reason: str) -> CorruptSnapshot:
        return CorruptSnapshot(self._path, offset, reason)


class _RawFile(io.RawIOBase):
    """A file of a `Disk`, read as Python's file objects are."""

    def __init__(self, disk: Disk, handle: int) -> None:
        self._disk = disk
        self._handle = handle
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # typeshed has no name for a buffer before 3.12
        data = self._disk.pread(self._handle, len(view), self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (self._disk.size(self._handle) if start is None else start)
        return self._position

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        if not self.closed:
            self._disk.close(self._handle)
        super().close()


def _checksum(length: int, data: bytes, before: int) -> int:
    return zlib.crc32(data, zlib.crc32(_LENGTH.pack(length), before))


def _pack_first(snapshot: Snapshot, header: bytes) -> bytes:
    voters, learners = snapshot.conf_state
    packed: bytes = msgpack.packb((FORMAT_VERSION, snapshot.index, snapshot.term, voters, learners, header))
    return packed


def _unpack_first(data: bytes) -> tuple[Snapshot, bytes]:
    """Raises ValueError."""
    try:
        version, *fields = msgpack.unpackb(data)
        if version != FORMAT_VERSION:
            raise ValueError(f"format version {version} is unknown, {FORMAT_VERSION} is known")
        index, term, voters, learners, header = fields
        return Snapshot(index, term, ConfState(tuple(voters), tuple(learners))), header
    except TypeError as error:
        raise ValueError("not the first part of a snapshot") from error
