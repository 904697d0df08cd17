"""Damage at rest: the log cut at every byte, every bit flipped, every sector gone. Each outcome is the state as it was,
a refusal with file and offset, or, where a power cut could have done it, a state from which only the end is missing. No
power cut makes a file shorter."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
from fake_disk import FakeDisk

from cluster.wal import segment
from cluster.wal.record import CorruptLog, Mark
from cluster.wal.repair import Metadata, ReplayedLog
from cluster.wal.wal import MAX_SAVE_BYTES, WAL
from raft.messages import Entry, HardState

DIR = "/wal"
SEGMENT = 6144
ROOM_STEP = 2048
ZEROS_AFTER = 600


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "ROOM_STEP_BYTES", ROOM_STEP)


def _saves(wal: WAL, number: int) -> Iterator[None]:
    """Saves with all that can be in one: zeros and small entries, hints without sync, marks, replaced entries."""
    data = [b"v" * 90, bytes(700), b"\1" * 40, bytes(range(256)), b""][number % 5]
    if number % 7 == 3:
        yield wal.save(HardState(1, 2, number - 1), sync=False)
    if number == 6:
        yield wal.save(None, [Entry(1, 6, 0, b"replaced"), Entry(1, 7, 0, b"replaced")])
    mark = Mark(number - 1, 1, installed=False) if number == 4 else None
    yield wal.save(HardState(1, 2, number - 1), [Entry(1, number, 0, data)], mark)


@functools.cache
def built(saves: int) -> tuple[FakeDisk, tuple[ReplayedLog, ...]]:
    """The files after that many saves, and the states on the way."""
    disk = FakeDisk()
    wal = WAL.create(disk, DIR, Metadata(1, 2), segment_bytes=SEGMENT)
    states = [replay(disk)]
    for number in range(1, saves + 1):
        states += [replay(disk) for _ in _saves(wal, number)]
    wal.close()
    return disk, tuple(states)


def replay(disk: FakeDisk) -> ReplayedLog:
    wal, replayed = WAL.open(disk.clone(), DIR, segment_bytes=SEGMENT)
    wal.close()
    return replayed


def paths(disk: FakeDisk) -> list[str]:
    return [path for path in disk.paths() if path.endswith(".wal")]


def last_path(disk: FakeDisk) -> str:
    return paths(disk)[-1]


def used(disk: FakeDisk, path: str) -> bytes:
    """The records, and some of the zeros after them."""
    return (disk.content(path).rstrip(b"\0") + bytes(ZEROS_AFTER))[: len(disk.content(path))]


def outcome(disk: FakeDisk, path: str, data: bytes, *, with_room: bool = True) -> ReplayedLog | CorruptLog:
    damaged = disk.clone()
    if with_room:
        data = data.ljust(len(disk.content(path)), b"\0")
    damaged.put(path, data)
    try:
        wal, replayed = WAL.open(damaged, DIR, segment_bytes=SEGMENT)
        wal.close()
        return replayed
    except CorruptLog as error:
        refusal = error
    assert refusal.file == path
    assert 0 <= refusal.offset < len(data) + 512
    return refusal


def worthwhile(data: bytes) -> Iterator[int]:
    """Every offset of a record, and some of the zeros between them."""
    for offset in range(len(data)):
        if offset % 41 == 0 or data[max(0, offset - 8) : offset + 9].strip(b"\0"):
            yield offset


@pytest.mark.parametrize("saves", [1, 4, 6, 9, 15])
def test_every_flipped_bit_is_refused_or_harmless(saves: int) -> None:
    disk, states = built(saves)
    refused = 0
    for path in paths(disk):
        original = used(disk, path)
        for offset in worthwhile(original):
            for bit in range(8) if offset % 16 < 2 else (offset % 8,):
                data = bytearray(original)
                data[offset] ^= 1 << bit
                result = outcome(disk, path, bytes(data))
                refused += isinstance(result, CorruptLog)
                assert isinstance(result, CorruptLog) or result == states[-1], (path, offset, bit)
    assert refused > 400


@pytest.mark.parametrize("saves", [4, 6, 15])
@pytest.mark.parametrize("value", [0x00, 0xFF])
def test_every_overwritten_byte_is_refused_or_harmless(saves: int, value: int) -> None:
    disk, states = built(saves)
    for path in paths(disk):
        original = used(disk, path)
        for offset in worthwhile(original):
            data = original[:offset] + bytes([value]) + original[offset + 1 :]
            result = outcome(disk, path, data)
            assert isinstance(result, CorruptLog) or result == states[-1], (path, offset)


@pytest.mark.parametrize("saves", [1, 6, 15])
def test_a_log_cut_at_any_byte_is_refused(saves: int) -> None:
    disk, states = built(saves)
    for path in paths(disk):
        size = len(disk.content(path))
        cuts = [*range(len(used(disk, path))), *range(size // 2, size, size // 64 + 1), size - 1]
        for cut in {min(cut, size - 1) for cut in cuts}:
            result = outcome(disk, path, disk.content(path)[:cut], with_room=False)
            assert isinstance(result, CorruptLog) or (path != last_path(disk) and result == states[-1]), cut


@pytest.mark.parametrize("saves", [1, 6, 15])
def test_a_log_whose_end_became_zeros_loses_only_that(saves: int) -> None:
    """As if its last sectors had never been written."""
    disk, states = built(saves)
    path, reached = last_path(disk), 0
    for size in range(0, len(used(disk, path)), 512):
        result = outcome(disk, path, disk.content(path)[:size])
        if isinstance(result, CorruptLog):
            assert reached == 0, "a longer rest is no worse"
        else:
            assert result in states
            assert states.index(result) >= reached
            reached = states.index(result)


def one_segment(saves: int) -> tuple[FakeDisk, list[int]]:
    """That many synced saves of three sectors each in one file, and where each begins."""
    disk = FakeDisk()
    wal = WAL.create(disk, DIR, Metadata(1, 2))
    starts = []
    for index in range(1, saves + 1):
        starts.append(len(disk.content(last_path(disk)).rstrip(b"\0")))
        wal.save(HardState(1, 2, index - 1), [Entry(1, index, 0, bytes([index]) * 1400)])
    wal.close()
    return disk, starts


def test_a_missing_sector_is_refused_but_in_the_last_save() -> None:
    disk, starts = one_segment(6)
    path = last_path(disk)
    original = used(disk, path)
    outcomes = []
    for start in range(0, len(original) - ZEROS_AFTER, 512):
        result = outcome(disk, path, (original[:start] + bytes(512) + original[start + 512 :])[: len(original)])
        if start >= starts[-1]:
            assert not isinstance(result, CorruptLog)
            assert len(result.entries) == 5
        else:
            assert isinstance(result, CorruptLog)
        outcomes.append(result)
    assert len(outcomes) > 15


def test_lost_hints_before_a_save_that_was_never_acknowledged_are_torn() -> None:
    """Hints and save were written without a sync in between, so the disk may have kept any of their sectors."""
    disk = FakeDisk()
    wal = WAL.create(disk, DIR, Metadata(1, 2))
    wal.save(HardState(1, 2, 0), [Entry(1, 1, 0, b"acknowledged")])
    hints_start = len(disk.content(last_path(disk)).rstrip(b"\0"))
    for _ in range(40):
        wal.save(HardState(1, 2, 1), sync=False)
    wal.save(HardState(1, 2, 1), [Entry(1, 2, 0, b"s" * 700)])
    wal.close()
    path = last_path(disk)
    original = disk.content(path)
    for start in range(-(-hints_start // 512) * 512, len(original.rstrip(b"\0")), 512):
        result = outcome(disk, path, original[:start] + bytes(512) + original[start + 512 :])
        assert not isinstance(result, CorruptLog)
        assert len(result.entries) == 1


def test_a_large_save_may_be_torn_in_its_first_record() -> None:
    disk = FakeDisk()
    wal = WAL.create(disk, DIR, Metadata(1, 2))
    wal.save(None, [Entry(1, index, 0, bytes([index]) * (MAX_SAVE_BYTES - 10)) for index in (1, 2)])
    wal.close()
    path = last_path(disk)
    original = disk.content(path)
    result = outcome(disk, path, original[:5120] + bytes(512) + original[5632:])
    assert not isinstance(result, CorruptLog)
    assert result.entries == []


def test_a_torn_tail_is_cut_off_and_a_copy_kept() -> None:
    disk, states = built(11)
    path = last_path(disk)
    original = disk.content(path)
    end = len(original.rstrip(b"\0")) // 512 * 512
    disk = disk.clone()
    disk.put(path, original[:end].ljust(len(original), b"\0"))
    wal, replayed = WAL.open(disk, DIR, segment_bytes=SEGMENT)
    assert replayed.entries == states[-2].entries
    [copy] = [name for name in disk.paths() if ".torn-" in name]
    offset = int(copy.rpartition("-")[2])
    assert disk.content(copy) == original[offset:end]
    wal.save(None, [Entry(2, 11, 0, b"again")])
    wal.close()
    wal, replayed = WAL.open(disk, DIR, segment_bytes=SEGMENT)
    assert replayed.entries[-1] == Entry(2, 11, 0, b"again")
    assert [name for name in disk.paths() if ".torn-" in name] == [copy], "nothing of the torn tail is left in the log"


def test_the_sectors_of_a_torn_save_do_not_come_back() -> None:
    disk, starts = one_segment(4)
    path = last_path(disk)
    original = disk.content(path)
    disk.put(path, original[: starts[-1]] + bytes(512) + original[starts[-1] + 512 :])
    wal, _ = WAL.open(disk, DIR)
    wal.save(None, [Entry(2, 4, 0, b"short")])
    wal.close()
    assert disk.content(path)[starts[-1] + 512 :].strip(b"\0") == b""
    assert replay(disk).entries[-1] == Entry(2, 4, 0, b"short")


def test_a_torn_copy_goes_with_its_segment() -> None:
    disk = built(1)[0].clone()
    data = disk.content(last_path(disk))
    disk.put(last_path(disk), data[: len(data.rstrip(b"\0")) // 512 * 512].ljust(len(data), b"\0"))
    wal, _ = WAL.open(disk, DIR, segment_bytes=SEGMENT)
    for index in range(1, 20):
        wal.save(None, [Entry(1, index, 0, b"x" * 500)])
    assert any(".torn-" in name for name in disk.paths())
    wal.release(10, keep=1)
    assert not any(".torn-" in name for name in disk.paths())


def test_a_file_that_cannot_be_read_is_refused() -> None:
    disk = built(4)[0].clone()
    disk.fail = lambda call, path: 5 if call == "pread" else None
    with pytest.raises(CorruptLog, match=r"\.wal: offset 0: cannot be read"):
        WAL.open(disk, DIR)


def test_a_record_inside_a_value_does_not_count() -> None:
    """Somebody stores a piece of a log in the store, and that very save is torn."""
    inner = built(4)[0].content(paths(built(4)[0])[0]).rstrip(b"\0")
    disk = FakeDisk()
    wal = WAL.create(disk, DIR, Metadata(1, 2))
    wal.save(None, [Entry(1, 1, 0, inner * 3)])
    wal.close()
    path = last_path(disk)
    data = bytearray(disk.content(path))
    data[512:1024] = bytes(512)
    assert not isinstance(outcome(disk, path, bytes(data)), CorruptLog)
