from __future__ import annotations

import errno

import pytest
from fake_disk import FakeDisk

from cluster.failures import DiskFull, StorageFailed
from cluster.wal.record import CorruptLog, Mark, RecordTooLarge
from cluster.wal.repair import Metadata, ReplayedLog
from cluster.wal.segment import SegmentName
from cluster.wal.wal import MAX_SAVE_BYTES, WAL
from raft.messages import Entry, HardState

DIR = "/wal"
METADATA = Metadata(0xC, 0xA)
SEGMENT = 4096
ENTRY = b"d" * 700


def entry(index: int, term: int = 1, data: bytes = ENTRY) -> Entry:
    return Entry(term, index, 0, data)


def create(disk: FakeDisk, segment_bytes: int = SEGMENT) -> WAL:
    return WAL.create(disk, DIR, METADATA, segment_bytes=segment_bytes)


def reopen(disk: FakeDisk, after: int = 0) -> ReplayedLog:
    wal, replayed = WAL.open(disk, DIR, after=after, segment_bytes=SEGMENT)
    wal.close()
    return replayed


def filled(disk: FakeDisk, count: int) -> WAL:
    wal = create(disk)
    for index in range(1, count + 1):
        wal.save(HardState(1, 2, index - 1), [entry(index)])
    return wal


def segments(disk: FakeDisk) -> list[str]:
    return [name for name in disk.listdir(DIR) if name.endswith(".wal")]


def test_a_new_log_is_empty() -> None:
    disk = FakeDisk()
    create(disk).close()
    assert reopen(disk) == ReplayedLog(METADATA, HardState(), 0, [], ())
    assert segments(disk) == ["0000000000000000-0000000000000001.wal"]


def test_saves_are_read_back_over_many_segments() -> None:
    disk = FakeDisk()
    filled(disk, 30).close()
    assert len(segments(disk)) > 5
    assert reopen(disk) == ReplayedLog(METADATA, HardState(1, 2, 29), 0, [entry(i) for i in range(1, 31)], ())


def test_a_segments_name_says_what_entry_comes_first() -> None:
    disk = FakeDisk()
    filled(disk, 30).close()
    for text in segments(disk)[1:]:
        name = SegmentName.parse(text)
        assert name is not None
        others = FakeDisk()
        for kept in segments(disk):
            if kept >= text:
                others.put(f"{DIR}/{kept}", disk.content(f"{DIR}/{kept}"))
        assert reopen(others, after=name.index - 1).entries[0].index == name.index


def test_a_segment_alone_knows_the_hard_state() -> None:
    disk = FakeDisk()
    filled(disk, 30).close()
    last = f"{DIR}/{segments(disk)[-1]}"
    only = FakeDisk()
    only.put(last, disk.content(last))
    assert reopen(only, after=29).hard_state == HardState(1, 2, 29)


def test_a_log_goes_on_after_it_was_opened() -> None:
    disk = FakeDisk()
    filled(disk, 3).close()
    for index in range(4, 20):
        wal, _ = WAL.open(disk, DIR, segment_bytes=SEGMENT)
        wal.save(None, [entry(index)])
        wal.close()
    assert [e.index for e in reopen(disk).entries] == list(range(1, 20))


def test_a_later_entry_replaces_all_from_its_index_on() -> None:
    disk = FakeDisk()
    wal = filled(disk, 10)
    wal.save(HardState(2, 0, 4), [entry(6, 2), entry(7, 2)])
    wal.close()
    assert [(e.index, e.term) for e in reopen(disk).entries] == [*((i, 1) for i in range(1, 6)), (6, 2), (7, 2)]


@pytest.mark.parametrize("after", [5, 6, 7, 9])
def test_what_an_old_entry_replaced_does_not_come_back_behind_a_snapshot(after: int) -> None:
    disk = FakeDisk()
    wal = create(disk)
    wal.save(None, [entry(index) for index in range(1, 11)])
    wal.save(None, [entry(4, 2), entry(5, 2)])
    wal.close()
    assert reopen(disk, after).entries == []


