"""Request lines that Go accepts and llhttp, which parses for us, does not: raw UTF-8 in the target, any token as the
method, `*` and opaque URIs.

Such a line is replaced by a plain one before the parser sees it, and what it said is handed over beside it. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LINE_BYTES = 8190
MAX_OVERHEAD_BYTES = 16 << 10
"""Sizes and extensions of chunks and trailers, beyond as many bytes as the chunks hold."""

_PLAIN = re.compile(rb"(?:GET|PUT|POST|DELETE|HEAD|OPTIONS|PATCH) /[!-~]* HTTP/1\.[01]\r\n")
_ANY = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\x00-\x20\x7f]+) (HTTP/1\.[01]\r?\n)")
_BEGINS_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z\r\n]")
_NO_REQUEST = b"\0\r\n\r\n"
_HEX = re.compile(rb"[0-9a-fA-F]{1,16}")


class RequestLine(NamedTuple):
    """`target` is decoded with surrogateescape."""

    method: str
    target: str


class Rewritten(NamedTuple):
    data: bytes
    line: RequestLine | None


def rewrite(data: bytes) -> Rewritten | None:
    """`data` begins a request. Gives what to feed the parser, and the line if it was replaced; None if the line is not
    complete yet. What nobody accepts is left to the parser to refuse."""
    if _PLAIN.match(data):
        return Rewritten(data, None)
    if b"\n" not in data and len(data) <= MAX_LINE_BYTES and (not data or _BEGINS_METHOD.match(data)):
        return None
    if b"  " in data.partition(b"\n")[0]:  # the parser takes it for one space, Go refuses it
        return Rewritten(_NO_REQUEST, None)
    match = _ANY.match(data)
    if match is None or match.end() > MAX_LINE_BYTES:
        return Rewritten(data, None)
    line = RequestLine(match[1].decode(), match[2].decode("utf-8", "surrogateescape"))
    return Rewritten(b"POST / " + match[3] + data[match.end() :], line)


class RequestSize:
    """Follows the bytes of one request, to know whether the next byte begins another.

    It need not judge: what llhttp refuses ends the connection anyway."""

    def __init__(self) -> None:
        self._head = b""
        self._head_size = 0
        self._size = 0
        self._chunks: _Chunks | None = None

    @property
    def has_head(self) -> bool:
        return self._head_size > 0

    @property
    def is_excessive(self) -> bool:
        """The body's chunks are not worth reading on."""
        return self._chunks is not None and self._chunks.is_excessive

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._chunks is not None:
            self._chunks.feed(data)
        elif not self._head_size:
            self._feed_head(data)

    def _feed_head(self, data: bytes) -> None:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return
        self._head_size = end + 4
        if b"\r\ntransfer-encoding:" in self._head[:end].lower():
            self._chunks = _Chunks()
            self._chunks.feed(self._head[self._head_size :])
        self._head = b""

    def is_whole(self, content_length: int) -> bool:
        """Whether what came is one request and not one byte more. `content_length` counts if no chunks came."""
        if self._chunks is not None:
            return self._chunks.is_whole
        return self.has_head and self._size == self._head_size + content_length


class _Chunks:
    """Follows a chunked body (RFC 9112, 7.1)."""

    def __init__(self) -> None:
        self._waiting = b""
        self._skip = 0
        self._is_last = False
        self._has_ended = False
        self._payload = 0
        self._overhead = 0

    @property
    def is_excessive(self) -> bool:
        """There is much more around the chunks than in them: each costs us work, whatever its size."""
        return self._overhead + len(self._waiting) > MAX_OVERHEAD_BYTES + self._payload

    def feed(self, data: bytes) -> None:
        data = self._waiting + data
        at = 0
        while at < len(data) and not self._has_ended and not self.is_excessive:
            if self._skip:
                skipped = min(self._skip, len(data) - at)
                at += skipped
                self._skip -= skipped
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            self._take_line(data[at:end])
            at = end + 2
        self._waiting = data[at:]

    def _take_line(self, line: bytes) -> None:
        self._overhead += len(line) + 4
        if self._is_last:  # a trailer, or the end of them
            self._has_ended = not line
            return
        size = line.partition(b";")[0].strip()
        if not _HEX.fullmatch(size):
            return
        self._skip = int(size, 16) + 2 if size.strip(b"0") else 0
        self._payload += max(0, self._skip - 2)
        self._is_last = not self._skip

    @property
    def is_whole(self) -> bool:
        return self._has_ended and not self._waiting
