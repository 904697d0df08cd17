"""Data directories of every format version are read, and damaged ones refused with file and offset."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from make_data_dir import ROOT, state
from members import Member, members
from procfile import eventually

from cluster.applier import Applier, SnapshotContent
from cluster.disk import RealDisk
from cluster.failures import DataCorrupt
from cluster.membership import Membership
from cluster.pending import Pending
from cluster.storage import open_storage
from cluster.syncer import WorkerThread
from cluster.wal.segment import room_beyond
from etcdpy.state_machine import EtcdStateMachine
from etcdpy.store.store import Store
from raft.messages import ConfState

FIXTURES = sorted((ROOT / "tests" / "fixtures").glob("data-v*.tar.xz"))
SAMPLES = 50
ALL = 1 << 62


def extract(archive: Path, data_dir: Path) -> Path:
    with tarfile.open(archive) as files:
        files.extractall(data_dir)
    return data_dir / "member"


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    with members(tmp_path, 1) as cluster:
        extract(FIXTURES[-1], cluster[0].data_dir)
        yield cluster[0]


@pytest.mark.parametrize("archive", FIXTURES, ids=lambda path: path.name)
def test_a_data_directory_of_each_version_is_read(tmp_path: Path, archive: Path) -> None:
    with members(tmp_path, 1) as cluster:
        extract(archive, cluster[0].data_dir)
        cluster.start()
        recorded = json.loads(archive.with_name(archive.name.replace(".tar.xz", ".json")).read_text())
        assert state(cluster[0]) == recorded
        assert cluster[0].put("/new", value="x").status == 201
        cluster.kill()
        cluster.start()
        assert cluster[0].get("/new").node["value"] == "x"


def test_there_is_one_of_version_1() -> None:
    assert FIXTURES[0].name == "data-v1.tar.xz"


def read_state(data: Path) -> bytes:
    """What a start makes of the files. Raises DataCorrupt."""
    pause = lambda: asyncio.sleep(0)  # noqa: E731
    opened = open_storage(RealDisk(), str(data / "wal"), str(data / "snap"), WorkerThread(), pause)
    state_machine = EtcdStateMachine(Store())
    applier = Applier(
        state_machine,
        Membership(opened.metadata.cluster_id),
        Pending(),
        lambda change: ConfState(),
        lambda snapshot: SnapshotContent(opened.snapshot.header, opened.snapshot.pieces()),
    )
    storage = opened.storage
    applier.restore(opened.snapshot.snapshot)
    if storage.last_index >= storage.first_index:
        applier.apply(storage.entries(storage.first_index, storage.last_index + 1, ALL))
    storage.close()
    return b"".join(state_machine.dump())


@pytest.fixture
def damaged() -> Iterator[Damaged]:
    """In memory, if that can be had: thousands of syncs are no part of what is tested."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        yield Damaged(Path(directory))


class Damaged:
    """A small data directory that can be damaged again and again."""

    def __init__(self, tmp_path: Path) -> None:
        self._source = extract(FIXTURES[-1], tmp_path / "source")
        self._copy = tmp_path / "copy"
        for segment in self._source.glob("wal/*.wal"):
            used = segment.read_bytes().rstrip(b"\0")
            segment.write_bytes(used.ljust(room_beyond(len(used)), b"\0"))
        self.state = self._read({})

    @property
    def files(self) -> dict[str, bytes]:
        found = sorted([*self._source.glob("wal/*.wal"), *self._source.glob("snap/*.snap")])
        return {str(path.relative_to(self._source)): path.read_bytes() for path in found}

    def is_harmless_or_refused(self, name: str, data: bytes) -> bool:
        """True if it is refused."""
        try:
            found: bytes | DataCorrupt = self._read({name: data})
        except DataCorrupt as refused:
            found = refused
        if isinstance(found, bytes):
            assert found == self.state
            return False
        assert Path(found.file).exists()
        assert 0 <= found.offset <= len(self.files[name])
        assert f"{found.file}: offset {found.offset}" in str(found)
        return True

    def _read(self, changed: dict[str, bytes]) -> bytes:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._source, self._copy)
        for name, data in changed.items():
            (self._copy / name).write_bytes(data)
        return read_state(self._copy)


def test_a_flipped_bit_anywhere_is_refused_or_harmless(damaged: Damaged) -> None:
    draw, refused = random.Random(1), 0
    for name, data in damaged.files.items():
        used = len(data.rstrip(b"\0"))
        for offset in sorted(draw.sample(range(used), min(used, SAMPLES))):
            flipped = bytes([data[offset] ^ 1 << draw.randrange(8)])
            refused += damaged.is_harmless_or_refused(name, data[:offset] + flipped + data[offset + 1 :])
    assert refused > 3, "most of a log of small records is zeros between them"


def test_a_file_cut_short_anywhere_is_refused_or_harmless(damaged: Damaged) -> None:
    draw, refused = random.Random(2), 0
    for name, data in damaged.files.items():
        used = len(data.rstrip(b"\0"))
        for size in sorted({0, *draw.sample(range(used), min(used, SAMPLES)), used, len(data) - 1}):
            refused += damaged.is_harmless_or_refused(name, data[:size])
    assert refused > SAMPLES / 2


def test_every_offset_of_the_smallest_file_is_looked_at(damaged: Damaged) -> None:
    name, data = min(damaged.files.items(), key=lambda item: len(item[1]))
    for offset in range(len(data)):
        rest = bytes([data[offset] ^ 0x10]) + data[offset + 1 :] if offset % 2 else b""
        damaged.is_harmless_or_refused(name, data[:offset] + rest)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_member_with_a_damaged_log_does_not_start_and_says_where(member: Member, damage: str) -> None:
    segment = member.segments[-1]
    data = segment.read_bytes()
    middle = len(data.rstrip(b"\0")) // 2
    rest = bytes([data[middle] ^ 1]) + data[middle + 1 :] if damage == "flip" else b""
    segment.write_bytes(data[:middle] + rest)
    member.start()
    assert member.wait() == 1
    last = member.log.splitlines()[-1]
    assert f"{segment}: offset " in last
    assert segment.read_bytes() == data[:middle] + rest, "what is refused is left as it is"
    segment.write_bytes(data)
    member.start()
    eventually(member.is_healthy, "healthy member with its file back")
