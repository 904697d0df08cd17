"""Members that were away: caught up by log or by snapshot, restarts of one and of all, and what stays on disk."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest
from in_process import Cluster, MemberProcess, run, until

from cluster.disk import RealDisk
from cluster.snapshotter import Snapshotter
from cluster.storage import StorageConfig

RECEIVED = "snapshot received"


@pytest.fixture
def _short_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members remember only ten entries behind a snapshot."""
    monkeypatch.setattr("etcdpy.server.StorageConfig", partial(StorageConfig, catch_up_entries=10))


async def write_at_once(member: MemberProcess, count: int, below: str) -> None:
    answers = await asyncio.gather(*(member.put(f"/{below}/{i}", value=f"{below} {i}") for i in range(count)))
    assert {answer.status for answer in answers} == {201}


async def write_entries(member: MemberProcess, count: int, below: str) -> None:
    """One after the other, so that each write is an entry of its own."""
    for i in range(count):
        assert (await member.put(f"/{below}/{i}", value=f"{below} {i}")).status == 201


def snapshot_indexes(member: MemberProcess) -> list[int]:
    """Newest first. The last one is 1 until it is purged: what a member begins with."""
    names = Snapshotter(RealDisk(), str(member.member_dir / "snap")).names()
    return [name.index for name in names]


async def compact_beyond(member: MemberProcess, index: int, below: str) -> None:
    """Writes until the member's log in memory begins after `index`."""
    round = 0
    while snapshot_indexes(member)[0] <= index + 10:
        await write_entries(member, 20, f"{below}/{round}")
        round += 1
    await write_entries(member, 2, f"{below}/last")  # the snapshot's mark goes with the next entry


def test_a_follower_that_was_away_catches_up_by_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(cluster: Cluster) -> None:
        await write_at_once(cluster.leader, 50, "before")
        follower = cluster.followers[0]
        await follower.stop()
        await write_at_once(cluster.leader, 200, "away")
        await write_entries(cluster.leader, 50, "alone")
        await follower.start()
        await cluster.settle()
        assert (await follower.get("/away/199")).node["value"] == "away 199"
        assert (await follower.get("/alone/49")).node["value"] == "alone 49"

    with caplog.at_level("INFO"):
        run(tmp_path, scenario)
    assert RECEIVED not in caplog.messages


@pytest.mark.usefixtures("_short_memory")
def test_a_follower_that_was_away_too_long_catches_up_by_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.settle()
        follower = cluster.followers[0]
        applied = follower.server.node.status.applied_index
        await follower.stop()
        first = await cluster.leader.put("/missed/first", value="x")
        await compact_beyond(cluster.leader, applied, "missed")
        await follower.start()
        await cluster.settle()
        assert (await follower.get("/missed/last/1")).status == 200
        past = await follower.get("/missed", wait="true", recursive="true", waitIndex=str(first.node["modifiedIndex"]))
        assert past.json == first.json, "the history comes with the snapshot"
        await write_entries(follower, 3, "after")
        await follower.stop()
        await follower.start()

    with caplog.at_level("INFO"):
        run(tmp_path, scenario, snapshot_count=50)
    assert RECEIVED in caplog.messages


@pytest.mark.usefixtures("_short_memory")
def test_writes_go_on_while_a_large_snapshot_is_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.settle()
        follower = cluster.followers[0]
        applied = follower.server.node.status.applied_index
        await follower.stop()
        leader = cluster.leader
        await asyncio.gather(*(leader.put(f"/large/{i}", value="x" * 100_000) for i in range(80)))
        await compact_beyond(leader, applied, "missed")
        await follower.start()
        for i in range(100):
            assert (await leader.put(f"/during/{i}", value="x")).status == 201
        await cluster.settle()
        assert (await follower.get("/large/79")).node["value"] == "x" * 100_000
        assert (await follower.get("/during/99")).status == 200

    with caplog.at_level("INFO"):
        run(tmp_path, scenario, snapshot_count=50)
    assert RECEIVED in caplog.messages


@pytest.mark.parametrize("snapshot_count", [100_000, 40])
def test_a_restart_of_the_whole_cluster_keeps_everything(tmp_path: Path, snapshot_count: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        await write_entries(cluster.members[0], 50, "one by one")
        await write_at_once(cluster.members[1], 100, "together")
        await cluster.members[2].put("/ttl", value="x", ttl="1000")
        await cluster.members[2].put("/dir", dir="true")
        await cluster.settle()
        before = [contents(member) for member in cluster.members]
        await cluster.stop()
        await cluster.start()
        assert [contents(member) for member in cluster.members] == before
        assert (await cluster.members[0].get("/one by one/49", quorum="true")).status == 200

    run(tmp_path, scenario, snapshot_count=snapshot_count)


def contents(member: MemberProcess) -> tuple[object, ...]:
    """The tree and its deadlines, without the index: like etcd, a restart takes one to publish the member."""
    store = member.server.store
    tree = store.get("/", recursive=True, sorted=True, now_ns=0).node
    return tree, list(store.deadlines.live())


def test_five_snapshots_are_kept_and_the_newest_is_what_a_restart_begins_with(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        await write_entries(cluster.leader, 200, "n")
        for member in cluster.members:
            await until(lambda member=member: snapshot_indexes(member)[0] > 150, "a snapshot of late")
            counts = set()
            for i in range(100):  # a snapshot counts, and pushes out the oldest, from the next entry on
                counts.add(len(snapshot_indexes(member)))
                if 5 in counts:
                    break
                await write_entries(cluster.leader, 1, f"last/{member.name}/{i}")
            assert 5 in counts
            assert max(counts) <= 7
        await cluster.settle()
        before = [contents(member) for member in cluster.members]
        await cluster.stop()
        newest = [snapshot_indexes(member)[0] for member in cluster.members]
        for member in cluster.members:
            await member.start()
            assert member.server.node.status.applied_index >= newest.pop(0)
        await cluster.settle()
        assert [contents(member) for member in cluster.members] == before

    run(tmp_path, scenario, snapshot_count=20)


def test_a_single_member_keeps_everything_too(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        (member,) = cluster.members
        await write_at_once(member, 100, "a")
        before = contents(member)
        await member.stop()
        await member.start()
        await cluster.settle()
        assert contents(member) == before
        assert (await member.get("/a/99", quorum="true")).status == 200

    run(tmp_path, scenario, size=1, snapshot_count=30)
