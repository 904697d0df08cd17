"""What only the durable storage does: files, power cuts, damage, a full disk, and what is removed when."""

from __future__ import annotations

import errno

import pytest
from fake_disk import FakeDisk, PowerCut
from storage_harness import CONFIG, METADATA, SNAP_DIR, VOTERS, WAL_DIR, DurableDriver, finish

from cluster.failures import StorageFailed
from cluster.snapshotter import CorruptSnapshot
from cluster.storage import StorageConfig, create_storage, storage_exists
from cluster.wal.record import CorruptLog
from raft.errors import StorageError
from raft.messages import Entry, HardState, Snapshot


def entry(index: int, term: int = 1, size: int = 300) -> Entry:
    return Entry(term, index, 0, bytes([index % 255 + 1]) * size)


def run(first: int, last: int, term: int = 1) -> list[Entry]:
    return [entry(index, term) for index in range(first, last + 1)]


def grown(count: int, driver: DurableDriver | None = None) -> DurableDriver:
    driver = driver or DurableDriver()
    for index in range(driver.storage.last_index + 1, count + 1):
        driver.save(HardState(1, 2, index - 1), [entry(index)])
    return driver


def snap_path(index: int, term: int = 1) -> str:
    return f"{SNAP_DIR}/{term:016x}-{index:016x}.snap"


