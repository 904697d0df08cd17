"""The peer port's HTTP face: `/raft/*` goes to the transport, everything else to the caller's own handler.

aiohttp parses the request heads; after the 101 a stream's connection changes hands and its bytes never pass through
aiohttp again. The dialling side says nothing between its request and the 101. Deadlines and sizes of request heads are
the listener's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from cluster.transport.handshake import SNAPSHOT_PATH, STREAM_PATH, UPGRADE, Refusal
from cluster.transport.transport import Transport

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def peer_handler(transport: Transport, extra: Handler) -> Handler:
    """A handler for aiohttp's low-level server: `extra` answers what is not raft's (`/members`, `/version`, 404).
    Call `Transport.stop` before the server's `shutdown`: a stream is a request that lasts."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == STREAM_PATH:
            return await _stream(transport, request)
        if request.path == SNAPSHOT_PATH:
            return await _snapshot(transport, request)
        return await extra(request)

    return handle


async def _stream(transport: Transport, request: web.BaseRequest) -> web.StreamResponse:
    if request.method != "GET" or request.headers.get("Upgrade", "").lower() != UPGRADE:
        return _refuse(Refusal(400, "not a raft stream request"))
    verdict = transport.judge(request.headers, request.remote, request.get_extra_info("peercert"))
    if isinstance(verdict, Refusal):
        return _refuse(verdict)
    response = web.StreamResponse(status=101, headers={"Connection": "Upgrade", "Upgrade": UPGRADE})
    with contextlib.suppress(ConnectionResetError):
        await response.prepare(request)
    connection = request.transport
    if connection is not None and not connection.is_closing():  # else the peer has gone, which is no news here
        await transport.accept_stream(verdict, connection, request.protocol).closed
    return response


async def _snapshot(transport: Transport, request: web.BaseRequest) -> web.StreamResponse:
    length = request.content_length
    if request.method != "POST" or length is None:
        return _refuse(Refusal(400, "not a snapshot request"))
    verdict = transport.judge(request.headers, request.remote, request.get_extra_info("peercert"))
    if isinstance(verdict, Refusal):
        return _refuse(verdict)
    failure = await transport.receive_snapshot(verdict, _Body(request), length)
    if failure is not None:
        return _refuse(failure)
    return _last_response(web.Response())


class _Body:
    """A request's body for `snapshots.receive_snapshot`. The first read asks for it (Expect: 100-continue)."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._asked = False

    async def readexactly(self, n: int, /) -> bytes:
        if not self._asked and self._request.transport is not None:
            self._asked = True
            self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return await self._request.content.readexactly(n)
        except web.RequestPayloadError:
            raise asyncio.IncompleteReadError(b"", n) from None


def _refuse(refusal: Refusal) -> web.Response:
    """The reason is in the status line too: the dialling side reads no body."""
    return _last_response(web.Response(status=refusal.status, reason=refusal.reason, text=refusal.reason))


def _last_response(response: web.Response) -> web.Response:
    response.force_close()
    return response
