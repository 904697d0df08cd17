"""aiohttp's connection, made to behave like the one of Go's net/http server.

Owns what happens between bytes and handlers in the aiohttp lane: deadlines, the refusal of what cannot be parsed,
`100 Continue`, reading a body within limits, writing with back-pressure. Knows nothing of etcd.

Deadlines: a head must be complete `HEAD_SECONDS` after its first byte. A body has `BODY_GRACE_SECONDS` and must then
keep up `BODY_BYTES_PER_SECOND`. A client that reads nothing for `STALL_SECONDS` while something waits is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from etcdpy.http.request import BodyTooLarge
from etcdpy.http.request_line import MAX_LINE_BYTES, RequestLine, RequestSize, rewrite
from etcdpy.http.wire import Framing, bare_error

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
BODY_GRACE_SECONDS = 10.0
BODY_BYTES_PER_SECOND = 10_000
STALL_SECONDS = 10.0
IDLE_SECONDS = 3600.0
LINGER_SECONDS = 0.5
MAX_UNSENT_BYTES = 64 << 10
MAX_HEADERS = 100

_VALID_HOST = re.compile(r"[A-Za-z0-9!$%&()*+,\-.:;=\[\]'_~]*")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BadRequest(Exception):
    """The connection is answered with this status line and closed, as Go's server does on its own."""

    def __init__(self, status: str = "400 Bad Request", text: str = "") -> None:
        super().__init__(status)
        self.answer = bare_error(status, text)


