from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cluster.disk import Disk, RealDisk, opened, syncing, writing
from cluster.failures import DiskFull, StorageFailed


def test_a_file_from_its_creation_to_its_end(tmp_path: Path) -> None:
    disk: Disk = RealDisk()
    path, other = str(tmp_path / "a"), str(tmp_path / "b")
    handle = disk.create(path)
    disk.pwrite(handle, b"hello", 3)
    disk.fdatasync(handle)
    assert disk.size(handle) == 8
    assert disk.pread(handle, 100, 0) == b"\0\0\0hello"
    disk.truncate(handle, 4)
    assert disk.pread(handle, 100, 3) == b"h"
    assert disk.pread(handle, 100, 9) == b""
    disk.close(handle)
    assert os.stat(path).st_mode & 0o777 == 0o600
    disk.rename(path, other)
    disk.fsync_dir(str(tmp_path))
    assert (disk.exists(path), disk.exists(other), disk.listdir(str(tmp_path))) == (False, True, ["b"])
    with opened(disk, other) as again:
        assert disk.pread(again, 4, 0) == b"\0\0\0h"
    disk.unlink(other)
    with pytest.raises(FileNotFoundError):
        disk.open(other)


def test_short_writes_and_reads_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite, pread = os.pwrite, os.pread
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:7], offset))
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: pread(fd, min(size, 5), offset))
    disk = RealDisk()
    handle = disk.create(str(tmp_path / "a"))
    disk.pwrite(handle, bytes(range(100)), 2)
    assert disk.pread(handle, 200, 2) == bytes(range(100))
    disk.close(handle)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_may_pass_unless_it_shows_at_an_fsync(number: int) -> None:
    with pytest.raises(DiskFull), writing("/f", 5):
        raise OSError(number, "full")
    with pytest.raises(StorageFailed, match="/f: offset 5: fsync failed: full"), syncing("/f", 5):
        raise OSError(number, "full")


def test_any_other_failure_is_final() -> None:
    with pytest.raises(StorageFailed, match="/f: offset 5: write failed: bad"), writing("/f", 5):
        raise OSError(errno.EIO, "bad")
