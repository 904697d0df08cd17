"""Drives a `DurableStorage` over a `FakeDisk` without an event loop, as a simulator does."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterable, Sequence
from typing import Any

from fake_disk import FakeDisk

from cluster.snapshotter import Snapshotter
from cluster.storage import DurableStorage, OpenedStorage, StorageConfig, create_storage, open_storage
from cluster.syncer import InlineSyncer
from cluster.wal.repair import Metadata
from raft.messages import ConfState, Entry, HardState, Snapshot

WAL_DIR, SNAP_DIR = "/member/wal", "/member/snap"
METADATA = Metadata(0xC, 0xA)
VOTERS = ConfState((1, 2, 3))
CONFIG = StorageConfig(segment_bytes=8192, segments_kept=2, snapshots_kept=3, catch_up_entries=10)


class Pause(Awaitable[None]):
    def __await__(self) -> Generator[Any, None, None]:
        yield


def finish(awaitable: Awaitable[None]) -> int:
    """Drives it to its end; returns how often it waited."""
    steps, waits = awaitable.__await__(), 0
    while True:
        try:
            next(steps)
        except StopIteration:
            return waits
        waits += 1


class DurableDriver:
    """One member's files over several lives."""

    def __init__(self, conf_state: ConfState = VOTERS, config: StorageConfig = CONFIG) -> None:
        self.disk = FakeDisk()
        self.config = config
        self.opened: OpenedStorage
        create_storage(self.disk, WAL_DIR, SNAP_DIR, METADATA, Snapshot(0, 0, conf_state), b"first header", ())
        self.open()

    @property
    def storage(self) -> DurableStorage:
        return self.opened.storage

    @property
    def snapshotter(self) -> Snapshotter:
        return Snapshotter(self.disk, SNAP_DIR)

    def open(self) -> None:
        self.opened = open_storage(self.disk, WAL_DIR, SNAP_DIR, InlineSyncer(), Pause, self.config)

    def reopen(self) -> None:
        self.storage.close()
        self.open()

    def power_cut(self, seed: int) -> None:
        self.disk = self.disk.power_cut(seed)
        self.open()

    def save(
        self,
        hard_state: HardState | None = None,
        entries: Sequence[Entry] = (),
        snapshot: Snapshot | None = None,
        must_sync: bool = True,
    ) -> int:
        if snapshot is not None:
            self.receive(snapshot)
        return finish(self.storage.save(hard_state, entries, snapshot, must_sync=must_sync))

    def receive(self, snapshot: Snapshot, pieces: Iterable[bytes] = (b"from the leader",)) -> None:
        sender = Snapshotter(FakeDisk(), SNAP_DIR)
        sender.write(snapshot, b"leader's header", pieces)
        file = self.snapshotter.begin(snapshot)
        with sender.open(snapshot) as source:
            file.write(source.read())
        file.commit()

    def create_snapshot(self, index: int, conf_state: ConfState = VOTERS) -> Snapshot:
        """As in life: the file first; the mark goes with some later save."""
        snapshot = Snapshot(index, self.storage.term(index), conf_state)
        self.snapshotter.write(snapshot, b"header", [b"state at %d" % index])
        self.storage.create_snapshot(snapshot)
        last = self.storage.last_index
        self.save(self.storage.initial_state()[0], [self.storage.entries(last, last + 1, 1)[0]])
        return snapshot
