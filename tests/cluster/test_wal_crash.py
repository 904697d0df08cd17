"""Power cuts at every call to the disk: what was acknowledged is there, what was not is there as a whole or not at all,
and the log goes on from it."""

from __future__ import annotations

import errno

import pytest
from fake_disk import FakeDisk, PowerCut

from cluster.failures import StorageFailed
from cluster.wal.repair import Metadata
from cluster.wal.wal import WAL
from raft.messages import Entry, HardState

DIR = "/wal"
METADATA = Metadata(1, 2)
SEGMENT = 6000
SAVES = 14


def _entry(index: int, round_: int) -> Entry:
    data = [b"v" * 1500, bytes(2000), b"small", bytes(range(256)) * 5][index % 4]
    return Entry(1 + round_, index, 0, data)


def _write(disk: FakeDisk, first: int, round_: int, acknowledged: list[Entry]) -> None:
    wal, _ = WAL.open(disk, DIR, segment_bytes=SEGMENT)
    for index in range(first, first + SAVES):
        if index % 3 == 0:
            wal.save(HardState(1 + round_, 1, index - 1), sync=False)
        entry = _entry(index, round_)
        wal.save(HardState(1 + round_, 1, index - 1), [entry])
        acknowledged.append(entry)
        if wal.wants_room and index % 2:
            wal.make_room()
    wal.close()


def _fresh() -> FakeDisk:
    disk = FakeDisk()
    WAL.create(disk, DIR, METADATA, segment_bytes=SEGMENT).close()
    return disk


def _calls() -> int:
    disk = _fresh()
    before = disk.calls
    _write(disk, 1, 0, [])
    return disk.calls - before


def _check(entries: list[Entry], acknowledged: list[Entry], next_round: int) -> None:
    assert entries[: len(acknowledged)] == acknowledged
    extra = entries[len(acknowledged) :]
    assert extra in ([], [_entry(len(acknowledged) + 1, next_round)])


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_anywhere_loses_nothing_that_was_acknowledged(seed: int) -> None:
    for point in range(_calls()):
        disk = _fresh()
        acknowledged: list[Entry] = []
        disk.crash_before = disk.calls + point
        with pytest.raises(PowerCut):
            _write(disk, 1, 0, acknowledged)
        disk = disk.power_cut(seed * 1000 + point)
        wal, replayed = WAL.open(disk, DIR, segment_bytes=SEGMENT)
        wal.close()
        _check(replayed.entries, acknowledged, 0)
        assert replayed.hard_state.commit <= len(replayed.entries)
        _cut_again(disk, replayed.entries, seed * 77 + point)


def _cut_again(disk: FakeDisk, entries: list[Entry], seed: int) -> None:
    """The next life ends the same way: what the first left behind must not come back."""
    acknowledged = list(entries)
    disk.crash_before = disk.calls + seed % 40
    try:
        _write(disk, len(entries) + 1, 1, acknowledged)
    except PowerCut:
        disk = disk.power_cut(seed)
    _, replayed = WAL.open(disk, DIR, segment_bytes=SEGMENT)
    _check(replayed.entries, acknowledged, 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_while_a_log_begins_leaves_a_log_or_none(seed: int) -> None:
    for point in range(20):
        disk = FakeDisk()
        disk.crash_before = point
        try:
            WAL.create(disk, DIR, METADATA)
        except PowerCut:
            disk = disk.power_cut(seed * 100 + point)
        disk.crash_before = None
        if WAL.exists(disk, DIR):
            assert WAL.open(disk, DIR)[1].metadata == METADATA


def test_a_power_cut_while_segments_are_removed_leaves_no_gap() -> None:
    whole = _fresh()
    _write(whole, 1, 0, [])
    for point in range(12):
        disk = whole.clone()
        wal, _ = WAL.open(disk, DIR, segment_bytes=SEGMENT)
        disk.crash_before = disk.calls + point
        try:
            wal.release(SAVES, keep=1)
        except PowerCut:
            disk = disk.power_cut(point)
        disk.crash_before = None
        assert WAL.open(disk, DIR, after=SAVES - 1)[1].entries == [_entry(SAVES, 0)]


def test_what_a_failed_fsync_left_in_the_cache_is_written_again() -> None:
    disk = _fresh()
    wal, _ = WAL.open(disk, DIR, segment_bytes=SEGMENT)
    wal.save(HardState(1, 1, 0), [_entry(1, 0)])
    wal.save(HardState(1, 1, 1), sync=False)
    disk.fail = lambda call, path: errno.EIO if call == "fdatasync" else None
    with pytest.raises(StorageFailed):
        wal.save(HardState(2, 1, 1), [_entry(2, 1)])
    disk.fail = lambda call, path: None
    wal, shown = WAL.open(disk, DIR, segment_bytes=SEGMENT)  # the process starts again, the machine never stopped
    assert shown.hard_state == HardState(2, 1, 1)
    wal.close()
    _, kept = WAL.open(disk.power_cut(0), DIR, segment_bytes=SEGMENT)
    assert (kept.hard_state, kept.entries) == (shown.hard_state, shown.entries)
