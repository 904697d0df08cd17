from __future__ import annotations

import asyncio
import logging
import struct

import msgpack
import pytest
from transport_harness import (
    CLUSTER,
    LOOPS,
    Cluster,
    Member,
    answer,
    append,
    eventually,
    heartbeat,
    run_on,
    serve,
    shake_hands,
    snap,
    stream_head,
    until_closed,
)

from cluster.transport import dial, frame, inbound, outbound, peer
from cluster.transport.frame import encode_frame
from raft.messages import Entry, Message, MessageType

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_messages_arrive_whole_in_order_and_only_where_they_belong(loop: str) -> None:
    async def test() -> None:
        one, two, three = Member(1), Member(2), Member(3)
        async with Cluster(one, two, three) as cluster:
            await cluster.connected()
            to_two = [append(1, 2, bytes([n % 256]) * 5000, n) for n in range(200)]
            to_three = [heartbeat(1, 3, n) for n in range(200)]
            for a, b in zip(to_two, to_three, strict=True):
                one.transport.send([a, b])
            two.transport.send([heartbeat(2, 1)])
            await eventually(lambda: len(two.received) == len(three.received) == 200 and one.received)
            assert two.received == to_two
            assert three.received == to_three
            assert one.received == [heartbeat(2, 1)]

    run_on(loop, test)


def test_a_large_message_arrives(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            await cluster.connected()
            one.transport.send([large := append(1, 2, bytes(8 << 20))])
            await eventually(lambda: two.received)
            assert two.received == [large]

    run_on(loop, test)


class NotedWrites:
    def __init__(self, transport: asyncio.WriteTransport, writes: list[bytes]) -> None:
        self.transport = transport
        self.writes = writes

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.transport.write(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self.transport, name)


def test_one_send_is_one_write_per_member(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2), three := Member(3)) as cluster:
            await cluster.connected()
            writes: list[bytes] = []
            for member_id in (2, 3):
                stream = one.transport._peers[member_id].outbound
                monkeypatch.setattr(stream, "_transport", NotedWrites(stream._transport, writes))
            one.transport.send(m for n in range(10) for m in (heartbeat(1, 2, n), heartbeat(1, 3, n)))
            assert len(writes) == 2
            await eventually(lambda: len(two.received) == len(three.received) == 10)

    run_on(loop, test)


def test_what_nobody_can_receive_is_dropped_counted_and_reported(loop: str) -> None:
    async def test() -> None:
        one = Member(1)
        one.transport.send([heartbeat(1, 2)])  # not started
        one.transport.add_peer(2, ["http://127.0.0.1:9"])
        async with Cluster(one):
            one.transport.send([heartbeat(1, 2), heartbeat(1, 2), heartbeat(1, 77)])
            assert one.unreachable == []  # never from inside send
            await eventually(lambda: one.unreachable)
            assert set(one.unreachable) == {2}
            assert one.transport._peers[2].outbound.dropped == 2
            assert one.transport.stats.followers[2].fail == 2

    run_on(loop, test)


