"""The short way: plain reads and writes of keys, answered within `data_received`, with no task and no future.

A connection begins here. At the first request that is anything but plain (a watch, another endpoint, a head that comes
in pieces, a chunked, large or slow body, `Expect`, `Connection`, a path that is not clean, HTTP/1.0, bytes that are not
a request) it is handed with all bytes from that request on to aiohttp's protocol, where it stays. Both
lanes call the same `Keys.handle` and `wire.encode`, so the lane never shows in an answer.

Requests of one connection are answered one after another, as Go's server does, so what is pipelined sees what came
before it. Heads are judged by httptools; since clients send the same heads again and again, verdicts are remembered.
Memory is bounded: a connection that sends ahead of its answers is not read any further, and one that does not read its
answers gets no more of them and is cut off after `STALL_SECONDS`. A head that holds credentials is remembered by its
keyed digest only.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from etcdpy.auth.credentials import NO_CREDENTIALS, Credentials
from etcdpy.commands import Watch
from etcdpy.http.client_name import address_of, common_name_of, is_plain_loopback
from etcdpy.http.go_path import BadTarget, clean_path, parse_target
from etcdpy.http.guard import Guard
from etcdpy.http.keys import Keys
from etcdpy.http.parse import KEYS_PREFIX, KeysRequest
from etcdpy.http.render import Response
from etcdpy.http.wire import Framing, encode

BODY_SECONDS = 1.0
STALL_SECONDS = 10.0
MAX_HEAD_BYTES = 8 << 10
MAX_BODY_BYTES = 64 << 10
MAX_BUFFERED_BYTES = 256 << 10
MAX_REMEMBERED_HEADS = 4096
MAX_REMEMBERED_BYTES = 1024

_REQUEST_LINE = re.compile(rb"(GET|PUT|POST|DELETE) (/v2/keys[!-~]*) HTTP/1\.1\r\n")
_PLAIN_HEADERS = frozenset(
    (
        b"host",
        b"user-agent",
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"content-type",
        b"content-length",
        b"authorization",
    )
)
_AUTHORIZATION = re.compile(rb"\r\nauthorization:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,9}")
_HOST = re.compile(rb"[A-Za-z0-9.:_\-\[\]]+")


class PlainRequest(NamedTuple):
    """What a head says that has nothing special in it. `meaning` is known at once where no body counts. `secret` is
    where in the head the credentials stand. `host_is_safe`: on a loopback address, too."""

    method: str
    path: str
    query: str
    content_type: str | None
    content_length: int
    meaning: KeysRequest | None
    secret: tuple[int, int] | None
    host_is_safe: bool


class Lane:
    """What all connections of one listener share. `slow_lane` makes aiohttp's protocol for a connection."""

    def __init__(
        self,
        keys: Keys,
        slow_lane: Callable[[], asyncio.Protocol],
        date: Callable[[], str],
        cors: str,
        max_body_bytes: int,
        guard: Guard = Guard(),  # noqa: B008 - immutable
        names_from_certificates: bool = False,
    ) -> None:
        self.keys = keys
        self.slow_lane = slow_lane
        self.date = date
        self.framing = Framing(cors=cors)
        self.max_body_bytes = min(MAX_BODY_BYTES, max_body_bytes)
        self.guard = guard
        self.names_from_certificates = names_from_certificates
        self.connections: set[FastLane] = set()
        self._digest_key = secrets.token_bytes(32)
        self._answers: list[tuple[asyncio.Transport, bytes]] = []
        self._in_turn = False
        self._call_soon = asyncio.get_running_loop().call_soon
        self._judged: dict[bytes, PlainRequest | None] = {}

    def __call__(self) -> asyncio.Protocol:
        return cast(asyncio.Protocol, FastLane(self))

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Sends an answer: the first one of a turn of the loop at once, the others together at its end. A client on the
        same machine is then woken once for many answers, which is most of what sending costs."""
        if self._in_turn:
            self._answers.append((transport, data))
            return
        self._in_turn = True
        self._call_soon(self.flush)
        transport.write(data)

    def flush(self) -> None:
        """Sends what waits."""
        self._in_turn = False
        answers, self._answers = self._answers, []
        for transport, data in answers:
            transport.write(data)

    def close(self) -> None:
        """Ends the connections that are still here."""
        for connection in list(self.connections):
            connection.close()

    def judge(self, head: bytes) -> PlainRequest | None:
        """The request that a whole head is, or None if it is not plain."""
        try:
            return self._judged[head]
        except KeyError:
            if b"uthorization" in head.lower():
                head_digest = hashlib.blake2b(head, key=self._digest_key, digest_size=32).digest()
                if head_digest in self._judged:
                    return self._judged[head_digest]
                return self._remember(head_digest, head)
            return self._remember(head, head)

    def _remember(self, key: bytes, head: bytes) -> PlainRequest | None:
        verdict = self._judge(head)
        if len(head) <= MAX_REMEMBERED_BYTES:
            if len(self._judged) >= MAX_REMEMBERED_HEADS:
                self._judged.clear()
            self._judged[key] = verdict
        return verdict

    def _judge(self, head: bytes) -> PlainRequest | None:
        line = _REQUEST_LINE.match(head)
        headers = _plain_headers(head) if line else None
        if line is None or headers is None:
            return None
        method, target = line[1].decode("ascii"), line[2].decode("ascii")
        try:
            path, query = parse_target(target)
        except BadTarget:
            return None
        length = int(headers.get(b"content-length", b"0"))
        has_body = method in ("PUT", "POST")  # others are answered before their body has come
        if not _is_clean_key(path) or length > (self.max_body_bytes if has_body else 0):
            return None
        content_type = headers[b"content-type"].decode("latin-1") if b"content-type" in headers else None
        meaning = None if has_body else self.keys.meaning(method, path, query, content_type)
        if meaning is not None and type(meaning.operation) is Watch:
            return None
        secret = _AUTHORIZATION.search(head)
        if (secret[1] if secret else b"") != headers.get(b"authorization", b"").strip():
            return None
        host = headers[b"host"].decode("ascii")
        if not self.guard.is_safe_host(host, on_loopback=False):
            return None
        is_safe = self.guard.is_safe_host(host, on_loopback=True)
        return PlainRequest(
            method, path, query, content_type, length, meaning, secret.span(1) if secret else None, is_safe
        )


class _Headers:
    """Collects what httptools finds."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.found.append((name.lower(), value))


