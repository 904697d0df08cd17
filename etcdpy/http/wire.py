"""Answers as bytes, head and body, as Go's net/http writes them.

Both lanes write what is made here. Order of the headers as in Go: the handler's (sorted, CORS first), then `Date`,
`Content-Length`, a guessed `Content-Type`, `Connection`, `Transfer-Encoding`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import NamedTuple

from etcdpy.http.render import Headers, Response

CORS_HEADERS = (
    "Access-Control-Allow-Headers: accept, content-type, authorization\r\n"
    "Access-Control-Allow-Methods: POST, GET, OPTIONS, PUT, DELETE\r\n"
    "Access-Control-Allow-Origin: {origin}\r\n"
)

_STATUS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus} | {
    413: "413 Request Entity Too Large",
    416: "416 Requested Range Not Satisfiable",
}
_NO_BODY = frozenset((204, 304))
_GUESSED_TYPE = "Content-Type: text/plain; charset=utf-8\r\n"

BUFFER_BYTES = 2048
"""What Go collects of a body before it sends the head (net/http: bufferBeforeChunkingSize). Longer answers are
chunked."""


def cors_headers(origin: str) -> str:
    return CORS_HEADERS.format(origin=origin)


class HttpDate:
    """The `Date` header's value, made once a second."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._second = -1
        self._text = ""

    def __call__(self) -> str:
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True)
        return self._text


class Framing(NamedTuple):
    """How answers are put on one connection. `version` is the minor one of HTTP/1.x."""

    version: int = 1
    keep_alive: bool = True
    head_only: bool = False
    """For HEAD, which gets the head that GET would get."""
    cors: str = ""
    """Header lines, each with its end."""

    @property
    def connection(self) -> str:
        if self.keep_alive:
            return "" if self.version else "Connection: keep-alive\r\n"
        return "Connection: close\r\n" if self.version else ""


def encode(response: Response, date: str, framing: Framing = Framing()) -> bytes:  # noqa: B008 - immutable
    """A whole answer."""
    status, headers, body, _ = response
    if len(body) > BUFFER_BYTES:
        return _encode_long(response, date, framing)
    has_length = status not in _NO_BODY and (body or not framing.head_only)
    length = f"Content-Length: {len(body)}\r\n" if has_length else ""
    guessed = _GUESSED_TYPE if body and not headers else ""
    head = (
        f"HTTP/1.{framing.version} {_STATUS[status]}\r\n{framing.cors}{headers}"
        f"Date: {date}\r\n{length}{guessed}{framing.connection}\r\n"
    ).encode("utf-8", "surrogateescape")
    return head if framing.head_only else head + body


def _encode_long(response: Response, date: str, framing: Framing) -> bytes:
    """Go begins to send before it knows the length; then it cannot say it any more."""
    head = encode_stream_head(response.status, response.headers, date, framing)
    if framing.head_only:
        return head
    return head + chunk(response.body, framing) + last_chunk(framing)


def ends_with_connection(body_bytes: int, framing: Framing) -> bool:
    """Whether only the end of the connection shows the end of the body: it was sent to HTTP/1.0 without a length."""
    return not framing.version and not framing.head_only and body_bytes > BUFFER_BYTES


def encode_stream_head(status: int, headers: Headers, date: str, framing: Framing) -> bytes:
    """The head of an answer whose body comes in `chunk`s."""
    is_chunked = framing.version and not framing.head_only
    encoding = "Transfer-Encoding: chunked\r\n" if is_chunked else ""
    connection = framing.connection if framing.version else ""
    return (
        f"HTTP/1.{framing.version} {_STATUS[status]}\r\n{framing.cors}{headers}"
        f"Date: {date}\r\n{connection}{encoding}\r\n"
    ).encode("utf-8", "surrogateescape")


def chunk(body: bytes, framing: Framing) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body) if framing.version else body


def last_chunk(framing: Framing) -> bytes:
    return b"0\r\n\r\n" if framing.version else b""


def bare_error(status: str, text: str = "") -> bytes:
    """What Go's server answers, and closes, when it cannot even read the request (net/http, conn.serve)."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n{text or status}"
    ).encode()
