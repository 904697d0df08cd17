"""Cluster time: one clock for the whole cluster, told by whoever leads, carried by the log.

The leader stamps each entry that it appends. A member that hears a stamp counts on from it by its own monotonic
clock, so when leadership moves, time goes on where it was: how far the members' wall clocks are apart, or that one
of them is set, does not matter. A stamp arrives late and never early, so a new leader's time is at most a message
delay behind and never ahead: nothing expires early.

A member that has just started may be elected before it has heard a leader, so those who vote for it tell it the time as
they know it. Only when none of them knows (at a first start, or when a majority was down) does a leader ask its wall
clock, and it corrects that by how far cluster time was from it before, which `ClockFile` keeps. So even then the
members' clocks may differ.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import msgpack

from cluster.disk import Disk, opened

_VERSION = 1
_MAX_BYTES = 64
_CLOSE_ENOUGH_NS = 100_000_000


class ClusterClock:
    """Nanoseconds since the Unix epoch; for a leader, `now_ns` never goes back."""

    def __init__(self, monotonic_ns: Callable[[], int], wall_ns: Callable[[], int], ahead_of_wall_ns: int = 0) -> None:
        """`ahead_of_wall_ns` is how far cluster time was ahead of this member's wall clock when it last ran."""
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._ahead_of_wall_ns = ahead_of_wall_ns
        self._offset_ns: int | None = None
        self._assumed_ns: int | None = None
        self._first_assumed_ns = 0
        self._floor_ns = 0

    def now_ns(self) -> int:
        offset_ns = self._assumed_ns if self._offset_ns is None else self._offset_ns
        if offset_ns is None:
            return max(self._floor_ns, self._wall_ns() + self._ahead_of_wall_ns)
        return max(self._floor_ns, self._monotonic_ns() + offset_ns)

    @property
    def ahead_of_wall_ns(self) -> int:
        """For the next start of this member."""
        return self._ahead_of_wall_ns if self._offset_ns is None else self.now_ns() - self._wall_ns()

    @property
    def is_known(self) -> bool:
        """Whether this is the cluster's time, and not a wall clock's."""
        return self._offset_ns is not None

    def lead(self) -> None:
        """This member leads from now on. If nobody has told it the time, its wall clock does, this once. Until a stamp
        of that time is applied, no other leader may hear of it: perhaps this one's term is over, and it does not know
        yet, and the cluster has another time."""
        if self._offset_ns is None and self._assumed_ns is None:
            self._assumed_ns = self.now_ns() - self._monotonic_ns()

    def stamp_ns(self) -> int:
        """The leader's next stamp; from now on this member's time counts from it."""
        self.lead()
        now = self.now_ns()
        if self._offset_ns is not None:
            self.hear(now)
        else:
            self._first_assumed_ns = self._first_assumed_ns or now
        return now

    def not_before(self, stamp_ns: int) -> None:
        """A stamp that was applied: time is not before it, but how long ago it was given nobody here knows."""
        self._floor_ns = max(self._floor_ns, stamp_ns)
        if 0 < self._first_assumed_ns <= stamp_ns:
            self.hear(self.now_ns())

    def hear(self, stamp_ns: int) -> None:
        """A stamp that has just been given by a living leader."""
        self._floor_ns = max(self._floor_ns, stamp_ns)
        self._offset_ns = self._floor_ns - self._monotonic_ns()
        self._assumed_ns, self._first_assumed_ns = None, 0

    def hear_voter(self, now_ns: int) -> None:
        """Cluster time as a member that votes for this one knows it: it may be late, too, so the later one counts."""
        if (self._offset_ns is None and self._assumed_ns is None) or now_ns > self.now_ns():
            self.hear(now_ns)


class ClockFile:
    """Keeps one number in a file, durably: msgpack `[version, ahead_of_wall_ns]`. A file that cannot be read counts as
    0."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._saved_ns: int | None = None

    def load(self) -> int:
        try:
            with opened(self._disk, self._path) as handle:
                version, ahead_of_wall_ns = msgpack.unpackb(self._disk.pread(handle, _MAX_BYTES, 0))
            return int(ahead_of_wall_ns) if version == _VERSION else 0
        except (OSError, ValueError, TypeError):
            return 0

    def is_due(self, ahead_of_wall_ns: int) -> bool:
        """Whether what was saved last would be a mistake at the next start: a leader was heard, or a clock was set."""
        return self._saved_ns is None or abs(ahead_of_wall_ns - self._saved_ns) > _CLOSE_ENOUGH_NS

    def save(self, ahead_of_wall_ns: int) -> None:
        """Blocks. A disk that is full or broken is for others to complain of."""
        temporary = f"{self._path}.tmp"
        with contextlib.suppress(OSError):
            handle = self._disk.create(temporary)
            try:
                self._disk.pwrite(handle, msgpack.packb([_VERSION, ahead_of_wall_ns]), 0)
                self._disk.fdatasync(handle)
            finally:
                self._disk.close(handle)
            self._disk.rename(temporary, self._path)
            self._disk.fsync_dir(os.path.dirname(self._path))
            self._saved_ns = ahead_of_wall_ns
