"""A full disk: writes fail with a clear error, reads go on, and all is well once there is room, without a restart."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from loop_disk import LoopDisk, loop_disks, why_impossible
from members import Answer, Member, Members, members
from procfile import eventually

pytestmark = pytest.mark.skipif(why_impossible() is not None, reason=str(why_impossible()))

MEBIBYTES = 24
VALUE = "v" * 100_000
NO_SPACE = {"errorCode": 300, "message": "Raft Internal Error", "cause": "etcdserver: no space left on device"}


@contextmanager
def filled(disk: LoopDisk) -> Iterator[None]:
    """All free space is taken by another's file."""
    path = disk.mount_point / "of-another"
    with path.open("wb", buffering=0) as file:
        free = os.statvfs(disk.mount_point).f_bavail * os.statvfs(disk.mount_point).f_frsize
        os.posix_fallocate(file.fileno(), 0, max(4096, free - (64 << 10)))
        file.seek(0, os.SEEK_END)
        with suppress(OSError):
            while True:
                file.write(bytes(4096))
    try:
        yield
    finally:
        path.unlink()


def write_until_refused(member: Member) -> tuple[list[str], Answer]:
    """The keys that were acknowledged, and the refusal."""
    acknowledged = []
    for i in range(1000):
        answer = member.put(f"/k/{i}", value=VALUE)
        if answer.status != 201:
            return acknowledged, answer
        acknowledged.append(f"/k/{i}")
    raise AssertionError("the disk never gets full")


def assert_all_there(member: Member, keys: list[str], **parameters: str) -> None:
    for key in keys:
        assert member.get(key, **parameters).node["value"] == VALUE, key


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[tuple[Member, LoopDisk]]:
    with members(tmp_path, 1) as cluster, loop_disks([cluster[0].data_dir], MEBIBYTES) as disks:
        try:
            cluster.start()
            yield cluster[0], disks[0]
        finally:
            cluster.kill()


def test_writes_are_refused_reads_go_on_and_room_is_noticed(alone: tuple[Member, LoopDisk]) -> None:
    member, disk = alone
    with filled(disk):
        acknowledged, refusal = write_until_refused(member)
        assert refusal.status == 500
        assert {name: refusal.json[name] for name in NO_SPACE} == NO_SPACE
        assert acknowledged
        assert_all_there(member, acknowledged)
        assert_all_there(member, acknowledged[:3], quorum="true")
        begun = time.monotonic()
        assert member.put("/k/refused", value="x").status == 500
        assert time.monotonic() - begun < 1, "a refusal must not wait"
    eventually(lambda: member.put("/after", value="x").status == 201, "write once there is room", seconds=5)
    assert member.get("/k/refused").status == 404
    assert "disk full" in member.log
    assert "the disk has room again" in member.log
    member.kill()
    member.start()
    eventually(member.is_healthy, "healthy member")
    assert_all_there(member, acknowledged, quorum="true")
    assert member.get("/after").node["value"] == "x"


def test_a_member_starts_on_a_full_disk_to_be_read(alone: tuple[Member, LoopDisk]) -> None:
    member, disk = alone
    with filled(disk):
        acknowledged, _ = write_until_refused(member)
        member.kill()
        member.start()
        eventually(lambda: member.is_running and serves(member, acknowledged[0]), "answer")
        assert_all_there(member, acknowledged)
    eventually(lambda: member.put("/after", value="x").status == 201, "write once there is room", seconds=10)


def serves(member: Member, key: str) -> bool:
    try:
        return member.get(key).status == 200
    except OSError:
        return False


def test_a_follower_whose_disk_is_full_stops_nobody_and_catches_up(tmp_path: Path) -> None:
    with members(tmp_path) as cluster:
        cluster_dirs = [member.data_dir for member in cluster]
        with loop_disks(cluster_dirs, 64) as disks:
            try:
                cluster.start()
                follower_is_full(cluster, disks)
            finally:
                cluster.kill()


def follower_is_full(cluster: Members, disks: list[LoopDisk]) -> None:
    leader, follower = cluster.leader, cluster.followers[0]
    disk = disks[cluster.index(follower)]
    with filled(disk):
        for i in range(70):  # 7 MB, more than was made ready ahead
            assert leader.put(f"/k/{i}", value=VALUE).status == 201
        assert follower.get("/k/0").status == 200
        assert "disk full" in follower.log
        assert follower.is_running
        assert leader.leads()
    keys = [f"/k/{i}" for i in range(70)]
    eventually(lambda: follower.get(keys[-1]).status == 200, "follower that has caught up")
    assert_all_there(follower, keys)
    assert follower.put("/after", value="x").status == 201
