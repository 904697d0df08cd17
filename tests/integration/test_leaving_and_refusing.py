"""A leader that goes, members that are away, and strangers on the peer port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from in_process import Cluster, MemberProcess, run, until

from cluster.failures import DiskFull
from cluster.wal.wal import WAL
from etcdpy import server


def test_a_leader_that_stops_hands_over_within_a_second_and_no_write_is_lost(tmp_path: Path) -> None:
    """An election would take its time-out of 1.5 s and up to twice that; what is faster was handed over."""
    acknowledged: dict[str, str] = {}
    stop = asyncio.Event()

    async def write(member: MemberProcess, name: str) -> float:
        """Writes until told to stop; the longest time that a write took."""
        longest, i = 0.0, 0
        while not stop.is_set():
            begun = time.monotonic()
            answer = await member.put(f"/{name}/{i}", value=str(i))
            longest = max(longest, time.monotonic() - begun)
            assert answer.status == 201, answer
            acknowledged[f"/{name}/{i}"] = str(i)
            i += 1
        return longest

    async def scenario(cluster: Cluster) -> None:
        leader, followers = cluster.leader, cluster.followers
        writers = [asyncio.create_task(write(member, f"{member.name}-{n}")) for member in followers for n in range(4)]
        await until(lambda: len(acknowledged) > 100, "writes under way")
        begun = time.monotonic()
        await leader.stop()
        await until(lambda: any(member.server.node.is_leader for member in followers), "a new leader")
        taken = time.monotonic() - begun
        count = len(acknowledged)
        await until(lambda: len(acknowledged) > count + 100, "writes to the new leader")
        stop.set()
        gaps = await asyncio.gather(*writers)
        await leader.start()
        await cluster.settle()
        assert taken < 1
        assert max(gaps) < 1.4
        for member in cluster.members:
            for key, value in acknowledged.items():
                assert (await member.get(key)).node["value"] == value

    run(tmp_path, scenario, heartbeat_interval_ms=100, election_timeout_ms=1500)


def test_writes_to_a_stopping_leader_are_answered_or_fail_and_what_was_acknowledged_stays(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        leader = cluster.leader
        writes = [asyncio.create_task(leader.put(f"/w/{i}", value=str(i))) for i in range(200)]
        await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
        await leader.stop()
        ends: list[Any] = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 5)
        assert all(isinstance(end, aiohttp.ClientError) or end.status in (201, 500, 503) for end in ends)
        await leader.start()
        await cluster.settle()
        for i, end in enumerate(ends):
            if not isinstance(end, Exception) and end.status == 201:
                assert (await cluster.leader.get(f"/w/{i}")).node["value"] == str(i)

    run(tmp_path, scenario)


def test_without_a_majority_nothing_is_acknowledged_and_plain_reads_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etcdpy.server.REQUEST_GRACE_SECONDS", 1.0)

    async def scenario(cluster: Cluster) -> None:
        written = await cluster.leader.put("/a", value="1")
        await cluster.settle()
        last = cluster.leader
        for follower in cluster.followers:
            await follower.stop()
        read = await last.get("/a")
        assert read.node == written.node
        refused, unread, health = await asyncio.gather(
            last.put("/a", value="2"), last.get("/a", quorum="true"), last.request("GET", "/health")
        )
        assert (refused.status, refused.json["errorCode"]) == (500, 300)
        assert (unread.status, unread.json["errorCode"]) == (500, 300)
        assert health.status == 503
        for member in cluster.members:
            if not member.is_running:
                await member.start()
        await cluster.settle()
        assert (await last.put("/a", value="3")).status == 200

    run(tmp_path, scenario)


def test_writes_begun_without_a_leader_are_acknowledged_once_there_is_one(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        last, *others = cluster.members
        for other in others:
            await other.stop()
        await until(lambda: last.server.node.status.lead == 0, "no leader")
        waiting = [asyncio.create_task(last.put(f"/w/{i}", value="x")) for i in range(10)]
        for other in others:
            await other.start()
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {201}

    run(tmp_path, scenario)


def test_a_member_whose_address_is_taken_leaves_nothing_behind(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        member, other = cluster.followers[0], cluster.leader
        await member.stop()
        right = member.config
        member.config = replace(right, listen_client_urls=other.config.listen_client_urls)
        for _ in range(3):
            with pytest.raises(OSError, match="in use"):
                await member.start()
        member.config = right
        await member.start()

    run(tmp_path, scenario)


GARBAGE = [
    b"",
    b"\r\n\r\n",
    b"garbage\r\n\r\n",
    b"\x00" * 5000,
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /raft/stream HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /raft/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: etcdpy-raft\r\n\r\n" + b"\xff" * 100,
    b"POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789",
    b"POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n",
    os.urandom(100_000),
]


def test_garbage_on_the_peer_port_disturbs_nobody(tmp_path: Path) -> None:
    async def scenario(cluster: Cluster) -> None:
        term = cluster.leader.server.node.status.term
        for member in cluster.members:
            await asyncio.gather(*(throw(member, garbage) for garbage in [*GARBAGE, *_dressed_up(cluster, member)]))
        assert (await cluster.followers[0].put("/a", value="1")).status == 201
        assert cluster.leader.server.node.status.term == term

    run(tmp_path, scenario)


async def throw(member: MemberProcess, garbage: bytes) -> None:
    reader, writer = await asyncio.open_connection(*member.peer_address)
    try:
        writer.write(garbage)
        await writer.drain()
        writer.write_eof()
        with contextlib.suppress(TimeoutError):  # it may wait for the rest of a head
            await asyncio.wait_for(reader.read(), 0.5)
    except ConnectionError:
        pass
    finally:
        writer.close()


def _dressed_up(cluster: Cluster, member: MemberProcess) -> list[bytes]:
    """Handshakes that are right, with garbage behind them."""
    other = next(each for each in cluster.members if each is not member)
    head = (
        "GET /raft/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: etcdpy-raft\r\n"
        f"X-Etcd-Cluster-ID: {member.server.node.membership.cluster_id:x}\r\nX-Raft-Protocol: 1\r\n"
        f"X-Server-From: {other.server.node.status.member_id:x}\r\nX-Server-Version: 1\r\n"
        f"X-Raft-To: {member.server.node.status.member_id:x}\r\n\r\n"
    ).encode()
    return [head + tail for tail in (b"\xff" * 1000, b"\x00\x00\x00\x05abcde", b"\x7f\xff\xff\xff", os.urandom(5000))]


@pytest.mark.parametrize("stranger", ["token", "names"])
def test_a_member_of_another_cluster_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stranger: str
) -> None:
    """It has this cluster's addresses, and another token (or nobody knows it): the ids tell."""

    async def scenario(cluster: Cluster) -> None:
        await cluster.settle()
        away = cluster.followers[0]
        await away.stop()
        other = _stranger(away, tmp_path, stranger)
        await other.start()
        try:
            await until(lambda: "peer refused" in caplog.messages, "refusal")
            assert (await cluster.leader.put("/ours", value="1")).status == 201
            assert other.server.node.status.lead == 0
            assert (await other.get("/ours")).status == 404
        finally:
            await other.stop()
        await away.start()
        await cluster.settle()
        assert (await away.get("/ours")).status == 200

    run(tmp_path, scenario)


