"""Live transports on loopback ports, and raw connections to attack them with."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, BinaryIO

import uvloop
from aiohttp import web

from cluster.tls import Tls
from cluster.transport.handler import peer_handler
from cluster.transport.handshake import STREAM_PATH, UPGRADE, Identity, request_headers
from cluster.transport.snapshots import SnapshotFiles
from cluster.transport.transport import Transport
from raft.messages import ConfState, Entry, Message, MessageType, Snapshot

CLUSTER = 0xC1D
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def run_on(kind: str, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[kind], debug=False) as runner:
        complaints: list[dict[str, Any]] = []
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(asyncio.wait_for(test(), 30))
    assert complaints == []


async def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "condition not reached in time"
        await asyncio.sleep(0.005)


async def turns(count: int = 20) -> None:
    """Lets the loop go round, so that connections that were cut hear of it."""
    for _ in range(count):
        await asyncio.sleep(0.001)


def heartbeat(sender: int, to: int, commit: int = 0) -> Message:
    return Message(MessageType.HEARTBEAT, to=to, sender=sender, term=3, commit=commit)


def append(sender: int, to: int, data: bytes, index: int = 10) -> Message:
    return Message(MessageType.APP, to, sender, 3, 3, index, (Entry(3, index + 1, 0, data),), index)


def snap(sender: int, to: int, index: int = 100) -> Message:
    return Message(MessageType.SNAP, to, sender, 3, snapshot=Snapshot(index, 2, ConfState((1, 2), ())))


class MemoryFiles:
    """A snapshot directory in memory; `begin` fails when `broken` is set."""

    def __init__(self) -> None:
        self.files: dict[Snapshot, bytes] = {}
        self.unfinished = 0
        self.refuse: Exception | None = None

    def open(self, snapshot: Snapshot, /) -> BinaryIO:
        if snapshot not in self.files:
            raise FileNotFoundError(2, "No such file")
        return io.BytesIO(self.files[snapshot])

    def begin(self, snapshot: Snapshot, /) -> MemoryWriter:
        self.unfinished += 1
        return MemoryWriter(self, snapshot)


class MemoryWriter:
    def __init__(self, files: MemoryFiles, snapshot: Snapshot) -> None:
        self.files, self.snapshot, self.content = files, snapshot, bytearray()

    def write(self, piece: bytes, /) -> None:
        self.content += piece

    def commit(self) -> None:
        if self.files.refuse is not None:
            raise self.files.refuse
        self.files.files[self.snapshot] = bytes(self.content)
        self.files.unfinished -= 1

    def abort(self) -> None:
        self.files.unfinished -= 1


async def extra(request: web.BaseRequest) -> web.StreamResponse:
    return web.json_response([]) if request.path == "/members" else web.Response(status=404)


class Member:
    def __init__(
        self,
        member_id: int,
        *,
        cluster_id: int = CLUSTER,
        files: SnapshotFiles | None = None,
        removed: tuple[int, ...] = (),
        tls: Tls | None = None,
        listens_on_tls: bool = True,
    ) -> None:
        self.received: list[Message] = []
        self.unreachable: list[int] = []
        self.snapshots_sent: list[tuple[int, bool]] = []
        self.told_removed = 0
        self.files = files or MemoryFiles()
        self.transport = Transport(
            Identity(cluster_id, member_id, "0.0.0"),
            on_message=self.received.append,
            on_unreachable=self.unreachable.append,
            on_snapshot_sent=lambda member, ok: self.snapshots_sent.append((member, ok)),
            on_removed=self._on_removed,
            snapshots=self.files,
            random=random.Random(member_id),
            removed=removed,
            tls=tls,
        )
        self.id = member_id
        self.port = 0
        self._listen_tls = tls if listens_on_tls else None

    def _on_removed(self) -> None:
        self.told_removed += 1

    @property
    def url(self) -> str:
        return f"{'https' if self._listen_tls else 'http'}://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        self._server = web.Server(
            peer_handler(self.transport, extra), access_log=None, lingering_time=0.1, handler_cancellation=True
        )
        loop = asyncio.get_running_loop()
        protocol = self._listen_tls.guard(self._server) if self._listen_tls else self._server
        context = self._listen_tls.listening if self._listen_tls else None
        self._listener = await loop.create_server(protocol, "127.0.0.1", self.port, ssl=context)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def deafen(self) -> None:
        """The listener dies, with every connection it had accepted."""
        self._listener.close()
        for stream in list(self.transport._inbound.values()):
            stream.close()
        await self._server.shutdown(2)

    async def stop(self) -> None:
        await self.transport.stop()
        await self.deafen()

    def connected(self, member_id: int) -> bool:
        return self.transport.active_since(member_id) is not None

    def sees_inbound(self, member_id: int) -> bool:
        return member_id in self.transport._inbound


class Cluster:
    """`async with Cluster(member, ...)`: all listen, know each other and run; everything is gone afterwards."""

    def __init__(self, *members: Member) -> None:
        self.members = members

    async def __aenter__(self) -> Cluster:
        for member in self.members:
            await member.listen()
        for member in self.members:
            for other in self.members:
                member.transport.add_peer(other.id, [other.url])
            await member.transport.start()
        return self

    async def connected(self) -> None:
        for member in self.members:
            for other in self.members:
                if other is not member:
                    await eventually(lambda m=member, o=other: m.connected(o.id) and o.sees_inbound(m.id))

    async def __aexit__(self, *_: object) -> None:
        for member in self.members:
            await member.stop()
        await turns()


def stream_head(cluster_id: int, sender: int, to: int, **changes: str | None) -> bytes:
    """A stream request as a peer sends it; a change of None leaves the header out (underscores stand for dashes)."""
    headers: dict[str, str | None] = {
        "Host": "peer",
        "Connection": "Upgrade",
        "Upgrade": UPGRADE,
        **request_headers(Identity(cluster_id, sender, "0.0.0"), to),
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    lines = [
        f"GET {STREAM_PATH} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items() if value is not None),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def talk(port: int, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return reader, writer


async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """What the other side said until it cut the connection."""
    said = bytearray()
    try:
        while piece := await asyncio.wait_for(reader.read(65536), 10):
            said += piece
    except ConnectionError:
        pass  # a reset is a cut too
    writer.transport.abort()
    return bytes(said)


async def answer(port: int, data: bytes) -> bytes:
    return await until_closed(*await talk(port, data))


async def shake_hands(member: Member, sender: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A raw, accepted stream in the name of `sender`."""
    reader, writer = await talk(member.port, stream_head(CLUSTER, sender, member.id))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return reader, writer


@contextlib.asynccontextmanager
async def serve(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A raw server on a peer URL; its connections are cut at the end."""
    writers: list[asyncio.StreamWriter] = []

    async def tracked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await handle(reader, writer)

    server = await asyncio.start_server(tracked, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)
