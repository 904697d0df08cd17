"""The short way: plain reads and writes of keys, answered within `data_received`, with no task and no future.

A connection begins here. At the first request that is anything but plain (a watch, another endpoint, a head that comes
in pieces, a chunked, large or slow body, `Expect`, `Connection`, credentials, a path that is not clean, HTTP/1.0, bytes
that are not a request) it is handed with all bytes from that request on to aiohttp's protocol, where it stays. Both
lanes call the same `Keys.handle` and `wire.encode`, so the lane never shows in an answer.

Requests of one connection are answered one after another, as Go's server does, so what is pipelined sees what came
before it. Heads are judged by httptools; since a client sends the same header lines again and again, the verdict on a
block of them is remembered. Memory is bounded: a connection that sends ahead of its answers is not read any further,
and one that does not read its answers gets no more of them and is cut off after `STALL_SECONDS`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from etcdpy.commands import Watch
from etcdpy.http.go_path import BadTarget, clean_path, parse_target
from etcdpy.http.keys import Keys
from etcdpy.http.parse import KEYS_PREFIX
from etcdpy.http.render import Response
from etcdpy.http.wire import Framing, encode

BODY_SECONDS = 1.0
STALL_SECONDS = 10.0
MAX_HEAD_BYTES = 8 << 10
MAX_BODY_BYTES = 64 << 10
MAX_BUFFERED_BYTES = 256 << 10
MAX_REMEMBERED_HEADS = 1024

_REQUEST_LINE = re.compile(rb"(GET|PUT|POST|DELETE) (/v2/keys[!-~]*) HTTP/1\.1")
_PLAIN_HEADERS = frozenset(
    (b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"content-type", b"content-length")
)
_HOST = re.compile(rb"[A-Za-z0-9.:_\-\[\]]+")


class PlainHead(NamedTuple):
    """What matters of a block of header lines that has nothing special in it."""

    content_type: str | None
    content_length: int


class Lane:
    """What all connections of one listener share. `slow_lane` makes aiohttp's protocol for a connection."""

    def __init__(
        self,
        keys: Keys,
        slow_lane: Callable[[], asyncio.Protocol],
        date: Callable[[], str],
        cors: str,
        max_body_bytes: int,
    ) -> None:
        self.keys = keys
        self.slow_lane = slow_lane
        self.date = date
        self.framing = Framing(cors=cors)
        self.max_body_bytes = min(MAX_BODY_BYTES, max_body_bytes)
        self.connections: set[FastLane] = set()
        self._heads: dict[bytes, PlainHead | None] = {}

    def __call__(self) -> FastLane:
        return FastLane(self)

    def close(self) -> None:
        """Ends the connections that are still here."""
        for connection in list(self.connections):
            connection.close()

    def judge(self, header_lines: bytes) -> PlainHead | None:
        """None for a block of header lines that is not plain."""
        try:
            return self._heads[header_lines]
        except KeyError:
            if len(self._heads) >= MAX_REMEMBERED_HEADS:
                self._heads.clear()
            verdict = self._heads[header_lines] = _judge(header_lines)
            return verdict


