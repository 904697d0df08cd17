"""A member's durable state: hard state, log and snapshots on disk, and in memory what raft reads of them.

It is `raft.storage.Storage` for reading and `cluster.ready.StoragePort` for saving. Owns the order in which things
become durable:

- One save is one record of the write-ahead log: term, vote, commit index and entries reach the disk together or not at
  all, so no entry is ever there without its term.
- A snapshot's file is complete and has its name before the log holds the mark for it; a file without mark counts for
  nothing. The mark of an installed snapshot is in the same record as the hard state that goes with it.
- Nothing is removed, in memory or on disk, before the mark of the snapshot that replaces it is on disk.
- Memory shows a save when it is on disk, not before.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

from cluster.disk import Disk
from cluster.failures import DiskFull, StorageFailed
from cluster.snapshotter import SNAPSHOTS_KEPT, CorruptSnapshot, SnapshotName, SnapshotReader, Snapshotter
from cluster.syncer import Syncer
from cluster.wal.record import CorruptLog, Mark
from cluster.wal.repair import Metadata, ReplayedLog, Tail, read_log
from cluster.wal.wal import SEGMENT_BYTES, WAL, Batch
from raft.errors import StorageError
from raft.messages import ConfState, Entry, HardState, Snapshot
from raft.storage import MemoryStorage

log = logging.getLogger(__name__)

LAST_FIRST_INDEX = 1
"""A snapshot up to this index is what a member began with; it needs no mark in the log."""


class StorageConfig(NamedTuple):
    """`catch_up_…` bounds what memory keeps of the log behind a snapshot, for followers that lag: beyond it they get
    the snapshot."""

    segment_bytes: int = SEGMENT_BYTES
    segments_kept: int = 5
    snapshots_kept: int = SNAPSHOTS_KEPT
    catch_up_entries: int = 5_000
    catch_up_bytes: int = 64 << 20


class DurableStorage:
    """One member's storage, open. Create with `create_storage` or `open_storage`.

    Calls come from one task (or one thread) and a save ends before the next one begins. After a StorageFailed every
    save raises StorageFailed.
    """

    def __init__(
        self,
        wal: WAL,
        snapshotter: Snapshotter,
        syncer: Syncer,
        memory: MemoryStorage,
        pause: Callable[[], Awaitable[object]],
        config: StorageConfig,
    ) -> None:
        """`pause` is awaited between attempts to save while the disk is full."""
        self.bytes_since_snapshot = 0
        self._wal = wal
        self._snapshotter = snapshotter
        self._syncer = syncer
        self._memory = memory
        self._pause = pause
        self._config = config
        self._created: Snapshot | None = None
        self._making_room = False

    # What raft reads.

    @property
    def first_index(self) -> int:
        return self._memory.first_index

    @property
    def last_index(self) -> int:
        return self._memory.last_index

    def initial_state(self) -> tuple[HardState, ConfState]:
        return self._memory.initial_state()

    def term(self, index: int) -> int:
        return self._memory.term(index)

    def entries(self, lo: int, hi: int, max_bytes: int) -> Sequence[Entry]:
        return self._memory.entries(lo, hi, max_bytes)

    def snapshot(self) -> Snapshot | None:
        return self._memory.snapshot()

    # Saving.

    @property
    def has_room(self) -> bool:
        """False while the disk is full. What is under way can still be saved (room is made well ahead), but nothing new
        should be proposed. `probe` finds out when it ends."""
        return not self._wal.full

    def save(
        self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None, *, must_sync: bool
    ) -> Awaitable[None]:
        """Begins to make all three durable; the awaitable ends when they are. On a full disk that is when space has
        returned. A snapshot has been received (`Snapshotter.begin`) and replaces the log.

        Without `must_sync` a hard state alone is written, but not synced: at once, in this thread.

        Raises StorageFailed, RecordTooLarge, StorageError at once or when awaited.
        """
        if hard_state is None and not entries and snapshot is None:
            return _DONE
        self._check_follows(entries, snapshot)
        created = self._take_created() if snapshot is None else None
        batch = self._wal.prepare(hard_state, entries, _mark_for(snapshot, created))
        if snapshot is None and self._wal.fits(batch):  # quick: all that is left to the worker is to wait for the disk
            self._wal.write(batch, sync=False)
            if not must_sync and not entries and created is None:
                self._memory.save(hard_state, (), None)
                return _DONE
            return self._finish(self._syncer.flush(self._wal), self._wal.sync, hard_state, entries, snapshot, created)
        write = partial(self._write, batch, snapshot)
        return self._finish(self._syncer.run(write), write, hard_state, entries, snapshot, created)

    def _check_follows(self, entries: Sequence[Entry], installed: Snapshot | None) -> None:
        """Refuses before it is written what could not be read back."""
        first, last = self.first_index, self.last_index
        if installed is not None:
            if installed.index <= self.last_snapshot.index:
                raise StorageError(f"snapshot {installed.index} is not newer than {self.last_snapshot.index}")
            first, last = installed.index + 1, installed.index
        if entries and not first <= entries[0].index <= last + 1:
            raise StorageError(f"entry {entries[0].index} does not follow {first}..{last}")

    def _take_created(self) -> Snapshot | None:
        """The snapshot that waits for its mark, unless a newer one was installed meanwhile."""
        created, self._created = self._created, None
        return created if created is not None and created.index > self.last_snapshot.index else None

    def _write(self, batch: Batch, installed: Snapshot | None) -> None:
        """In the worker: the file first, then the record that counts on it."""
        if installed is not None:
            self._snapshotter.accept(installed)
        self._wal.write(batch)

    async def _finish(
        self,
        writing: Awaitable[None],
        write: Callable[[], None],
        hard_state: HardState | None,
        entries: Sequence[Entry],
        installed: Snapshot | None,
        created: Snapshot | None,
    ) -> None:
        while True:
            try:
                await writing
                break
            except DiskFull as full:
                log.error("disk full, waiting for space: %s", full)
            await self._pause()
            writing = self._syncer.run(write)
        self._memory.save(hard_state, entries, installed)
        self.bytes_since_snapshot += sum(len(entry.data) for entry in entries)
        if installed is not None:
            self.bytes_since_snapshot = 0
            self._purge()
        elif created is not None:
            self._adopt(created)
        if self._wal.wants_room:
            self.probe()

    def probe(self) -> None:
        """Makes room ahead of the log. Call it now and then while `has_room` is False; else it costs nothing."""
        if not self._making_room and (self._wal.wants_room or self._wal.full):
            self._making_room = True
            self._syncer.defer(self._make_room)

    def _make_room(self) -> None:
        """In the worker, a step at a time, so that no save waits for more than one."""
        was_full = self._wal.full
        self._wal.make_room()
        if self._wal.full is not was_full:
            log.error("disk full" if self._wal.full else "the disk has room again")
        self._making_room = False
        if self._wal.wants_room and not self._wal.full and self._wal.failed is None:
            self.probe()

    # Snapshots made here.

    @property
    def last_snapshot(self) -> Snapshot:
        """The newest snapshot that the log knows; index 0 is the state the member began with."""
        return self._memory.snapshot() or Snapshot(0, 0, self.initial_state()[1])

    def create_snapshot(self, snapshot: Snapshot) -> None:
        """The file of `snapshot`, at an applied index, is complete (`Snapshotter.write`). The mark for it goes along
        with the next save that syncs; then it is the newest snapshot, and what it replaces is removed."""
        if snapshot.index > self.last_snapshot.index:
            self._created = snapshot

    def _adopt(self, created: Snapshot) -> None:
        self._memory.create_snapshot(created.index, created.conf_state)
        self.bytes_since_snapshot = 0
        self.compact(self._compaction_index(created.index))
        self._purge()

    def _compaction_index(self, index: int) -> int:
        """How far memory may forget, keeping what a lagging follower may still need."""
        room = self._config.catch_up_bytes
        oldest = max(self.first_index, index - self._config.catch_up_entries + 1)
        for entry in reversed(self._memory.entries(oldest, index + 1, 1 << 62)) if oldest <= index else ():
            room -= len(entry.data)
            if room < 0:
                return entry.index
        return oldest - 1

    def compact(self, index: int) -> None:
        """Forgets entries up to `index` in memory, which a snapshot must cover. Raises StorageError."""
        if index >= self.first_index:
            self._memory.compact(index)

    def _purge(self) -> None:
        newest = self.last_snapshot
        self._syncer.defer(partial(_purge, self._snapshotter, self._wal, newest, self._config))

    def close(self) -> None:
        """Waits for work under way, writes the mark that waits for a save, if it can, then closes the files."""
        self._syncer.close()
        if self._created is not None:
            with contextlib.suppress(DiskFull, StorageFailed):  # then the next start begins with an older snapshot
                self._wal.write(self._wal.prepare(None, (), _mark_for(None, self._created)))
        self._wal.close()


def _mark_for(installed: Snapshot | None, created: Snapshot | None) -> Mark | None:
    if installed is not None:
        return Mark(installed.index, installed.term, installed=True)
    return None if created is None else Mark(created.index, created.term, installed=False)


def _purge(snapshotter: Snapshotter, wal: WAL, newest: Snapshot, config: StorageConfig) -> None:
    """The log stays whole from the second newest snapshot on, so that the loss of the newest one can be survived."""
    try:
        snapshotter.purge(newest, config.snapshots_kept)
        known = [name.index for name in snapshotter.names() if name.index <= newest.index]
    except OSError as error:  # too many open files, for example
        log.warning("old snapshots not removed: %s", error)
        return
    wal.release(known[1] if len(known) > 1 else 0, config.segments_kept)


class _Done(Awaitable[None]):
    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_DONE = _Done()


# Beginning.


class OpenedStorage(NamedTuple):
    """`snapshot` is the newest one, from which the state is restored: at first what `create_storage` was given."""

    storage: DurableStorage
    metadata: Metadata
    snapshot: SnapshotReader


def storage_exists(disk: Disk, wal_dir: str) -> bool:
    """Whether a member has ever begun there."""
    return WAL.exists(disk, wal_dir)


def create_storage(
    disk: Disk,
    wal_dir: str,
    snap_dir: str,
    metadata: Metadata,
    first: Snapshot,
    header: bytes,
    pieces: Iterable[bytes],
) -> None:
    """A new member's files: the snapshot that it begins with, at index 0 or 1, then an empty log. The log comes last,
    so that a crash in between leaves no member. Raises CorruptLog if only the log is missing, OSError, DiskFull,
    StorageFailed."""
    if first.index > LAST_FIRST_INDEX:
        raise ValueError(f"a member cannot begin at index {first.index}")
    snapshotter = Snapshotter(disk, snap_dir)
    snapshotter.clean()
    if any(name.index > LAST_FIRST_INDEX for name in snapshotter.names()):
        raise CorruptLog(wal_dir, 0, "no log, though snapshots of a member that has run are there")
    snapshotter.write(first, header, pieces)
    WAL.create(disk, wal_dir, metadata, next_index=first.index + 1).close()


def open_storage(
    disk: Disk,
    wal_dir: str,
    snap_dir: str,
    syncer: Syncer,
    pause: Callable[[], Awaitable[object]],
    config: StorageConfig = StorageConfig(),  # noqa: B008  # immutable
) -> OpenedStorage:
    """What was saved last. Cuts off a torn tail; a damaged newest snapshot is set aside if the log reaches back to an
    older one. Raises CorruptLog, CorruptSnapshot, DiskFull, StorageFailed, OSError."""
    snapshotter = Snapshotter(disk, snap_dir)
    snapshotter.clean()
    reader, replayed, tail = _choose_snapshot(disk, wal_dir, snapshotter)
    snapshot = reader.snapshot
    wal = WAL.resume(disk, wal_dir, replayed, tail, segment_bytes=config.segment_bytes)
    memory = MemoryStorage(snapshot.conf_state)
    memory.save(_not_behind(replayed, snapshot), replayed.entries, snapshot)
    storage = DurableStorage(wal, snapshotter, syncer, memory, pause, config)
    storage.bytes_since_snapshot = sum(len(entry.data) for entry in replayed.entries)
    return OpenedStorage(storage, replayed.metadata, reader)


def _not_behind(replayed: ReplayedLog, snapshot: Snapshot) -> HardState:
    """A snapshot was committed, even if the hard state that said so was never synced."""
    hard_state = replayed.hard_state
    if hard_state.term < snapshot.term:  # only before the first save of all: no vote was given in that term
        hard_state = HardState(snapshot.term)
    return hard_state._replace(commit=max(hard_state.commit, snapshot.index))


def _choose_snapshot(disk: Disk, wal_dir: str, snapshotter: Snapshotter) -> tuple[SnapshotReader, ReplayedLog, Tail]:
    """The newest undamaged snapshot that the log knows and reaches back to, and the log after it. Damaged ones are set
    aside only when another is found."""
    damaged: dict[SnapshotName, CorruptSnapshot] = {}
    for name in snapshotter.names():
        replayed, tail = _read_after(disk, wal_dir, name.index, damaged)
        if not _is_known(name, replayed):
            continue
        if replayed.base > name.index:
            break
        try:
            reader = snapshotter.check(name)
        except CorruptSnapshot as damage:
            damaged[name] = damage
            continue
        _set_aside(snapshotter, damaged)
        return reader, replayed, tail
    raise next(
        iter(damaged.values()), CorruptSnapshot(snapshotter.directory, 0, "the snapshot before the log is missing")
    )


def _read_after(
    disk: Disk, wal_dir: str, index: int, damaged: dict[SnapshotName, CorruptSnapshot]
) -> tuple[ReplayedLog, Tail]:
    try:
        return read_log(disk, wal_dir, after=index)
    except CorruptLog as error:  # it was well after a newer snapshot: what is missing is that one
        raise next(iter(damaged.values()), error) from error


def _is_known(name: SnapshotName, replayed: ReplayedLog) -> bool:
    return name.index <= LAST_FIRST_INDEX or any((mark.index, mark.term) == name for mark in replayed.marks)


def _set_aside(snapshotter: Snapshotter, damaged: dict[SnapshotName, CorruptSnapshot]) -> None:
    for name, damage in damaged.items():
        log.error("damaged snapshot set aside, as the log reaches back to an older one: %s", damage)
        snapshotter.set_aside(name)