def _stranger(member: MemberProcess, directory: Path, kind: str) -> MemberProcess:
    config = replace(member.config, data_dir=str(directory / "stranger"))
    if kind == "token":
        config = replace(config, initial_cluster_token="another")
    else:
        away = next(name for name in config.initial_cluster if name != member.name)
        config = replace(
            config, initial_cluster={name: urls for name, urls in config.initial_cluster.items() if name != away}
        )
    return MemberProcess(config, member._session)


@pytest.mark.parametrize("part", ["_expiry", "_promotion"])
def test_a_member_whose_clockwork_breaks_stops_instead_of_hanging_on(tmp_path: Path, part: str) -> None:
    """Without ticks a leader would send no heartbeats and yet never step down."""

    def fail() -> None:
        raise ZeroDivisionError

    async def scenario(cluster: Cluster) -> None:
        (member,) = cluster.members
        told = asyncio.create_task(member.server.run_until_told())
        setattr(getattr(member.server, part), "check", fail)  # noqa: B010
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(told, 10)

    run(tmp_path, scenario, size=1)


@pytest.mark.plain
def test_a_member_with_a_full_disk_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not wait for room: what is not saved, nobody was told."""
    monkeypatch.setattr(server, "LAST_SAVE_SECONDS", 0.2)

    def no_room(*_: object, **__: object) -> None:
        raise DiskFull("somewhere")

    async def scenario(cluster: Cluster) -> None:
        (member,) = cluster.members
        await member.put("/before", value="1")
        with monkeypatch.context() as full:
            full.setattr(WAL, "write", no_room)
            full.setattr(WAL, "fits", lambda *_: False)
            write = asyncio.create_task(member.put("/lost", value="1"))
            await asyncio.sleep(0.1)
            async with asyncio.timeout(10):
                await member.stop()
            with contextlib.suppress(aiohttp.ClientError):
                assert (await write).status == 500
        await member.start()
        await cluster.settle()
        assert (await member.get("/before")).node["value"] == "1"

    run(tmp_path, scenario, size=1)
