"""Request lines that Go accepts and llhttp, which parses for us, does not: raw UTF-8 in the target, any token as the
method, `*` and opaque URIs.

Such a line is replaced by a plain one before the parser sees it, and what it said is handed over beside it. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LINE_BYTES = 8190

_PLAIN = re.compile(rb"(?:GET|PUT|POST|DELETE|HEAD|OPTIONS|PATCH) /[!-~]* HTTP/1\.[01]\r\n")
_ANY = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\x00-\x20\x7f]+) (HTTP/1\.[01]\r?\n)")


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
    if b"\n" not in data and len(data) <= MAX_LINE_BYTES:
        return None
    match = _ANY.match(data)
    if match is None or match.end() > MAX_LINE_BYTES:
        return Rewritten(data, None)
    line = RequestLine(match[1].decode(), match[2].decode("utf-8", "surrogateescape"))
    return Rewritten(b"POST / " + match[3] + data[match.end() :], line)


class RequestSize:
    """Counts the bytes of one request, to know whether the next byte begins another."""

    def __init__(self) -> None:
        self._head = b""
        self._head_size = 0
        self._size = 0

    @property
    def has_head(self) -> bool:
        return self._head_size > 0

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._head_size:
            return
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end >= 0:
            self._head_size = end + 4
            self._head = b""

    def is_exactly(self, body_size: int) -> bool:
        """Whether what came is one head, a body of that size, and not one byte more."""
        return self.has_head and self._size == self._head_size + body_size
