"""The calling end of a peer connection: one HTTP/1.1 request head out, one response head in, on asyncio streams.

No HTTP client library here: after the head the connection is ours (frames or a snapshot's bytes), and what we accept as
an answer is a status line and a bounded head. Every wait is bounded by the caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from cluster.tls import Tls

MAX_HEAD_BYTES = 16 << 10
DEAD_AFTER_MS = 5000
CONNECT_SECONDS = 2.0  # short, so that a healed partition is not sat out in a lost SYN's back-off


class DialError(Exception):
    """The peer cannot be reached or refused the request; `status` is its HTTP status, 0 if there was none."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def abort(self) -> None:
        self.writer.transport.abort()

    async def close(self, seconds: float) -> None:
        """Ends the connection and waits, so long at most, until all that was written has left."""
        self.writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                await self.writer.wait_closed()


async def request(
    url: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    *,
    expect: int,
    tls: Tls | None,
) -> Connection:
    """Connects to a peer URL, sends a request head and returns the connection once the peer answered `expect`. Raises
    DialError for any other outcome; nothing stays open then. Bound it with `asyncio.timeout`."""
    connection = await _connect(url, tls)
    try:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {urlsplit(url).netloc}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        connection.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        status, reason = await read_head(connection.reader)
        if status != expect:
            raise DialError(f"{status} {reason}", status)
    except BaseException:
        connection.abort()
        raise
    return connection


async def read_head(reader: asyncio.StreamReader) -> tuple[int, str]:
    """Status and reason phrase of one response head. Raises DialError if there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        version, status, reason = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if version != "HTTP/1.1" or len(status) != 3:
            raise ValueError(version)
        return int(status), "".join(filter(str.isprintable, reason))[:200]
    except asyncio.IncompleteReadError:
        raise DialError("connection closed before an answer") from None
    except (ValueError, asyncio.LimitOverrunError):
        raise DialError("answer is not HTTP/1.1") from None
    except OSError as error:
        raise DialError(describe(error)) from None


async def _connect(url: str, tls: Tls | None) -> Connection:
    try:
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        if is_tls and tls is None:
            raise DialError("https peer URL, but no TLS configured")
        context = tls.dialling() if tls and is_tls else None
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = Connection(
                *await asyncio.open_connection(parts.hostname, parts.port, ssl=context, limit=MAX_HEAD_BYTES)
            )
    except (OSError, ValueError) as error:
        raise DialError(describe(error)) from None
    tune(connection.writer.get_extra_info("socket"))
    reason = tls.judge_server(connection.writer.get_extra_info("ssl_object")) if tls and is_tls else None
    if reason is not None:
        connection.abort()
        raise DialError(reason)
    return connection


def tune(sock: socket.socket) -> None:
    """No delay for small frames, and an end to a connection whose other side acknowledges nothing any more."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_AFTER_MS)


def describe(error: BaseException) -> str:
    """An error in a few words on one line."""
    if isinstance(error, TimeoutError) and not error.errno:
        return "no answer in time"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