class _Headers:
    """Collects what httptools finds."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value))


def _judge(header_lines: bytes) -> PlainHead | None:
    headers = _Headers()
    try:
        httptools.HttpRequestParser(headers).feed_data(b"GET / HTTP/1.1\r\n" + header_lines + b"\r\n\r\n")
    except httptools.HttpParserError:
        return None
    values = dict(headers.found)
    if len(values) != len(headers.found) or not _PLAIN_HEADERS.issuperset(values):
        return None  # something special, or something twice
    if not _HOST.fullmatch(values.get(b"host", b"")):
        return None
    content_type = values.get(b"content-type")
    length = values.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > 9:
        return None
    return PlainHead(None if content_type is None else content_type.decode("latin-1"), int(length))


class FastLane(asyncio.Protocol):
    """One connection, as long as its requests are plain."""

    __slots__ = ("_buffer", "_busy", "_deadline", "_is_paused", "_is_writable", "_lane", "_running", "_transport")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._transport: asyncio.Transport
        self._buffer = b""
        self._busy = False  # a request is being answered
        self._running = False  # `_run` is on the stack
        self._is_writable = True
        self._is_paused = False
        self._deadline: asyncio.TimerHandle | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._lane.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if self._busy or not self._is_writable:
            if len(self._buffer) > MAX_BUFFERED_BYTES and not self._is_paused:
                self._is_paused = True
                self._transport.pause_reading()
            return
        self._run()

    def pause_writing(self) -> None:
        self._is_writable = False
        self._call_later(STALL_SECONDS, self._transport.abort)

    def resume_writing(self) -> None:
        self._is_writable = True
        self._clear_deadline()
        if not self._busy:
            self._run()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lane.connections.discard(self)
        self._clear_deadline()
        self._buffer = b""
        self._busy = True  # nothing more is answered

    def eof_received(self) -> None:
        """Closes, as Go does once a client has said its last word."""

    # The requests that have come, one after another.

    def _run(self) -> None:
        """Answers what is in the buffer until a request is incomplete, or its answer has to wait for the cluster."""
        self._clear_deadline()
        self._running = True
        while self._buffer and not self._busy and self._is_writable:
            if not self._begin_next():
                break
        self._running = False
        if self._buffer and not self._busy and self._is_writable:
            self._call_later(BODY_SECONDS, self._hand_over)
        if len(self._buffer) <= MAX_BUFFERED_BYTES:
            self._resume_reading()

    def _begin_next(self) -> bool:
        """Begins to answer the first request in the buffer. False if its body has not all come, or it is not ours."""
        buffer = self._buffer
        line_end = buffer.find(b"\r\n")
        head_end = buffer.find(b"\r\n\r\n")
        line = _REQUEST_LINE.fullmatch(buffer, 0, line_end) if 0 <= head_end <= MAX_HEAD_BYTES else None
        head = self._lane.judge(buffer[line_end + 2 : head_end]) if line else None
        if line is None or head is None or head.content_length > self._limit(line[1]):
            self._hand_over()
            return False
        body_end = head_end + 4 + head.content_length
        if len(buffer) < body_end:
            return False
        return self._answer(line, head, buffer[head_end + 4 : body_end], body_end)

    def _limit(self, method: bytes) -> int:
        """How large a body may be here. Other methods than these are answered before their body has come."""
        return self._lane.max_body_bytes if method in (b"PUT", b"POST") else 0

    def _answer(self, line: re.Match[bytes], head: PlainHead, body: bytes, end: int) -> bool:
        try:
            path, query = parse_target(line[2].decode("ascii"))
        except BadTarget:
            path = query = ""
        if not _is_key(path) or clean_path(path) != path:
            self._hand_over()
            return False
        self._busy = True
        whole, self._buffer = self._buffer, self._buffer[end:]

        def reply(answer: Response | Watch) -> None:
            if isinstance(answer, Response):
                self._reply(answer)
            else:  # it has only been parsed, so the other lane may do that again
                self._buffer = whole
                self._hand_over()

        self._lane.keys.handle(line[1].decode("ascii"), path, query, head.content_type, body, reply)
        return True

    def _reply(self, answer: Response) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(encode(answer, self._lane.date(), self._lane.framing))
        self._busy = False
        if self._buffer and not self._running:
            self._run()

    # The ends.

    def close(self) -> None:
        self._transport.close()

    def _hand_over(self) -> None:
        """From here on the connection is aiohttp's."""
        self._busy = True
        self._clear_deadline()
        self._lane.connections.discard(self)
        data, self._buffer = self._buffer, b""
        transport, slow_lane = self._transport, self._lane.slow_lane()
        transport.set_protocol(slow_lane)
        slow_lane.connection_made(transport)
        self._resume_reading()
        slow_lane.data_received(data)

    def _resume_reading(self) -> None:
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()

    def _call_later(self, seconds: float, what: Callable[[], None]) -> None:
        self._clear_deadline()
        self._deadline = asyncio.get_running_loop().call_later(seconds, what)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _is_key(path: str) -> bool:
    return path == KEYS_PREFIX or path.startswith(KEYS_PREFIX + "/")