class Sent(web.StreamResponse):
    """What a handler gives aiohttp after it has written its answer by itself."""

    def __init__(self, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""


class Exchange:
    """One request and the way back to its client."""

    def __init__(self, request: web.BaseRequest, line: RequestLine | None = None) -> None:
        """`line` is what the request line said, if the parser saw another one."""
        self._request = request
        self._transport = request.transport
        self.method, self.target = line or (request.method, request.raw_path)
        self._body_is_due = False

    def check_head(self) -> None:
        """Refuses what Go's server refuses before any handler. Raises `BadRequest`."""
        if self._request.version not in ((1, 0), (1, 1)):
            raise BadRequest("505 HTTP Version Not Supported")
        hosts = self._request.headers.getall("Host", [])
        if len(hosts) > 1:
            raise BadRequest()
        if not hosts and self._is_http_1_1:
            raise BadRequest("400 Bad Request: missing required Host header")
        if hosts and not _VALID_HOST.fullmatch(hosts[0]):
            raise BadRequest("400 Bad Request: malformed Host header")
        expectation = self._request.headers.get("Expect", "")
        if expectation and self._is_http_1_1:
            self._body_is_due = "100-continue" in expectation.lower().replace(" ", "").split(",")

    @property
    def _is_http_1_1(self) -> bool:
        return self._request.version >= (1, 1)

    @property
    def expects_the_impossible(self) -> bool:
        return bool(self._request.headers.get("Expect")) and not self._body_is_due

    @property
    def framing(self) -> Framing:
        """A client that still waits for `100 Continue` may or may not send its body: nobody can tell where the next
        request begins."""
        request = self._request
        keep_alive = request.keep_alive and not (self._body_is_due and request.body_exists)
        return Framing(request.version.minor, keep_alive, self.method == "HEAD")

    async def read(self, limit: int) -> bytes:
        """The body. Raises `BodyTooLarge` or `BadRequest`."""
        request = self._request
        if (request.content_length or 0) > limit:
            raise BodyTooLarge
        if self._body_is_due:
            self._body_is_due = False
            self.write(_CONTINUE)
        pieces: list[bytes] = []
        size = 0
        begun = asyncio.get_running_loop().time()
        while not request.content.at_eof():
            try:
                async with asyncio.timeout_at(begun + BODY_GRACE_SECONDS + size / BODY_BYTES_PER_SECOND):
                    piece = await request.content.readany()
            except TimeoutError:
                raise BadRequest("408 Request Timeout") from None
            except web.RequestPayloadError:
                raise BadRequest() from None
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise BodyTooLarge
        return b"".join(pieces)

    def write(self, data: bytes) -> None:
        transport = self._transport  # its own, as thousands may be written to for one event
        if transport is not None and not transport.is_closing():
            transport.write(data)

    @property
    def _unsent_bytes(self) -> int:
        transport = self._request.transport
        return 0 if transport is None else transport.get_write_buffer_size()

    @property
    def is_congested(self) -> bool:
        return self._unsent_bytes > MAX_UNSENT_BYTES

    async def drained(self) -> None:
        """Waits for room. Raises ConnectionError when the client has read nothing for `STALL_SECONDS`."""
        unsent = self._unsent_bytes
        while self.is_congested:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._request.writer.drain()
                return
            except TimeoutError:
                if self._unsent_bytes >= unsent:
                    self.abort()
                    raise ConnectionAbortedError("client reads too slowly") from None
                unsent = self._unsent_bytes

    def stream_begins(self) -> None:
        """From now on the answer lasts as long as the client."""
        protocol = self._request.protocol
        assert isinstance(protocol, Connection)
        protocol.stream_begins()

    def abort(self) -> None:
        """Ends the connection; what has not been sent is lost."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()


class Connection(web.RequestHandler):
    """One connection of a `Server`.

    Between requests, what comes in begins a request; its first line may need rewriting, for which it is held back until
    it is complete. Whether a request has ended is known by counting. A client that sends one before the last is
    answered makes the count uncertain: from then on all goes to the parser as it is.
    """

    __slots__ = ("_between_requests", "_head_deadline", "_held_back", "_line", "_owes_answer", "_size")

    def __init__(self, server: Server, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._between_requests = True
        self._head_deadline: asyncio.TimerHandle | None = None
        self._held_back = b""
        self._line: RequestLine | None = None
        self._owes_answer = False
        self._size = RequestSize()

    def data_received(self, data: bytes) -> None:
        if not self._between_requests or not data:  # aiohttp calls this with b"" to go on with what it has
            self._size.feed(data)
            self._feed_parser(data)
            return
        rewritten = rewrite(self._held_back + data)
        if rewritten is None:
            self._held_back += data
            self._expect_head()
            return
        self._held_back = b""
        self._between_requests = False
        self._line = rewritten.line
        self._size = RequestSize()
        self._size.feed(rewritten.data)
        self._owes_answer = self._size.has_head
        if not self._owes_answer:
            self._expect_head()
        self._feed_parser(rewritten.data)

    def _feed_parser(self, data: bytes) -> None:
        if not self._size.is_excessive:
            super().data_received(data)
        elif self.transport is not None:
            self.transport.write(bare_error("400 Bad Request"))
            self.force_close()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio takes one; aiohttp gives none
        """The client sends no more, but may wait for an answer: then the connection ends with that. (TLS as asyncio
        speaks it has no connection that is half closed.)"""
        stays = self._owes_answer and self.ssl_context is None
        if stays:
            self.close()
        return stays

    def connection_lost(self, exc: BaseException | None) -> None:
        self._cancel_head_deadline()
        super().connection_lost(exc)

    def request_begins(self) -> RequestLine | None:
        """The head is complete. Returns its first line if the parser was shown another one."""
        self._cancel_head_deadline()
        self._owes_answer = True
        line, self._line = self._line, None
        return line

    def stream_begins(self) -> None:
        """The answer has no end of its own: a client that sends no more has left."""
        self._owes_answer = False

    def request_ends(self, request: web.BaseRequest) -> None:
        """The answer is written."""
        self._owes_answer = False
        self._between_requests = self._size.is_whole(request.content_length or 0)

    def _expect_head(self) -> None:
        if self._head_deadline is None:
            self._head_deadline = asyncio.get_running_loop().call_later(HEAD_SECONDS, self.force_close)

    def _cancel_head_deadline(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what could not be parsed, and mistakes of our own, without saying more than that."""
        self._cancel_head_deadline()
        if status == 500:
            log.error("unhandled exception in a request", exc_info=exc)
            answer = bare_error("500 Internal Server Error")
        else:
            log.debug("unreadable request", exc_info=exc)
            reason = ": missing required Host header" if "Missing 'Host'" in str(exc or message) else ""
            answer = bare_error(f"400 Bad Request{reason}")
        Exchange(request).write(answer)
        return Sent(keep_alive=False)


class Server(web.Server):
    """Makes a `Connection` for each client of a listening socket."""

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            auto_decompress=False,
            access_log=None,
        )
