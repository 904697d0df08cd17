from __future__ import annotations

import asyncio
import os
import threading
import zlib
from pathlib import Path
from typing import BinaryIO

import pytest
from transport_harness import (
    CLUSTER,
    LOOPS,
    Cluster,
    Member,
    MemoryFiles,
    MemoryWriter,
    answer,
    eventually,
    heartbeat,
    run_on,
    serve,
    snap,
    talk,
    until_closed,
)

from cluster.transport import dial, snapshots
from cluster.transport.frame import encode_frame
from cluster.transport.handshake import SNAPSHOT_PATH, Identity, request_headers
from raft.messages import Message, Snapshot

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def post(body_length: int, cluster_id: int = CLUSTER, sender: int = 1, to: int = 2) -> bytes:
    headers = {
        "Host": "peer",
        **request_headers(Identity(cluster_id, sender, "0.0.0"), to),
        "Expect": "100-continue",
        "Content-Length": str(body_length),
    }
    lines = [f"POST {SNAPSHOT_PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def body(message: Message, content: bytes) -> bytes:
    return encode_frame(message) + content + zlib.crc32(content).to_bytes(4, "big")


@pytest.mark.parametrize("size", [0, 1, snapshots.PIECE_BYTES, 3 * snapshots.PIECE_BYTES + 17, 20 << 20])
def test_a_snapshot_arrives_whole_before_its_message(loop: str, size: int) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            await cluster.connected()
            message = snap(1, 2)
            one.files.files[message.snapshot] = content = os.urandom(size)
            one.transport.send([message, heartbeat(1, 2)])
            await eventually(lambda: one.snapshots_sent)
            assert one.snapshots_sent == [(2, True)]
            assert two.received[-1:] == [message]
            assert two.files.files[message.snapshot] == content
            assert two.files.unfinished == 0

    run_on(loop, test)


def test_a_real_file_is_streamed_and_heartbeats_pass_it(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "snap"
    path.write_bytes(os.urandom(5 << 20))
    gate = threading.Event()

    class Files(MemoryFiles):
        def open(self, snapshot: Snapshot, /) -> BinaryIO:
            return path.open("rb")

        def begin(self, snapshot: Snapshot, /) -> MemoryWriter:
            assert gate.wait(10)
            return super().begin(snapshot)

    async def test() -> None:
        async with Cluster(one := Member(1, files=Files()), two := Member(2, files=Files())) as cluster:
            await cluster.connected()
            one.transport.send([snap(1, 2)])
            await eventually(lambda: two.transport._receiving is not None)
            one.transport.send([heartbeat(1, 2)])
            await eventually(lambda: two.received == [heartbeat(1, 2)])
            assert one.snapshots_sent == []
            gate.set()
            await eventually(lambda: one.snapshots_sent == [(2, True)])
            assert two.files.files[snap(1, 2).snapshot] == path.read_bytes()

    run_on(loop, test)


def test_a_second_snapshot_to_the_same_member_waits_for_raft_to_ask_again(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            await cluster.connected()
            first, second = snap(1, 2, 100), snap(1, 2, 200)
            one.files.files = {first.snapshot: bytes(1 << 20), second.snapshot: b"2"}
            one.transport.send([first])
            one.transport.send([second])
            await eventually(lambda: one.snapshots_sent)
            one.transport.send([second])
            await eventually(lambda: len(one.snapshots_sent) == 2)
            assert one.snapshots_sent == [(2, True), (2, True)]
            assert two.received == [first, second]

    run_on(loop, test)


def test_only_one_snapshot_is_received_at_a_time(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)):
            two.transport.add_peer(3, ["http://127.0.0.1:9"])
            whole = body(snap(3, 2), b"content")
            reader, writer = await talk(two.port, post(len(whole), sender=3))
            await reader.readuntil(b"100 Continue\r\n\r\n")
            one.files.files[snap(1, 2).snapshot] = b"other"
            one.transport.send([snap(1, 2)])
            await eventually(lambda: one.snapshots_sent == [(2, False)])
            writer.write(whole)
            assert (await until_closed(reader, writer)).startswith(b"HTTP/1.1 200 ")
            assert two.received == [snap(3, 2)]
            one.transport.send([snap(1, 2)])
            await eventually(lambda: len(two.received) == 2)

    run_on(loop, test)


def test_a_snapshot_that_cannot_be_opened_or_delivered_is_reported(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            one.transport.add_peer(3, ["http://127.0.0.1:9"])
            await cluster.connected()
            one.transport.send([snap(1, 2)])  # no such file
            await eventually(lambda: one.snapshots_sent == [(2, False)])
            one.files.files[snap(1, 2).snapshot] = b"content"
            one.transport.send([snap(1, 3)])  # nobody there
            await eventually(lambda: one.snapshots_sent[1:] == [(3, False)])
            two.files.refuse = ValueError("not a snapshot")
            one.transport.send([snap(1, 2)])  # the receiver finds it bad
            await eventually(lambda: one.snapshots_sent[2:] == [(2, False)])
            assert two.received == []
            assert two.files.unfinished == 0
            two.files.refuse = OSError(28, "No space left on device")
            one.transport.send([snap(1, 2)])
            await eventually(lambda: one.snapshots_sent[3:] == [(2, False)])
            two.files.refuse = None
            one.transport.send([snap(1, 2)])
            await eventually(lambda: one.snapshots_sent[4:] == [(2, True)])

    run_on(loop, test)


def test_a_file_that_shrinks_while_it_is_sent_is_no_snapshot(loop: str, tmp_path: Path) -> None:
    path = tmp_path / "snap"

    class Shrinking(MemoryFiles):
        def open(self, snapshot: Snapshot, /) -> BinaryIO:
            path.write_bytes(bytes(8 << 20))
            return path.open("rb")

    class Truncating(MemoryFiles):
        def begin(self, snapshot: Snapshot, /) -> MemoryWriter:
            os.truncate(path, 1 << 20)
            return super().begin(snapshot)

    async def test() -> None:
        async with Cluster(one := Member(1, files=Shrinking()), two := Member(2, files=Truncating())) as cluster:
            await cluster.connected()
            one.transport.send([snap(1, 2)])
            await eventually(lambda: one.snapshots_sent == [(2, False)])
            await eventually(lambda: two.transport._receiving is None)
            assert two.received == []
            assert two.files.files == {}
            assert two.files.unfinished == 0

    run_on(loop, test)


GOOD = body(snap(1, 2), b"content" * 1000)


@pytest.mark.parametrize(
    "data",
    [
        GOOD[:-5] + bytes([GOOD[-5] ^ 1]) + GOOD[-4:],  # a bit of the content
        GOOD[:-1] + bytes([GOOD[-1] ^ 1]),  # a bit of the checksum
        b"\xff" * len(GOOD),
        b"\x00" * len(GOOD),
        encode_frame(snap(1, 2)),  # no room for a checksum
        body(heartbeat(1, 2), b"content"),
        body(snap(3, 2), b"content"),
        body(snap(1, 3), b"content"),
    ],
)
def test_a_corrupted_snapshot_leaves_nothing_behind(loop: str, data: bytes) -> None:
    async def test() -> None:
        async with Cluster(two := Member(2)):
            two.transport.add_peer(1, ["http://127.0.0.1:9"])
            said = await answer(two.port, post(len(data)) + data)
            assert b"HTTP/1.1 400 " in said
            assert two.received == []
            assert two.files.files == {}
            assert two.files.unfinished == 0
            assert b"HTTP/1.1 200 " in await answer(two.port, post(len(GOOD)) + GOOD)
            assert two.received == [snap(1, 2)]

    run_on(loop, test)


@pytest.mark.parametrize("cut", [2, 20, 2000, len(GOOD) - 1])
def test_a_snapshot_cut_in_the_middle_leaves_nothing_behind(loop: str, cut: int) -> None:
    async def test() -> None:
        async with Cluster(two := Member(2)):
            two.transport.add_peer(1, ["http://127.0.0.1:9"])
            reader, writer = await talk(two.port, post(len(GOOD)))
            await reader.readuntil(b"100 Continue\r\n\r\n")
            writer.write(GOOD[:cut])
            await eventually(lambda: two.transport._receiving)
            writer.close()
            await eventually(lambda: two.transport._receiving is None)
            assert two.received == []
            assert two.files.files == {}
            assert two.files.unfinished == 0
            await until_closed(reader, writer)

    run_on(loop, test)


def test_a_stalled_snapshot_is_given_up_by_the_receiver(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "PIECE_SECONDS", 0.2)

    async def test() -> None:
        async with Cluster(two := Member(2)):
            two.transport.add_peer(1, ["http://127.0.0.1:9"])
            reader, writer = await talk(two.port, post(len(GOOD)) + GOOD[:2000])
            assert b"HTTP/1.1 400 stalled" in await until_closed(reader, writer)
            assert two.received == []
            assert two.files.unfinished == 0

    run_on(loop, test)


@pytest.mark.parametrize("answers", ["stops reading", "says nothing at the end", "refuses", "hangs up"])
def test_the_sender_gives_up_on_a_receiver_that_does_not_do_its_part(
    loop: str, answers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "PIECE_SECONDS", 0.3)
    monkeypatch.setattr(snapshots, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(dial, "DEAD_AFTER_MS", 60_000)  # not the kernel: the sender itself

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if SNAPSHOT_PATH.encode() not in head:
            return
        if answers == "refuses":
            writer.write(b"HTTP/1.1 503 busy\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if answers == "stops reading":
            writer.transport.pause_reading()
        elif answers == "hangs up":
            await reader.readexactly(100_000)
            writer.transport.abort()
        else:
            while await reader.read(1 << 20):
                pass

    async def test() -> None:
        async with serve(handle) as url, Cluster(one := Member(1)):
            one.transport.add_peer(2, [url])
            one.files.files[snap(1, 2).snapshot] = bytes(20 << 20)
            one.transport.send([snap(1, 2)])
            await eventually(lambda: one.snapshots_sent == [(2, False)])

    run_on(loop, test)


def test_removal_and_stop_end_a_transfer(loop: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.transport.pause_reading()

    async def test() -> None:
        async with serve(handle) as url, Cluster(one := Member(1), two := Member(2)):
            for member_id in (3, 4):
                one.transport.add_peer(member_id, [url])
                one.files.files[snap(1, member_id).snapshot] = bytes(20 << 20)
                one.transport.send([snap(1, member_id)])
            reader, writer = await talk(two.port, post(len(GOOD)) + GOOD[:2000])
            await eventually(lambda: two.files.unfinished == 1)
            one.transport.remove_peer(3)
            await eventually(lambda: one.snapshots_sent == [(3, False)])
            await one.transport.stop()
            await two.transport.stop()
            assert two.files.unfinished == 0
            assert two.received == []
            await until_closed(reader, writer)

    run_on(loop, test)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (post(len(GOOD), cluster_id=7), 412),
        (post(len(GOOD), to=3), 412),
        (post(len(GOOD), sender=9), 404),
        (post(len(GOOD)).replace(b"POST", b"GET"), 400),
        (post(len(GOOD)).replace(b"Content-Length: 7", b"X-Y: 7"), 400),
        (post(len(GOOD)).replace(b"Content-Length: ", b"Content-Length: -"), 400),
    ],
)
def test_who_may_not_send_snapshots(loop: str, head: bytes, status: int) -> None:
    async def test() -> None:
        async with Cluster(two := Member(2)):
            two.transport.add_peer(1, ["http://127.0.0.1:9"])
            said = await answer(two.port, head)
            assert said.split(b" ", 2)[1] == str(status).encode(), said
            assert b"100 Continue" not in said
            assert two.received == []

    run_on(loop, test)