def damage(driver: DurableDriver, path: str) -> None:
    data = bytearray(driver.disk.content(path))
    data[len(data) // 2] ^= 0x10
    driver.disk.put(path, bytes(data))


def segments(driver: DurableDriver) -> list[str]:
    return [name for name in driver.disk.listdir(WAL_DIR) if name.endswith(".wal")]


def test_a_member_begins_with_what_it_was_given() -> None:
    driver = DurableDriver()
    assert driver.opened.metadata == METADATA
    assert (driver.opened.snapshot.header, list(driver.opened.snapshot.pieces())) == (b"first header", [])
    assert storage_exists(driver.disk, WAL_DIR)
    assert not storage_exists(FakeDisk(), WAL_DIR)


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_while_a_member_begins_leaves_a_member_or_none(seed: int) -> None:
    for point in range(25):
        disk = FakeDisk()
        disk.crash_before = point
        first = Snapshot(1, 1, VOTERS)
        try:
            create_storage(disk, WAL_DIR, SNAP_DIR, METADATA, first, b"h", [b"piece"])
        except PowerCut:
            disk = disk.power_cut(seed * 100 + point)
        disk.crash_before = None
        if not storage_exists(disk, WAL_DIR):
            create_storage(disk, WAL_DIR, SNAP_DIR, METADATA, first, b"h", [b"piece"])
        driver = DurableDriver()
        driver.disk = disk
        driver.reopen()
        assert list(driver.opened.snapshot.pieces()) == [b"piece"]
        assert driver.storage.first_index == 2


def test_a_member_that_lost_its_log_does_not_begin_again() -> None:
    driver = grown(5)
    driver.create_snapshot(4)
    for name in driver.disk.listdir(WAL_DIR):
        driver.disk.unlink(f"{WAL_DIR}/{name}")
    with pytest.raises(CorruptLog, match="no log"):
        create_storage(driver.disk, WAL_DIR, SNAP_DIR, METADATA, Snapshot(1, 1, VOTERS), b"", ())


def test_a_save_with_sync_waits_once_and_a_hint_never() -> None:
    driver = grown(1)
    assert driver.save(HardState(1, 2, 1), [entry(2)]) == 1
    assert driver.save(HardState(1, 2, 2), must_sync=False) == 0
    assert driver.save(must_sync=False) == 0


def test_memory_shows_a_save_only_when_it_is_on_disk() -> None:
    driver = grown(3)
    saving = driver.storage.save(HardState(1, 2, 3), [entry(4)], None, must_sync=True)
    assert driver.storage.last_index == 3
    finish(saving)
    assert driver.storage.last_index == 4


def test_what_could_not_be_read_back_is_not_written() -> None:
    driver = grown(3)
    driver.save(HardState(3, 0, 20), (), Snapshot(20, 3, VOTERS))
    calls = driver.disk.calls
    for entries in ([entry(22)], [entry(20)]):
        with pytest.raises(StorageError):
            driver.storage.save(None, entries, None, must_sync=True)
    for index in (19, 20):
        with pytest.raises(StorageError):
            driver.storage.save(None, (), Snapshot(index, 3, VOTERS), must_sync=True)
    assert driver.disk.calls == calls


def test_a_failed_disk_stays_failed() -> None:
    driver = grown(3)
    driver.disk.fail = lambda call, path: errno.EIO if call == "fdatasync" else None
    with pytest.raises(StorageFailed, match=r"\.wal: offset \d+: fsync failed"):
        driver.save(HardState(1, 2, 3), [entry(4)])
    driver.disk.fail = lambda call, path: None
    with pytest.raises(StorageFailed):
        driver.save(HardState(1, 2, 3), [entry(4)])
    assert driver.storage.last_index == 3


def test_on_a_full_disk_saving_waits_and_nothing_new_is_wanted() -> None:
    driver = grown(3, DurableDriver(config=StorageConfig(segment_bytes=1 << 20)))
    driver.disk.capacity = driver.disk.used
    index = 4
    while driver.storage.has_room:
        driver.save(HardState(1, 2, 0), [entry(index, size=30_000)])
        index += 1
    room_left = driver.save(HardState(1, 2, 0), [entry(index, size=30_000)])
    assert room_left == 1, "what is under way can still be saved"
    saving = driver.storage.save(HardState(1, 2, 0), [entry(index + 1, size=2_000_000)], None, must_sync=True)
    steps = saving.__await__()
    for _ in range(10):
        next(steps)
    assert driver.storage.last_index == index
    driver.disk.capacity = 1 << 40
    assert len(list(steps)) <= 2
    driver.storage.probe()
    assert driver.storage.has_room
    driver.reopen()
    assert driver.storage.last_index == index + 1


def test_a_clean_stop_marks_a_created_snapshot() -> None:
    driver = grown(8)
    snapshot = Snapshot(6, 1, VOTERS)
    driver.snapshotter.write(snapshot, b"header", [b"state"])
    driver.storage.create_snapshot(snapshot)
    driver.reopen()
    assert (driver.storage.snapshot(), driver.storage.first_index) == (snapshot, 7)


def test_a_created_snapshot_counts_only_when_its_mark_is_on_disk() -> None:
    driver = grown(8)
    snapshot = Snapshot(6, 1, VOTERS)
    driver.snapshotter.write(snapshot, b"header", [b"state"])
    driver.storage.create_snapshot(snapshot)
    assert driver.storage.snapshot() is None
    driver.power_cut(seed=1)
    assert (driver.storage.snapshot(), driver.storage.first_index) == (None, 1)
    driver.storage.create_snapshot(snapshot)
    saving = driver.storage.save(HardState(1, 2, 8), [entry(9)], None, must_sync=True)
    assert driver.storage.snapshot() is None
    finish(saving)
    assert driver.storage.snapshot() == snapshot
    driver.reopen()
    assert (driver.storage.snapshot(), driver.storage.first_index) == (snapshot, 7)
    assert list(driver.opened.snapshot.pieces()) == [b"state"]


def test_a_snapshot_created_while_a_save_is_under_way_gets_its_mark_with_the_next() -> None:
    driver = grown(8)
    snapshot = Snapshot(6, 1, VOTERS)
    driver.snapshotter.write(snapshot, b"header", [b"state"])
    saving = driver.storage.save(HardState(1, 2, 8), [entry(9)], None, must_sync=True)
    driver.storage.create_snapshot(snapshot)
    finish(saving)
    assert driver.storage.snapshot() is None
    driver.save(HardState(1, 2, 9), must_sync=False)
    assert driver.storage.snapshot() == snapshot


def test_a_snapshot_overtaken_by_an_installed_one_is_forgotten() -> None:
    driver = grown(8)
    driver.snapshotter.write(Snapshot(6, 1, VOTERS), b"header", [b"state"])
    driver.receive(Snapshot(50, 2, VOTERS))
    saving = driver.storage.save(HardState(2, 0, 50), (), Snapshot(50, 2, VOTERS), must_sync=True)
    driver.storage.create_snapshot(Snapshot(6, 1, VOTERS))
    finish(saving)
    driver.save(HardState(2, 0, 50), [entry(51, 2)])
    driver.reopen()
    assert driver.storage.snapshot() == Snapshot(50, 2, VOTERS)
    assert driver.storage.last_index == 51


def test_memory_keeps_some_of_the_log_for_followers_that_lag() -> None:
    driver = grown(40)
    driver.create_snapshot(35)
    assert driver.storage.first_index == 26
    bytes_bound = DurableDriver(config=CONFIG._replace(catch_up_bytes=1000))
    grown(40, bytes_bound)
    bytes_bound.create_snapshot(35)
    assert bytes_bound.storage.first_index == 33
    assert driver.storage.bytes_since_snapshot < bytes_bound.storage.bytes_since_snapshot + 1


def test_the_log_since_the_last_snapshot_is_measured() -> None:
    driver = grown(10)
    assert driver.storage.bytes_since_snapshot == 3000
    driver.create_snapshot(10)
    assert driver.storage.bytes_since_snapshot == 0
    grown(12, driver)
    driver.reopen()
    assert driver.storage.bytes_since_snapshot == 600


def test_old_files_are_removed_and_the_log_reaches_back_to_the_second_newest_snapshot() -> None:
    driver = DurableDriver(config=CONFIG._replace(segment_bytes=4096, segments_kept=1))
    for index in range(20, 201, 20):
        grown(index, driver)
        driver.create_snapshot(index - 3)
        names = driver.snapshotter.names()
        assert [name.index for name in names] == ([index - 3 - 20 * k for k in range(4) if index > 20 * k] + [0])[:3]
    assert len(segments(driver)) < 8
    damage(driver, snap_path(197))
    driver.reopen()
    assert driver.storage.snapshot() == Snapshot(177, 1, VOTERS)
    assert (driver.storage.first_index, driver.storage.last_index) == (178, 200)
    assert driver.disk.exists(snap_path(197) + ".broken")


def test_the_loss_of_both_is_refused_with_file_and_offset() -> None:
    driver = DurableDriver()
    for index in range(20, 201, 20):
        grown(index, driver)
        driver.create_snapshot(index - 3)
    for index in (197, 177):
        damage(driver, snap_path(index))
    before = driver.disk.paths()
    with pytest.raises(CorruptSnapshot) as refusal:
        driver.reopen()
    assert refusal.value.file == snap_path(197)
    assert driver.disk.paths() == before


def test_a_damaged_installed_snapshot_is_refused_for_the_log_begins_with_it() -> None:
    driver = grown(20)
    driver.save(HardState(3, 0, 50), (), Snapshot(50, 3, VOTERS))
    damage(driver, snap_path(50, 3))
    with pytest.raises(CorruptSnapshot) as refusal:
        driver.reopen()
    assert refusal.value.file == snap_path(50, 3)
    driver.disk.unlink(snap_path(50, 3))
    with pytest.raises(CorruptSnapshot, match="missing"):
        driver.open()


def test_a_damaged_snapshot_that_the_log_does_not_know_is_nobodys_business() -> None:
    driver = grown(20)
    driver.create_snapshot(10)
    driver.disk.put(snap_path(15), b"junk")
    driver.reopen()
    assert driver.storage.snapshot() == Snapshot(10, 1, VOTERS)


def _live(driver: DurableDriver, acknowledged: list[int]) -> None:
    """A life with everything in it: entries, hints, snapshots made and installed, a replaced end of the log."""
    storage_term = driver.storage.initial_state()[0].term + 1
    last = driver.storage.last_index
    for step in range(1, 40):
        last += 1
        driver.save(HardState(storage_term, 1, last - 1), [entry(last, storage_term)])
        acknowledged[:] = [last, storage_term]
        if step % 5 == 0:
            driver.save(HardState(storage_term, 1, last), must_sync=False)
        if step % 11 == 0:
            driver.create_snapshot(last - 1)
        if step == 25:
            last += 30
            storage_term += 1
            driver.save(HardState(storage_term, 1, last), (), Snapshot(last, storage_term, VOTERS))
            acknowledged[:] = [last, storage_term]


@pytest.mark.parametrize("seed", range(5))
def test_lives_that_end_in_power_cuts_keep_what_was_acknowledged(seed: int) -> None:
    whole = DurableDriver()
    _live(whole, [])
    calls = whole.disk.calls
    for point in range(seed, calls, 5):
        driver = DurableDriver()
        acknowledged: list[int] = [0, 0]
        for life in range(2):
            driver.disk.crash_before = driver.disk.calls + (point if life == 0 else (point * 7 + seed) % calls)
            try:
                _live(driver, acknowledged)
            except PowerCut:
                driver.power_cut(seed * 10_000 + point + life)
            driver.disk.crash_before = None
            storage = driver.storage
            last, term = acknowledged
            assert storage.last_index >= last
            if storage.first_index <= last + 1:
                assert storage.term(last) == term
            assert storage.initial_state()[0].term >= term
            _check_readable(driver)
            acknowledged = [storage.last_index, storage.term(storage.last_index)]


def _check_readable(driver: DurableDriver) -> None:
    storage = driver.storage
    if storage.first_index <= storage.last_index:
        for found in storage.entries(storage.first_index, storage.last_index + 1, 1 << 40):
            assert found == entry(found.index, found.term)
    snapshot = storage.snapshot()
    if snapshot is not None:
        list(driver.snapshotter.open_reader(snapshot).pieces())


def test_what_cannot_be_listed_is_purged_another_time(monkeypatch: pytest.MonkeyPatch):
    def no_descriptor_left(disk: FakeDisk, path: str) -> list[str]:
        raise OSError(errno.EMFILE, "Too many open files")

    driver = DurableDriver()
    driver.save(HardState(1, 1, 0), [Entry(1, index, 0, b"x") for index in range(1, 31)])
    monkeypatch.setattr(FakeDisk, "listdir", no_descriptor_left)
    for index in (5, 10, 15, 20):
        driver.create_snapshot(index)
    monkeypatch.undo()
    assert [name.index for name in driver.snapshotter.names()] == [20, 15, 10, 5, 0]
    driver.create_snapshot(25)
    assert [name.index for name in driver.snapshotter.names()] == [25, 20, 15]