def test_a_stream_comes_back_after_the_listener_died_and_returned(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            await cluster.connected()
            await two.deafen()
            await eventually(lambda: not one.connected(2))
            await eventually(lambda: 2 in one.unreachable)
            await asyncio.sleep(0.5)  # several attempts
            await two.listen()
            await eventually(lambda: one.connected(2))
            one.transport.send([heartbeat(1, 2, 7)])
            await eventually(lambda: two.received == [heartbeat(1, 2, 7)])
        lines = [r.message for r in caplog.records if r.name.endswith(".peer") and r.fields["peer"] == "2"]
        assert lines == ["peer connected", "peer lost", "peer unreachable", "peer connected"]

    run_on(loop, test)


def test_a_member_that_calls_is_called_back_at_once(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "BACKOFF_FIRST_SECONDS", 3600.0)
    monkeypatch.setattr(peer, "BACKOFF_LAST_SECONDS", 3600.0)

    async def test() -> None:
        one, two = Member(1), Member(2)
        await two.listen()
        await two.deafen()  # only to know a port where nobody listens yet
        async with Cluster(one):
            one.transport.add_peer(2, [two.url])
            await eventually(lambda: one.transport._peers[2]._said)  # one failed, and now backs off for an hour
            async with Cluster(two):
                two.transport.add_peer(1, [one.url])
                await eventually(lambda: one.connected(2))

    run_on(loop, test)


def test_the_second_url_is_tried_when_the_first_is_dead(loop: str) -> None:
    async def test() -> None:
        async with Cluster(two := Member(2)), Cluster(one := Member(1)):
            two.transport.add_peer(1, [one.url])
            one.transport.add_peer(2, ["http://127.0.0.1:9", "https://127.0.0.1:1", "http://[", two.url])
            await eventually(lambda: one.connected(2))

    run_on(loop, test)


def test_new_urls_cut_a_stream_to_an_old_one(loop: str) -> None:
    async def test() -> None:
        async with Cluster(old := Member(2)), Cluster(new := Member(2)), Cluster(one := Member(1)):
            for two in (old, new):
                two.transport.add_peer(1, [one.url])
            one.transport.add_peer(2, [old.url])
            await eventually(lambda: old.sees_inbound(1))
            one.transport.update_peer(2, [old.url, new.url])
            one.transport.send([heartbeat(1, 2, 1)])
            await eventually(lambda: old.received == [heartbeat(1, 2, 1)])
            one.transport.update_peer(2, [new.url])
            await eventually(lambda: new.sees_inbound(1) and one.connected(2))
            one.transport.send([heartbeat(1, 2, 2)])
            await eventually(lambda: new.received == [heartbeat(1, 2, 2)])
            assert old.received == [heartbeat(1, 2, 1)]

    run_on(loop, test)


def test_a_removed_member_is_cut_off_and_told_once(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            await cluster.connected()
            one.transport.send([heartbeat(1, 2, 99)])
            one.transport.remove_peer(2)
            await eventually(lambda: two.told_removed and not two.connected(1))
            assert not one.sees_inbound(2)
            assert two.received == [heartbeat(1, 2, 99)]  # what was said before still left
            two.transport._peers[1].wake()
            await asyncio.sleep(0.3)
            assert two.told_removed == 1
            one.transport.send([heartbeat(1, 2)])  # to nobody

    run_on(loop, test)


def test_a_member_removed_before_our_start_is_told_too(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1, removed=(2,))), Cluster(two := Member(2)):
            two.transport.add_peer(1, [one.url])
            await eventually(lambda: two.told_removed)

    run_on(loop, test)


@pytest.mark.parametrize("kind", ["other cluster", "other member", "unknown"])
def test_a_stranger_is_kept_out_and_not_told_that_it_was_removed(loop: str, kind: str) -> None:
    async def test() -> None:
        stranger = Member(9 if kind == "unknown" else 2, cluster_id=5 if kind == "other cluster" else CLUSTER)
        async with Cluster(one := Member(1)), Cluster(stranger):
            if kind != "unknown":
                one.transport.add_peer(2, ["http://127.0.0.1:9"])
            target = 7 if kind == "other member" else 1
            stranger.transport.add_peer(target, [one.url])
            await eventually(lambda: {status for _, status in stranger.transport._peers[target]._said} & {404, 412})
            stranger.transport.send([heartbeat(stranger.id, target)])
            await asyncio.sleep(0.1)
            assert not stranger.connected(target)
            assert one.received == []
            assert stranger.told_removed == 0

    run_on(loop, test)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (stream_head(CLUSTER + 1, 2, 1), 412),
        (stream_head(CLUSTER, 2, 3), 412),
        (stream_head(CLUSTER, 9, 1), 404),
        (stream_head(CLUSTER, 1, 1), 404),
        (stream_head(CLUSTER, 2, 1, X_Server_From="zz"), 400),
        (stream_head(CLUSTER, 2, 1, X_Server_From=None), 400),
        (stream_head(CLUSTER, 2, 1, X_Raft_To=None), 400),
        (stream_head(CLUSTER, 2, 1, X_Raft_Protocol="2"), 412),
        (stream_head(CLUSTER, 2, 1, Upgrade=None), 400),
        (stream_head(CLUSTER, 2, 1, Upgrade="websocket"), 400),
        (stream_head(CLUSTER, 2, 1).replace(b"GET", b"POST"), 400),
        (stream_head(CLUSTER, 2, 1).replace(b"GET", b"\x00\x01"), 400),
        (stream_head(CLUSTER, 2, 1, X_Fat="x" * 9000), 400),
        (b"\r\n\r\n".join([b"GET / HTTP/1.1\r\nHost: x" + b"\r\nX: y" * 500, b""]), 400),
        (bytes(range(256)) * 8, 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), 400),  # TLS to a plain port
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
def test_a_wrong_handshake_is_refused_clearly(loop: str, head: bytes, status: int) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1)):
            one.transport.add_peer(2, ["http://127.0.0.1:9"])
            said = await answer(one.port, head + encode_frame(heartbeat(2, 1)))
            assert said.split(b" ", 2)[1] == str(status).encode(), said[:200]
            assert b" 101 " not in said
            assert one.received == []

    run_on(loop, test)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x00\x00\x00\x05hello", "not msgpack"),
        (b"\xff\xff\xff\xff", "exceeds the limit"),
        (b"GET / HTTP/1.1\r\n\r\n", "exceeds the limit"),
        (struct.pack(">I", 1) + msgpack.packb(7), "not an array"),
        (encode_frame(heartbeat(2, 5)), "message for another member"),
        (encode_frame(heartbeat(3, 1)), "another member's name"),
        (encode_frame(heartbeat(2, 1)._replace(term=2**64 - 1, sender=9)), "another member's name"),
        (encode_frame(Message(99, 1, 2, 3)), "unknown message type"),
        (encode_frame(Message(MessageType.APP, 1, 2, 3, entries=(Entry(3, 7),))), "do not follow"),
        (encode_frame(snap(2, 1)), "snapshot message on the stream"),
    ],
)
def test_garbage_after_the_handshake_ends_the_connection_with_one_line(
    loop: str, data: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1)):
            one.transport.add_peer(2, ["http://127.0.0.1:9"])
            one.transport.add_peer(3, ["http://127.0.0.1:9"])
            reader, writer = await shake_hands(one, 2)
            writer.write(data + encode_frame(heartbeat(2, 1)))
            assert await until_closed(reader, writer) == b""
            assert one.received == []
            lines = [r for r in caplog.records if "inbound" in r.name]
            assert len(lines) == 1
            assert reason in lines[0].fields["reason"]
            reader, writer = await shake_hands(one, 2)  # and the door is open again
            writer.write(encode_frame(heartbeat(2, 1)))
            await eventually(lambda: one.received == [heartbeat(2, 1)])
            writer.transport.abort()

    run_on(loop, test)


