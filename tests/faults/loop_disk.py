"""A disk whose power can be cut: ext4 in a file, behind a loop device (root only).

The cut is ext4's shutdown ioctl. What was never synced is gone with it, as is what only the file system's journal in
memory knew; whoever writes or syncs afterwards gets EIO. Mounting it again is what a boot would do: the journal is
replayed.
"""

from __future__ import annotations

import enum
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FS_IOC_SHUTDOWN = 0x8004587D
_BUSY_SECONDS = 10.0


class Cut(enum.IntEnum):
    """What becomes of the file system's own journal."""

    JOURNAL_FLUSHED = 1  # names survive that were never synced, though the data behind them may not
    JOURNAL_LOST = 2


class LoopDisk:
    """An empty ext4 of that many MiB, mounted at `mount_point`, in a file beside it."""

    def __init__(self, mount_point: Path, mebibytes: int) -> None:
        self.mount_point = mount_point
        self._image = mount_point.with_suffix(".img")
        with self._image.open("wb") as image:
            image.truncate(mebibytes << 20)
        _run("mkfs.ext4", "-q", "-F", "-m0", str(self._image))
        mount_point.mkdir(parents=True)
        self.mount()

    def mount(self) -> None:
        # Nothing but a sync makes anything durable: ext4's own regular one is put off.
        _run("mount", "-o", "loop,commit=300", str(self._image), str(self.mount_point))

    def cut(self, how: Cut) -> None:
        root = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(root, _FS_IOC_SHUTDOWN, struct.pack("I", how))
        finally:
            os.close(root)

    def unmount(self) -> None:
        """Waits for those that still have files open, as a child that writes a snapshot: it has but to see its EIO."""
        deadline = time.monotonic() + _BUSY_SECONDS
        while subprocess.run(["umount", str(self.mount_point)], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, f"{self.mount_point} stays busy"
            time.sleep(0.01)

    def remove(self) -> None:
        self.unmount()
        self._image.unlink()


@contextmanager
def loop_disks(mount_points: list[Path], mebibytes: int) -> Iterator[list[LoopDisk]]:
    disks: list[LoopDisk] = []
    try:
        for mount_point in mount_points:
            disks.append(LoopDisk(mount_point, mebibytes))
        yield disks
    finally:
        for disk in disks:
            disk.remove()


def why_impossible() -> str | None:
    """Why no such disk can be had here."""
    if os.geteuid() != 0:
        return "only root can mount loop devices"
    if shutil.which("mkfs.ext4") is None:
        return "no `mkfs.ext4` on PATH (apt-get install e2fsprogs)"
    if not Path("/dev/loop-control").exists():
        return "this machine has no loop devices"
    return None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
