"""A client's end of one keep-alive connection, as little as a load generator needs.

Rule 1: a generator has one `outcome`, a future that any of its connections ends: with an error at the first failed
answer or lost connection, so that no figure is made of failures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import httptools

from .address import HOST, Address
from .errors import BenchError

_CONNECT_AT_ONCE = 64


class Connection(asyncio.Protocol):
    """Feeds what comes in to the parser, which calls `on_message_complete` for each answer, in the requests' order."""

    transport: asyncio.Transport

    def __init__(self, outcome: asyncio.Future[None]) -> None:
        self.outcome = outcome
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(f"an answer that isn't HTTP: {error!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fail(f"the server closed a connection: {exc}")

    def on_message_complete(self) -> None:
        """A whole answer has come."""
        if self.parser.get_status_code() not in (200, 201):
            self.fail(f"an answer with status {self.parser.get_status_code()}")

    def fail(self, reason: str) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(BenchError(reason))


C = TypeVar("C", bound=Connection)


async def connect(address: Address, count: int, make: Callable[[], C]) -> list[C]:
    """Open `count` connections."""
    connections: list[C] = []
    while len(connections) < count:
        now = min(_CONNECT_AT_ONCE, count - len(connections))
        connections += await asyncio.gather(*(_connect(address, make) for _ in range(now)))
    return connections


def close(connections: Sequence[Connection]) -> None:
    """Close connections at once, with whatever is under way on them; their outcome is settled."""
    for connection in connections:
        connection.outcome.cancel()
        connection.transport.abort()


async def _connect(address: Address, make: Callable[[], C]) -> C:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(make, HOST, address.port, ssl=address.tls)
    return protocol