def test_only_entries_after_the_snapshot_are_given() -> None:
    disk = FakeDisk()
    filled(disk, 10).close()
    replayed = reopen(disk, after=7)
    assert (replayed.base, [e.index for e in replayed.entries]) == (7, [8, 9, 10])


def test_a_mark_is_kept_and_the_log_goes_on() -> None:
    disk = FakeDisk()
    wal = filled(disk, 10)
    wal.save(None, [], Mark(8, 1, installed=False))
    wal.close()
    replayed = reopen(disk)
    assert replayed.marks == (Mark(8, 1, False),)
    assert len(replayed.entries) == 10


def test_an_installed_snapshot_replaces_the_log() -> None:
    disk = FakeDisk()
    wal = filled(disk, 10)
    wal.save(HardState(3, 0, 50), [entry(51, 3)], Mark(50, 3, installed=True))
    wal.close()
    replayed = reopen(disk, after=50)
    assert (replayed.base, replayed.entries, replayed.hard_state) == (50, [entry(51, 3)], HardState(3, 0, 50))


def test_an_installed_snapshot_takes_even_a_longer_log_with_it() -> None:
    disk = FakeDisk()
    wal = filled(disk, 10)
    wal.save(HardState(3, 0, 12), [], Mark(5, 3, installed=True))
    with pytest.raises(CorruptLog, match="committed"):  # not a state raft asks for: it shows that 6..10 went
        reopen(disk, after=5)
    wal.save(HardState(3, 0, 5), [])
    wal.close()
    assert reopen(disk, after=5).entries == []


def test_a_gap_between_snapshot_and_log_is_refused() -> None:
    disk = FakeDisk()
    wal = filled(disk, 30)
    wal.release(20, keep=1)
    wal.close()
    assert reopen(disk, after=20).entries[0].index == 21
    with pytest.raises(CorruptLog, match="does not follow 3"):
        reopen(disk, after=3)


def test_released_segments_go_but_for_those_that_are_needed() -> None:
    disk = FakeDisk()
    wal = filled(disk, 30)
    before = segments(disk)
    wal.release(30, keep=4)
    assert segments(disk) == before[-4:]
    wal.release(0, keep=1)
    assert segments(disk) == before[-4:]
    needed = SegmentName.parse(before[-2])
    assert needed is not None
    wal.release(needed.index, keep=1)
    assert segments(disk) == before[-2:]
    wal.release(10**6, keep=1)
    assert segments(disk) == before[-1:]
    wal.save(None, [entry(31)])
    wal.close()
    assert reopen(disk, after=29).entries[-1].index == 31


def test_the_mark_of_a_snapshot_survives_its_release() -> None:
    disk = FakeDisk()
    wal = create(disk)
    for index in range(1, 60):
        wal.save(HardState(1, 2, index), [entry(index)])
        wal.release(index - 1, keep=1)
        if index > 1:
            assert Mark(index - 1, 1, False) in reopen(disk.clone(), after=index).marks
        wal.save(None, [], Mark(index, 1, installed=False))
        wal.release(index, keep=1)
        assert reopen(disk.clone(), after=index).marks[-1] == Mark(index, 1, False)
    wal.close()


@pytest.mark.parametrize("which", [1, 2])
def test_a_missing_segment_is_refused(which: int) -> None:
    disk = FakeDisk()
    filled(disk, 20).close()
    disk.unlink(f"{DIR}/{segments(disk)[which]}")
    with pytest.raises(CorruptLog, match="no segment"):
        reopen(disk)


def test_segments_of_two_members_do_not_mix() -> None:
    disk, other = FakeDisk(), FakeDisk()
    filled(disk, 10).close()
    wal = WAL.create(other, DIR, Metadata(0xC, 0xB), segment_bytes=SEGMENT)
    for index in range(1, 11):
        wal.save(HardState(1, 2, index - 1), [entry(index)])
    name = segments(disk)[-1]
    disk.put(f"{DIR}/{name}", other.content(f"{DIR}/{name}"))
    with pytest.raises(CorruptLog):
        reopen(disk)


def test_a_renamed_segment_is_refused() -> None:
    disk = FakeDisk()
    create(disk).close()
    disk.rename(f"{DIR}/{segments(disk)[0]}", f"{DIR}/{SegmentName(0, 9)}")
    with pytest.raises(CorruptLog, match="this is segment 0000000000000000-0000000000000001"):
        reopen(disk)


