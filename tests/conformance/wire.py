"""HTTP/1.1 as bytes on a socket: sends exactly what it is given and shows exactly what came back.

A client library would repair odd requests and hide header order, flushes and closes; these are what the tests look at.
Invariant: parsing is restartable, a time-out loses no byte that was received.
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

ANSWER_SECONDS = 15.0


class Closed(Exception):
    """The server closed the connection before the awaited bytes came."""


class Answer(NamedTuple):
    """One HTTP response; `body` is decoded from chunks, and empty for a watch whose body is still to come."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Return the first value of the header, whose name is compared as written (case counts here)."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def closes(self) -> bool:
        return self.header("Connection") == "close"


class Wire:
    """One connection to a server."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self.closed = False

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.sendall(data)

    def read_answer(self, method: str = "GET") -> Answer:
        """Read one whole response to a request of this method."""
        answer = self.read_head()
        if method == "HEAD" or answer.status[:3] in {"204", "304"} or answer.status[0] == "1":
            return answer
        return answer._replace(body=self.read_body(answer))

    def read_head(self) -> Answer:
        """Read a status line and headers; the body stays unread."""
        end = self._find(b"\r\n\r\n")
        head, _ = self._take(end).decode("latin-1"), self._take(4)
        status, *lines = head.split("\r\n")
        headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
        return Answer(status.partition(" ")[2], headers)

    def read_body(self, head: Answer) -> bytes:
        """Read the body that follows this head, as long as its headers say."""
        if head.header("Transfer-Encoding") == "chunked":
            return self._read_chunks()
        length = head.header("Content-Length")
        return self._read_to_end() if length is None else self._take(int(length))

    def read_chunk(self, seconds: float = ANSWER_SECONDS) -> bytes:
        """Read the next chunk of a chunked body, b"" for its end; TimeoutError when none is complete in time."""
        deadline = time.monotonic() + seconds
        size_end = self._find(b"\r\n", deadline)
        size = int(self._buffer[:size_end], 16)
        self._want(size_end + 2 + size + 2, deadline)
        self._take(size_end + 2)
        return self._take(size + 2)[:size]

    def holds_bytes_within(self, seconds: float) -> bool:
        """Wait until bytes came that nobody has read yet; False when none come in time or the server closes."""
        try:
            self._want(1, time.monotonic() + seconds)
        except (TimeoutError, Closed):
            return False
        return True

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while chunk := self.read_chunk():
            body += chunk
        return bytes(body)

    def _read_to_end(self) -> bytes:
        try:
            while True:
                self._receive(time.monotonic() + ANSWER_SECONDS)
        except Closed:
            return self._take(len(self._buffer))

    def _find(self, what: bytes, deadline: float | None = None) -> int:
        while (found := self._buffer.find(what)) < 0:
            self._receive(deadline or time.monotonic() + ANSWER_SECONDS)
        return found

    def _want(self, size: int, deadline: float) -> None:
        while len(self._buffer) < size:
            self._receive(deadline)

    def _take(self, size: int) -> bytes:
        self._want(size, time.monotonic() + ANSWER_SECONDS)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _receive(self, deadline: float) -> None:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.0005))
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            raise Closed
        self._buffer += data
