"""A server that does nothing but answer, to measure the load generators themselves: `python -m bench.responder PORT`.

It speaks the same HTTP as the servers under test: a fixed node for every read and write, and watches that wait for the
next write. What a generator reaches here is its own limit.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import httptools
import uvloop

from .address import HOST

_NODE = b'{"key":"/bench/0000001","value":"%b","modifiedIndex":4,"createdIndex":4}' % (b"0" * 100)
_BODY = b'{"action":"set","node":' + _NODE + b',"prevNode":' + _NODE + b"}\n"
_COMMON = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Etcd-Cluster-Id: 7e27652122e8b2ae\r\n"
    b"X-Etcd-Index: 4\r\nX-Raft-Index: 9\r\nX-Raft-Term: 2\r\n"
)
_ANSWER = _COMMON + b"Content-Length: %d\r\n\r\n" % len(_BODY) + _BODY
_WATCH_HEAD = _COMMON + b"Transfer-Encoding: chunked\r\n\r\n"
_WATCH_EVENT = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_BODY), _BODY)


class Responder(asyncio.Protocol):
    """One connection; `waiting` is shared by all and holds those that wait for a write."""

    transport: asyncio.Transport

    def __init__(self, waiting: list[asyncio.Transport]) -> None:
        self.waiting = waiting
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_message_complete(self) -> None:
        if b"wait=true" in self.url:
            self.waiting.append(self.transport)
            self.transport.write(_WATCH_HEAD)
            return
        if self.waiting and self.parser.get_method() == b"PUT":
            self._serve_watchers()
        self.transport.write(_ANSWER)

    def _serve_watchers(self) -> None:
        for transport in self.waiting:
            transport.write(_WATCH_EVENT)
        self.waiting.clear()


async def serve(port: int) -> None:
    """Answer for ever."""
    waiting: list[asyncio.Transport] = []
    server = await asyncio.get_running_loop().create_server(lambda: Responder(waiting), HOST, port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