def test_a_lost_end_of_an_older_segment_is_refused() -> None:
    disk = FakeDisk()
    filled(disk, 20).close()
    first = f"{DIR}/{segments(disk)[0]}"
    disk.put(first, disk.content(first)[:1600])
    with pytest.raises(CorruptLog):
        reopen(disk)


def test_temporary_files_of_a_crash_are_removed() -> None:
    disk = FakeDisk()
    filled(disk, 3).close()
    disk.put(f"{DIR}/next.tmp", b"junk")
    reopen(disk)
    assert disk.listdir(DIR) == segments(disk)


def test_a_large_save_becomes_several_records_and_comes_back_whole() -> None:
    disk = FakeDisk()
    entries = [entry(index, data=bytes([index]) * (MAX_SAVE_BYTES // 3)) for index in range(1, 9)]
    wal = create(disk)
    wal.save(HardState(1, 1, 0), entries)
    wal.save(HardState(1, 1, 8), [entry(9)])
    wal.close()
    replayed = reopen(disk)
    assert replayed.entries == [*entries, entry(9)]
    assert replayed.hard_state == HardState(1, 1, 8)


def test_a_part_of_a_large_save_is_consistent() -> None:
    disk = FakeDisk()
    entries = [entry(index, data=bytes([index]) * (MAX_SAVE_BYTES // 3)) for index in range(1, 9)]
    wal = create(disk, 1 << 30)
    wal.save(HardState(5, 1, 8), entries)
    wal.close()
    path = f"{DIR}/{segments(disk)[0]}"
    data = disk.content(path)
    disk.put(path, data[: int(1.5 * MAX_SAVE_BYTES)].ljust(len(data), b"\0"))
    replayed = reopen(disk)
    assert 0 < len(replayed.entries) < 8
    assert replayed.hard_state == HardState(5, 1, len(replayed.entries))


def test_an_entry_that_could_not_be_read_back_is_refused_before_it_is_written() -> None:
    disk = FakeDisk()
    wal = filled(disk, 2)
    with pytest.raises(RecordTooLarge):
        wal.save(None, [entry(3, data=bytes(65 << 20))])
    wal.save(None, [entry(3)])
    wal.close()
    assert len(reopen(disk).entries) == 3


def test_one_save_is_one_write_and_one_sync() -> None:
    disk = FakeDisk()
    wal = create(disk, 1 << 20)
    disk.log.clear()
    wal.save(HardState(1, 1, 0), [entry(1), entry(2)])
    assert [line.split()[0] for line in disk.log] == ["pwrite", "fdatasync"]
    disk.log.clear()
    wal.save(HardState(1, 1, 2), sync=False)
    assert [line.split()[0] for line in disk.log] == ["pwrite"]


def test_a_segment_gets_its_name_only_when_its_content_is_on_disk() -> None:
    disk = FakeDisk()
    wal = filled(disk, 1)
    disk.log.clear()
    while len(segments(disk)) == 1:
        disk.log.clear()
        wal.save(None, [entry(5)])
    calls = [line.split()[0] for line in disk.log]
    assert calls[-5:] == ["pwrite", "fdatasync", "rename", "fsync_dir", "truncate"]


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_failure_is_final(call: str) -> None:
    disk = FakeDisk()
    wal = filled(disk, 2)
    disk.fail = lambda name, path: errno.EIO if name == call else None
    with pytest.raises(StorageFailed, match=r"0000000000000000-0000000000000001\.wal: offset \d+: .*Input/output"):
        wal.save(None, [entry(3)])
    disk.fail = lambda name, path: None
    calls = disk.calls
    for _ in range(2):
        with pytest.raises(StorageFailed, match="earlier"):
            wal.save(None, [entry(3)])
    assert disk.calls == calls


def test_an_fsync_that_says_full_is_final_too() -> None:
    disk = FakeDisk()
    wal = filled(disk, 2)
    disk.fail = lambda name, path: errno.ENOSPC if name == "fdatasync" else None
    with pytest.raises(StorageFailed):
        wal.save(None, [entry(3)])


@pytest.mark.parametrize("call", ["create", "rename", "pwrite"])
def test_a_full_disk_at_a_cut_passes(call: str) -> None:
    disk = FakeDisk()
    wal = filled(disk, 5)
    disk.fail = lambda name, path: errno.ENOSPC if name == call and "next.tmp" in path else None
    batch = None
    saved = 5
    while batch is None:
        candidate = wal.prepare(HardState(1, 2, saved), [entry(saved + 1)])
        try:
            wal.write(candidate)
            saved += 1
        except DiskFull:
            batch = candidate
    assert wal.full
    with pytest.raises(DiskFull):
        wal.write(batch)
    disk.fail = lambda name, path: None
    wal.write(batch)
    wal.make_room()
    assert not wal.full
    wal.close()
    assert len(reopen(disk).entries) == saved + 1
    assert disk.open_handles == 0


def test_a_full_disk_within_a_segment_passes() -> None:
    disk = FakeDisk()
    wal = create(disk, 16 << 20)
    disk.capacity = disk.used + 1000
    index, batch = 0, None
    while batch is None:
        candidate = wal.prepare(None, [entry(index + 1, data=b"z" * 100_000)])
        try:
            wal.write(candidate)
            index += 1
        except DiskFull:
            batch = candidate
    assert index >= 9
    assert reopen(disk.clone()).entries[-1].index == index
    disk.capacity = 1 << 40
    wal.write(batch)
    wal.close()
    assert reopen(disk).entries[-1].index == index + 1


def test_room_is_made_ahead_and_a_cut_finds_its_segment_ready() -> None:
    disk = FakeDisk()
    wal = create(disk, 6 << 20)
    data = b"r" * 100_000
    for index in range(1, 100):
        while wal.wants_room:
            wal.make_room()
        disk.log.clear()
        wal.save(None, [entry(index, data=data)])
        kinds = [line.split()[0] for line in disk.log]
        assert kinds in (
            ["pwrite", "fdatasync"],
            ["fdatasync", "pwrite", "fdatasync", "rename", "fsync_dir", "truncate"],
        )
    wal.close()
    assert len(segments(disk)) > 1
    assert len(reopen(disk).entries) == 99


def test_making_room_reports_what_it_met() -> None:
    disk = FakeDisk()
    wal = create(disk, 6 << 20)
    disk.capacity = disk.used
    wal.make_room()
    assert (wal.full, wal.failed) == (True, None)
    disk.capacity = 1 << 40
    wal.make_room()
    assert not wal.full
    disk.fail = lambda name, path: errno.EIO if name == "fdatasync" else None
    wal.make_room()
    assert wal.failed is not None
    with pytest.raises(StorageFailed):
        wal.save(None, [entry(1)])


def test_a_sync_made_elsewhere_counts_only_if_nothing_failed_before_it() -> None:
    """The kernel tells an error once: had `make_room` met it, that sync would say that all is well."""
    disk = FakeDisk()
    wal = create(disk, 6 << 20)
    wal.save(None, [entry(1)], sync=False)
    disk.fail = lambda name, path: errno.EIO if name == "fdatasync" else None
    wal.make_room()
    with pytest.raises(StorageFailed, match="earlier"):
        wal.synced(None)


def test_a_sync_that_failed_elsewhere_is_final() -> None:
    wal = create(FakeDisk(), 6 << 20)
    wal.save(None, [entry(1)], sync=False)
    with pytest.raises(StorageFailed, match="fsync failed"):
        wal.synced(OSError(errno.EIO, "Input/output error"))
    with pytest.raises(StorageFailed, match="earlier"):
        wal.save(None, [entry(2)])


def test_a_disk_that_fails_while_it_is_full_is_no_full_disk_any_more() -> None:
    """Else nothing new would be tried, and the member would neither work nor stop."""
    disk = FakeDisk()
    wal = create(disk, 6 << 20)
    disk.capacity = disk.used
    wal.make_room()
    disk.capacity = 1 << 40
    disk.fail = lambda name, path: errno.EIO if name == "fdatasync" else None
    wal.make_room()
    assert wal.failed is not None
    assert not wal.full