def _plain_headers(head: bytes) -> dict[bytes, bytes] | None:
    """The headers by lower-case name; None if there is something special, or something twice."""
    headers = _Headers()
    try:
        httptools.HttpRequestParser(headers).feed_data(head)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    values = dict(headers.found)
    if len(values) != len(headers.found) or not _PLAIN_HEADERS.issuperset(values):
        return None
    if not _HOST.fullmatch(values.get(b"host", b"")) or not _LENGTH.fullmatch(values.get(b"content-length", b"0")):
        return None
    return values


def _is_clean_key(path: str) -> bool:
    return (path == KEYS_PREFIX or path.startswith(KEYS_PREFIX + "/")) and clean_path(path) == path


class FastLane:
    """One connection, as long as its requests are plain: an `asyncio.Protocol` in all but name, for a compiled class
    that derives from one that is not is slower."""

    __slots__ = (
        "_buffer",
        "_busy",
        "_checks_host",
        "_credentials",
        "_deadline",
        "_has_ended",
        "_is_paused",
        "_is_writable",
        "_lane",
        "_nobody",
        "_running",
        "_secret_head",
        "_secret_request",
        "_transport",
    )

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._transport: asyncio.Transport
        self._buffer = b""
        self._busy = False  # a request is being answered
        self._running = False  # `_run` is on the stack
        self._has_ended = False  # the client sends no more
        self._is_writable = True
        self._is_paused = False
        self._checks_host = True
        self._nobody = NO_CREDENTIALS
        self._secret_head = b""
        self._secret_request: PlainRequest | None = None
        self._credentials = NO_CREDENTIALS
        self._deadline: asyncio.TimerHandle | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._lane.connections.add(self)
        self._checks_host = is_plain_loopback(transport)
        if self._lane.names_from_certificates:
            self._nobody = Credentials(b"", common_name_of(transport))

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
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lane.connections.discard(self)
        self._clear_deadline()
        self._buffer = self._secret_head = b""
        self._busy = True  # nothing more is answered

    def eof_received(self) -> bool:
        """The client sends no more, but may wait for answers: then the connection ends with the last one. (TLS as
        asyncio speaks it has no connection that is half closed.)"""
        self._has_ended = True
        self._lane.flush()
        is_waiting = self._busy or not self._is_writable
        return is_waiting and self._transport.get_extra_info("sslcontext") is None

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
        head_end = buffer.find(b"\r\n\r\n") + 4
        head = buffer[:head_end]
        if head == self._secret_head:
            request = self._secret_request
        else:
            request = self._lane.judge(head) if 4 <= head_end <= MAX_HEAD_BYTES else None
        if request is None:
            self._hand_over()
            return False
        method, path, query, content_type, length, meaning, secret, host_is_safe = request
        if self._checks_host and not host_is_safe:
            self._hand_over()
            return False
        end = head_end + length
        if len(buffer) < end:
            return False
        self._busy = True
        self._buffer = buffer[end:]
        if secret is None:
            credentials = self._nobody
        elif head == self._secret_head:
            credentials = self._credentials
        else:
            credentials = self._keep_secret(head, request, secret)
        if meaning is not None:
            self._lane.keys.perform(method, meaning, self._reply, credentials)
        else:
            self._lane.keys.handle(method, path, query, content_type, buffer[head_end:end], self._reply, credentials)
        return True

    def _keep_secret(self, head: bytes, request: PlainRequest, secret: tuple[int, int]) -> Credentials:
        """Most clients send one head again and again. What only this connection may see stays with it."""
        self._secret_head, self._secret_request = head, request
        begin, end = secret
        self._credentials = Credentials(head[begin:end], self._nobody.common_name, address_of(self._transport))
        return self._credentials

    def _reply(self, answer: Response | Watch) -> None:
        if type(answer) is Response and not self._transport.is_closing():  # watches do not get here
            self._lane.write(self._transport, encode(answer, self._lane.date(), self._lane.framing))
            self._busy = False
            if not self._running:
                self._go_on()

    def _go_on(self) -> None:
        """An answer is out: to the next request, or to the end."""
        if self._buffer:
            self._run()
        if self._has_ended and self._is_writable and not self._busy:
            self._lane.flush()
            self._transport.close()

    # The ends.

    def close(self) -> None:
        self._transport.close()

    def _hand_over(self) -> None:
        """From here on the connection is aiohttp's. What it writes comes after what was answered here."""
        self._lane.flush()
        self._busy = True
        self._clear_deadline()
        self._lane.connections.discard(self)
        data, self._buffer = self._buffer, b""
        transport, slow_lane = self._transport, self._lane.slow_lane()
        transport.set_protocol(slow_lane)
        slow_lane.connection_made(transport)
        self._resume_reading()
        slow_lane.data_received(data)
        if self._has_ended and not slow_lane.eof_received():
            transport.close()

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