def test_an_oversized_frame_is_refused_before_it_is_there(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1)):
            one.transport.add_peer(2, ["http://127.0.0.1:9"])
            reader, writer = await shake_hands(one, 2)
            writer.write(struct.pack(">I", frame.MAX_FRAME_BYTES + 1))
            await until_closed(reader, writer)

    run_on(loop, test)


def test_a_second_stream_of_the_same_member_replaces_the_first(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1)):
            one.transport.add_peer(2, ["http://127.0.0.1:9"])
            first = await shake_hands(one, 2)
            second = await shake_hands(one, 2)
            await until_closed(*first)
            await eventually(lambda: len(one._server.connections) == 1)  # the HTTP server has let go of the first
            second[1].write(encode_frame(heartbeat(2, 1)))
            await eventually(lambda: one.received == [heartbeat(2, 1)])
            assert one.sees_inbound(2)
            second[1].transport.abort()

    run_on(loop, test)


def test_silence_ends_an_incoming_stream_and_pings_keep_it(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbound, "IDLE_SECONDS", 0.4)
    monkeypatch.setattr(peer, "PING_SECONDS", 0.1)

    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            one.transport.add_peer(3, ["http://127.0.0.1:9"])
            await cluster.connected()
            await until_closed(*await shake_hands(one, 3))  # says nothing
            await asyncio.sleep(0.8)
            assert one.connected(2)
            assert two.connected(1)
            assert not one.unreachable
            assert not two.unreachable

    run_on(loop, test)


async def accept_and_ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    writer.transport.pause_reading()


def test_a_member_that_does_not_read_costs_bounded_memory(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "SEND_BUFFER_BYTES", 1 << 20)

    async def test() -> None:
        async with serve(accept_and_ignore) as url, Cluster(one := Member(1)):
            one.transport.add_peer(2, [url])
            await eventually(lambda: one.connected(2))
            stream = one.transport._peers[2]
            for _ in range(400):
                one.transport.send([append(1, 2, bytes(100_000))])
                await asyncio.sleep(0)
            await eventually(lambda: one.unreachable)
            assert stream.outbound.dropped > 100
            assert stream._connection.writer.transport.get_write_buffer_size() < (1 << 20) + 101_000
            stream._connection.abort()

    run_on(loop, test)


def test_a_member_that_acknowledges_nothing_is_given_up_in_bounded_time(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "DEAD_AFTER_MS", 300)

    async def test() -> None:
        async with serve(accept_and_ignore) as url, Cluster(one := Member(1)):
            one.transport.add_peer(2, [url])
            await eventually(lambda: one.connected(2))
            for _ in range(100):
                one.transport.send([append(1, 2, bytes(200_000))])
            await eventually(lambda: not one.connected(2), seconds=5)

    run_on(loop, test)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 101", b"nonsense\r\n\r\n", b"HTTP/1.1 abc x\r\n\r\n", b"x" * 70_000])
