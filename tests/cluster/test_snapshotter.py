from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
from fake_disk import FakeDisk, PowerCut
from hypothesis import given
from hypothesis import strategies as st

from cluster.snapshotter import CorruptSnapshot, SnapshotName, Snapshotter
from raft.messages import ConfState, Snapshot

DIR = "/snap"
SNAPSHOT = Snapshot(20, 3, ConfState((1, 2, 3), (4,)))
PIECES = [b"first piece", b"", bytes(700), bytes(range(256))]


def at(index: int, term: int = 3) -> Snapshot:
    return Snapshot(index, term, SNAPSHOT.conf_state)


def written(snapshot: Snapshot = SNAPSHOT) -> tuple[FakeDisk, Snapshotter]:
    disk = FakeDisk()
    snapshotter = Snapshotter(disk, DIR)
    snapshotter.write(snapshot, b"header", PIECES)
    return disk, snapshotter


def path_of(snapshot: Snapshot) -> str:
    return f"{DIR}/{SnapshotName.of(snapshot)}"


@given(header=st.binary(), pieces=st.lists(st.binary(max_size=300)), index=st.integers(0, 2**64 - 1))
def test_what_was_written_is_read(header: bytes, pieces: list[bytes], index: int) -> None:
    disk = FakeDisk()
    snapshotter = Snapshotter(disk, DIR)
    snapshotter.write(at(index), header, pieces)
    reader = snapshotter.open_reader(at(index))
    assert (reader.snapshot, reader.header, list(reader.pieces())) == (at(index), header, pieces)
    assert list(reader.pieces()) == pieces
    assert disk.paths() == [path_of(at(index))]
    assert disk.open_handles == 0


def test_the_name_holds_term_and_index() -> None:
    disk, snapshotter = written()
    assert disk.paths() == ["/snap/0000000000000003-0000000000000014.snap"]
    assert snapshotter.names() == [SnapshotName(20, 3)]


def test_the_file_is_synced_before_it_is_named_and_the_directory_after() -> None:
    disk, _ = written()
    kinds = [line.split()[0] for line in disk.log]
    assert kinds[-3:] == ["fdatasync", "rename", "fsync_dir"]


def test_pieces_that_fail_leave_nothing() -> None:
    def failing() -> Iterator[bytes]:
        yield b"piece"
        raise RuntimeError

    disk = FakeDisk()
    with pytest.raises(RuntimeError):
        Snapshotter(disk, DIR).write(SNAPSHOT, b"", failing())
    assert disk.paths() == []
    assert disk.open_handles == 0


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "rename", "fsync_dir"])
def test_a_disk_that_fails_says_so(call: str) -> None:
    disk = FakeDisk()
    disk.fail = lambda name, path: errno.ENOSPC if name == call else None
    with pytest.raises(OSError, match="No space"):
        Snapshotter(disk, DIR).write(SNAPSHOT, b"", PIECES)
    assert not any(path.endswith(".tmp") for path in disk.paths())
    assert disk.open_handles == 0


def test_a_large_snapshot_is_synced_in_portions() -> None:
    disk = FakeDisk()
    Snapshotter(disk, DIR).write(SNAPSHOT, b"", [bytes(1 << 20)] * 20)
    assert [line.split()[0] for line in disk.log].count("fdatasync") == 3


def test_every_flipped_bit_is_refused() -> None:
    disk, snapshotter = written()
    original = disk.content(path_of(SNAPSHOT))
    for offset in range(len(original)):
        for bit in range(8):
            data = bytearray(original)
            data[offset] ^= 1 << bit
            disk.put(path_of(SNAPSHOT), bytes(data))
            with pytest.raises(CorruptSnapshot) as refusal:
                snapshotter.check(SnapshotName.of(SNAPSHOT))
            assert refusal.value.file == path_of(SNAPSHOT)
            assert refusal.value.offset <= offset
    assert disk.open_handles == 0


def test_every_cut_and_every_addition_is_refused() -> None:
    disk, snapshotter = written()
    original = disk.content(path_of(SNAPSHOT))
    for data in [*(original[:size] for size in range(len(original))), original + b"\0", original + original[16:]]:
        disk.put(path_of(SNAPSHOT), data)
        with pytest.raises(CorruptSnapshot):
            snapshotter.check(SnapshotName.of(SNAPSHOT))


def test_pieces_are_not_given_before_they_are_checked() -> None:
    disk, snapshotter = written()
    data = bytearray(disk.content(path_of(SNAPSHOT)))
    data[-300] ^= 1
    disk.put(path_of(SNAPSHOT), bytes(data))
    given_out = []
    with pytest.raises(CorruptSnapshot, match="checksum"):
        given_out += list(snapshotter.open_reader(SNAPSHOT).pieces())
    assert given_out == []


