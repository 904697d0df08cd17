"""The data directory: its layout, its modes, and the lock that keeps a second process out.

    <data-dir>/lock          held by flock while a member runs
    <data-dir>/member/wal    the write-ahead log (`--wal-dir` may put it elsewhere; then a lock lies there, too)
    <data-dir>/member/snap   snapshots

The layout is etcd's. Directories are for their owner only.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import stat

log = logging.getLogger(__name__)

_LOCK = "lock"
_MODE = 0o700


class DataDirInUse(Exception):
    """Another process runs a member on that directory."""

    def __init__(self, path: str) -> None:
        super().__init__(f"data directory {path} is in use by another process")
        self.path = path


class DataDir:
    """A locked data directory with everything in place. The lock ends with `close` or with the process."""

    def __init__(self, path: str, wal_dir: str, snap_dir: str, locks: list[int]) -> None:
        self.path = path
        self.wal_dir = wal_dir
        self.snap_dir = snap_dir
        self._locks = locks

    @classmethod
    def open(cls, path: str, wal_dir: str | None = None) -> DataDir:
        """Makes what is missing, durably, and takes the lock. Raises DataDirInUse, OSError."""
        path = os.path.abspath(path)
        member = os.path.join(path, "member")
        snap = os.path.join(member, "snap")
        wal = os.path.abspath(wal_dir) if wal_dir else os.path.join(member, "wal")
        _make_private(path)
        locks = [_lock(path)]
        try:
            for directory in (member, snap, wal):
                _make_private(directory)
            if wal_dir:
                locks.append(_lock(wal))
        except BaseException:
            _unlock(locks)
            raise
        return cls(path, wal, snap, locks)

    def set_aside(self) -> list[str]:
        """Moves a member's files out of the way, durably, so that another may begin here. Returns where they are now:
        beside `member`, and within a write-ahead log's directory elsewhere."""
        member = os.path.join(self.path, "member")
        places = [_free_name(f"{member}.aside")]
        os.rename(member, places[0])
        if not self.wal_dir.startswith(member + os.sep):
            places.append(_free_name(os.path.join(self.wal_dir, "aside")))
            _move_files(self.wal_dir, places[1])
        _sync(self.path)
        for directory in (member, self.snap_dir, self.wal_dir):
            _make_private(directory)
        return places

    def close(self) -> None:
        _unlock(self._locks)
        self._locks = []


def _make_private(path: str) -> None:
    """A directory for its owner only. One that is there and open to others is closed to them, with a warning; whoever
    it belongs to, and where a link leads, is for the operator to know."""
    if not os.path.isdir(path):
        _make_durably(path)
    if os.path.islink(path):
        log.warning("directory %s is a link to %s", path, os.path.realpath(path))
    found = os.stat(path)
    if found.st_uid != os.geteuid():
        log.warning("directory %s belongs to another user (uid %d), who can read and change it", path, found.st_uid)
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        log.warning("directory %s was open to others (mode %o), now it is not", path, mode)
        os.chmod(path, _MODE)


def _make_durably(path: str) -> None:
    """Others may be making the same parents, as the members of a new cluster on one machine do."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _make_durably(parent)
    try:
        os.mkdir(path, _MODE)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    _sync(parent)


def _sync(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _free_name(stem: str) -> str:
    return next(name for number in itertools.count(1) if not os.path.lexists(name := f"{stem}-{number}"))


def _move_files(source: str, target: str) -> None:
    _make_private(target)
    for entry in os.scandir(source):
        if entry.is_file(follow_symlinks=False) and entry.name != _LOCK:
            os.rename(entry.path, os.path.join(target, entry.name))
    for directory in (target, source):
        _sync(directory)


def _lock(directory: str) -> int:
    handle = os.open(os.path.join(directory, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(handle)
        raise (DataDirInUse(directory) if isinstance(error, BlockingIOError) else error) from None
    return handle


def _unlock(locks: list[int]) -> None:
    for handle in locks:
        os.close(handle)