def test_a_peer_url_where_something_else_answers_is_only_unreachable(
    loop: str, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "HANDSHAKE_SECONDS", 0.2)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        if said:
            await reader.read()  # open until the caller gives up
        writer.close()

    async def test() -> None:
        async with serve(handle) as url, Cluster(one := Member(1)):
            one.transport.add_peer(2, [url])
            await eventually(lambda: one.transport._peers[2]._said)
            assert not one.connected(2)
            assert one.told_removed == 0

    run_on(loop, test)


def test_what_was_sent_before_the_stop_still_arrives(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            await cluster.connected()
            goodbye = [append(1, 2, bytes(100_000), n) for n in range(50)]
            one.transport.send(goodbye)
            await one.transport.stop()
            await eventually(lambda: two.received == goodbye)

    run_on(loop, test)


def test_a_transport_that_does_not_run_accepts_nothing(loop: str) -> None:
    async def test() -> None:
        one = Member(1)
        await one.listen()
        one.transport.add_peer(2, ["http://127.0.0.1:9"])
        assert b"HTTP/1.1 503 " in await answer(one.port, stream_head(CLUSTER, 2, 1))  # not yet
        await one.transport.start()
        reader, writer = await shake_hands(one, 2)
        await one.transport.stop()
        await until_closed(reader, writer)
        assert b"HTTP/1.1 503 " in await answer(one.port, stream_head(CLUSTER, 2, 1))  # no more
        await one.deafen()

    run_on(loop, test)


def test_traffic_is_counted_on_both_sides(loop: str) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            await cluster.connected()
            one.transport.send([append(1, 2, b"x"), append(1, 2, b"y", 11), heartbeat(1, 2)])
            await eventually(lambda: len(two.received) == 3)
            two.transport.send([Message(MessageType.APP_RESP, 1, 2, 3, index=12)])
            await eventually(lambda: one.received)
            assert one.transport.stats.sent.count == two.transport.stats.received.count == 2
            assert one.transport.stats.received.count == two.transport.stats.sent.count == 0
            follower = one.transport.stats.followers[2]
            assert follower.success == follower.latency.count == 1
            assert 0 < follower.latency.current < 5000

    run_on(loop, test)


def test_a_member_that_stops_takes_no_more_messages(loop: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with Cluster(one := Member(1), two := Member(2)) as cluster:
            await cluster.connected()

            async def flood() -> None:
                while True:
                    one.transport.send([append(1, 2, bytes(1000))])
                    await asyncio.sleep(0)

            flooding = asyncio.create_task(flood())
            await eventually(lambda: two.received)
            stopping = asyncio.create_task(two.transport.stop())
            await asyncio.sleep(0)
            received = len(two.received)
            await stopping
            flooding.cancel()
            assert len(two.received) == received
            assert not [record for record in caplog.records if record.levelno >= logging.ERROR]

    run_on(loop, test)


def test_proposals_wait_for_a_connection(loop: str) -> None:
    async def test() -> None:
        one, two = Member(1), Member(2)
        proposals = [Message(MessageType.PROP, 2, 1, entries=(Entry(0, 0, data=bytes([n])),)) for n in range(3)]
        async with Cluster(one):
            await two.listen()  # it refuses, for it does not run yet
            one.transport.add_peer(2, [two.url])
            two.transport.add_peer(1, [one.url])
            one.transport.send([heartbeat(1, 2), proposals[0]])
            one.transport.send(proposals[1:])
            await eventually(lambda: one.unreachable == [2])
            await two.transport.start()
            await eventually(lambda: len(two.received) == 3)
            assert two.received == proposals
            await two.stop()

    run_on(loop, test)


def test_proposals_that_wait_are_bounded(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "WAITING_BYTES", 10_000)

    async def test() -> None:
        async with Cluster(one := Member(1)):
            one.transport.add_peer(2, ["http://127.0.0.1:9"])
            large = Message(MessageType.PROP, 2, 1, entries=(Entry(0, 0, data=bytes(6_000)),))
            one.transport.send([large])
            assert one.transport._peers[2].outbound.dropped == 0
            one.transport.send([large, large])
            assert one.transport._peers[2].outbound.dropped == 2

    run_on(loop, test)