def test_a_file_under_a_wrong_name_is_refused() -> None:
    disk, snapshotter = written()
    disk.rename(path_of(SNAPSHOT), path_of(at(21)))
    with pytest.raises(CorruptSnapshot, match="this is snapshot"):
        snapshotter.check(SnapshotName.of(at(21)))


def test_a_missing_or_unreadable_file_is_corrupt() -> None:
    disk, snapshotter = written()
    with pytest.raises(CorruptSnapshot, match="cannot be read"):
        snapshotter.open_reader(at(99))
    disk.fail = lambda call, path: errno.EIO if call == "pread" else None
    with pytest.raises(CorruptSnapshot, match="Input/output"):
        snapshotter.check(SnapshotName.of(SNAPSHOT))


def test_the_newest_valid_one_is_found() -> None:
    disk, snapshotter = written()
    snapshotter.write(at(30), b"newer", [])
    disk.put(path_of(at(40)), b"etcdpy snapshot\njunk")
    reader = snapshotter.load_newest_valid()
    assert reader is not None
    assert (reader.snapshot.index, reader.header) == (30, b"newer")
    assert Snapshotter(FakeDisk(), DIR).load_newest_valid() is None


def test_the_newest_stay() -> None:
    _, snapshotter = written(at(1))
    for index in (2, 3, 4, 5, 6, 7, 9):
        snapshotter.write(at(index), b"", [])
    snapshotter.purge(at(7), keep=3)
    assert [name.index for name in snapshotter.names()] == [9, 7, 6, 5], "9 is not known to the log yet"


def test_a_snapshot_travels_byte_for_byte() -> None:
    _, sender = written()
    disk = FakeDisk()
    receiver = Snapshotter(disk, DIR)
    received = receiver.begin(SNAPSHOT)
    with sender.open(SNAPSHOT) as file:
        assert file.seek(0, 2) == file.tell() > 900
        file.seek(0)
        while piece := file.read(100):
            received.write(piece)
    received.commit()
    assert receiver.names() == [], "not before the log refers to it"
    receiver.accept(SNAPSHOT)
    assert receiver.check(SnapshotName.of(SNAPSHOT)).header == b"header"
    assert list(receiver.open_reader(SNAPSHOT).pieces()) == PIECES
    receiver.accept(SNAPSHOT)
    assert receiver.names() == [SnapshotName(20, 3)]


@pytest.mark.parametrize("damage", [b"", b"etcdpy snapshot\n", b"x" * 2000])
def test_what_is_no_snapshot_is_not_received(damage: bytes) -> None:
    disk = FakeDisk()
    received = Snapshotter(disk, DIR).begin(SNAPSHOT)
    received.write(damage)
    with pytest.raises(CorruptSnapshot):
        received.commit()
    received.abort()
    assert disk.paths() == []
    assert disk.open_handles == 0


def test_another_snapshot_than_announced_is_not_received() -> None:
    sender, _ = written()
    disk = FakeDisk()
    received = Snapshotter(disk, DIR).begin(at(21))
    received.write(sender.content(path_of(SNAPSHOT)))
    with pytest.raises(CorruptSnapshot):
        received.commit()


def test_an_open_file_is_read_to_its_end_though_it_is_purged() -> None:
    _, snapshotter = written()
    with snapshotter.open(SNAPSHOT) as file:
        snapshotter.write(at(30), b"", [])
        snapshotter.purge(at(30), keep=1)
        assert snapshotter.names() == [SnapshotName(30, 3)]
        assert file.read().startswith(b"etcdpy snapshot\n")


def test_leftovers_are_removed() -> None:
    disk, snapshotter = written()
    snapshotter.begin(at(30)).write(b"half")
    for name in ("x.snap.tmp", "y.snap.received"):
        disk.put(f"{DIR}/{name}", b"")
    disk.put(f"{DIR}/other", b"")
    snapshotter.clean()
    assert disk.paths() == [path_of(SNAPSHOT), f"{DIR}/other"]


@pytest.mark.parametrize("seed", range(5))
def test_after_a_power_cut_a_named_file_is_whole(seed: int) -> None:
    for point in range(20):
        disk, _ = written(at(10))
        disk.crash_before = disk.calls + point
        try:
            Snapshotter(disk, DIR).write(SNAPSHOT, b"header", PIECES)
            finished = True
        except PowerCut:
            finished = False
        after = disk.power_cut(seed * 100 + point)
        snapshotter = Snapshotter(after, DIR)
        snapshotter.clean()
        for name in snapshotter.names():
            snapshotter.check(name)
        assert SnapshotName(10, 3) in snapshotter.names()
        assert SnapshotName(20, 3) in snapshotter.names() or not finished
