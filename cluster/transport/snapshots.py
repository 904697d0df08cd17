"""How a snapshot's state travels: one HTTP request of its own, so that it never delays a heartbeat.

    POST /raft/snapshot   Expect: 100-continue, Content-Length
    body = the SNAP message as a frame | the file's bytes | u32 big-endian CRC-32 of those bytes

The receiver answers 100 before the body (or refuses: busy, unknown member), and 200 only when the whole file is
checked and committed to its own disk. Only then may the SNAP message reach raft. No size that a peer states is trusted:
pieces go to disk as they come. Time limits are per piece, so a large state may take long, a stalled one may not.

Files are behind two ports whose methods may block; they are called in worker threads.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import BinaryIO, ParamSpec, Protocol, TypeVar

from cluster.tls import Tls
from cluster.transport.dial import Connection, DialError, describe, read_head, request
from cluster.transport.frame import LENGTH_BYTES, FrameError, decode_message, encode_frame
from cluster.transport.handshake import SNAPSHOT_PATH, Identity, request_headers
from raft.messages import Message, MessageType, Snapshot

PIECE_BYTES = 256 << 10
PIECE_SECONDS = 30.0
ANSWER_SECONDS = 120.0  # the receiver verifies and fsyncs the file
CONNECT_SECONDS = 5.0
MAX_MESSAGE_BYTES = 64 << 10
CHECKSUM_BYTES = 4

P = ParamSpec("P")
T = TypeVar("T")


class SnapshotWriter(Protocol):
    """A snapshot file in the making, under a temporary name."""

    def write(self, piece: bytes, /) -> object: ...

    def commit(self) -> object:
        """Verifies, fsyncs and gives the file its name. Raises ValueError if the content is no snapshot, OSError."""

    def abort(self) -> object:
        """Removes the temporary file; after `commit` it does nothing."""


class SnapshotFiles(Protocol):
    """The snapshot directory as this module needs it."""

    def open(self, snapshot: Snapshot, /) -> BinaryIO:
        """The file of that snapshot, for reading; it stays readable when it is purged meanwhile. Raises OSError."""

    def begin(self, snapshot: Snapshot, /) -> SnapshotWriter:
        """A new file for that snapshot. Raises OSError."""


class SnapshotError(Exception):
    """The snapshot did not arrive whole and well."""


class ByteReader(Protocol):
    async def readexactly(self, n: int, /) -> bytes:
        """Raises asyncio.IncompleteReadError when the body ends early."""


async def send_snapshot(
    message: Message,
    urls: Sequence[str],
    identity: Identity,
    files: SnapshotFiles,
    tls: Tls | None,
) -> None:
    """Returns when the receiver has the snapshot on its disk. Raises SnapshotError."""
    assert message.snapshot is not None
    try:
        with await _opened(partial(files.open, message.snapshot), lambda opened: opened.close()) as file:
            size = await _in_thread(file.seek, 0, 2)
            await _in_thread(file.seek, 0)
            connection = await _connect(message, size, urls, identity, tls)
            try:
                await _send_body(connection, message, file, size)
            finally:
                connection.abort()
    except (OSError, DialError) as error:
        raise SnapshotError(describe(error)) from error


async def _connect(message: Message, size: int, urls: Sequence[str], identity: Identity, tls: Tls | None) -> Connection:
    headers = {
        **request_headers(identity, message.to),
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(encode_frame(message)) + size + CHECKSUM_BYTES),
        "Expect": "100-continue",
    }
    failure: Exception = SnapshotError("the member has no URL")
    for url in urls:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await request(url, "POST", SNAPSHOT_PATH, headers, expect=100, tls=tls)
        except (DialError, TimeoutError) as error:
            failure = error
    raise failure


async def _send_body(connection: Connection, message: Message, file: BinaryIO, size: int) -> None:
    reader, writer = connection
    writer.write(encode_frame(message))
    checksum = 0
    while size:
        piece = await _in_thread(file.read, min(size, PIECE_BYTES))
        if not piece:
            raise SnapshotError("snapshot file became shorter")
        size -= len(piece)
        checksum = zlib.crc32(piece, checksum)
        writer.write(piece)
        async with asyncio.timeout(PIECE_SECONDS):
            await writer.drain()
    writer.write(checksum.to_bytes(CHECKSUM_BYTES, "big"))
    async with asyncio.timeout(ANSWER_SECONDS):
        status, reason = await read_head(reader)
    if status != 200:
        raise DialError(f"{status} {reason}", status)


async def receive_snapshot(body: ByteReader, length: int, sender: int, member_id: int, files: SnapshotFiles) -> Message:
    """Reads a request body of `length` bytes from `sender`; returns its SNAP message once the file is committed. Raises
    SnapshotError; nothing is left behind then."""
    try:
        message, frame_bytes = await _read_message(body, sender, member_id)
        size = length - frame_bytes - CHECKSUM_BYTES
        if size < 0:
            raise SnapshotError("body shorter than its parts")
        assert message.snapshot is not None
        await _receive_file(body, size, message.snapshot, files)
    except asyncio.IncompleteReadError:
        raise SnapshotError("connection lost in the middle") from None
    except TimeoutError:
        raise SnapshotError("stalled") from None
    except (OSError, ValueError) as error:
        raise SnapshotError(describe(error)) from error
    return message


async def _read_message(body: ByteReader, sender: int, member_id: int) -> tuple[Message, int]:
    size = int.from_bytes(await _read(body, LENGTH_BYTES), "big")
    if size > MAX_MESSAGE_BYTES:
        raise FrameError("snapshot message too large")
    message = decode_message(await _read(body, size))
    if message.type != MessageType.SNAP or message.sender != sender or message.to != member_id:
        raise FrameError("not a snapshot message from this sender to us")
    return message, LENGTH_BYTES + size


async def _receive_file(body: ByteReader, size: int, snapshot: Snapshot, files: SnapshotFiles) -> None:
    file = await _opened(partial(files.begin, snapshot), lambda begun: begun.abort())
    try:
        checksum = 0
        while size:
            piece = await _read(body, min(size, PIECE_BYTES))
            size -= len(piece)
            checksum = zlib.crc32(piece, checksum)
            await _in_thread(file.write, piece)
        if await _read(body, CHECKSUM_BYTES) != checksum.to_bytes(CHECKSUM_BYTES, "big"):
            raise SnapshotError("checksum mismatch")
        await _in_thread(file.commit)
    except BaseException:
        await _in_thread(file.abort)
        raise


async def _read(body: ByteReader, size: int) -> bytes:
    async with asyncio.timeout(PIECE_SECONDS):
        return await body.readexactly(size)


async def _in_thread(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs blocking work in a worker thread. When cancelled it first lets the work end, so that a file never has two
    threads on it."""
    return await _opened(partial(work, *args, **kwargs), lambda _: None)


async def _opened(opening: Callable[[], T], closing: Callable[[T], object]) -> T:
    """What `opening` gives in a worker thread; when cancelled meanwhile, `closing` gets it instead of nobody."""
    task = asyncio.ensure_future(asyncio.to_thread(opening))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if task.exception() is None:
            await asyncio.to_thread(closing, task.result())
        raise
