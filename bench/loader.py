"""Fills a cluster with keys as fast as it takes them: PUTs over many connections, a few under way on each.

Nothing is measured in it but the rate. So a write that the server gave up on (etcd: 500, under much load) is sent
again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from time import perf_counter

import uvloop

from . import requests
from .address import Address
from .connection import Connection, close, connect

CONNECTIONS = 64
UNDER_WAY = 4
MOST_GIVEN_UP = 2_000
"""With more, something is wrong."""


def load(address: Address, first: int, last: int) -> float:
    """Set the keys numbered from `first` up to but not including `last`; the writes per second reached."""
    return uvloop.run(_load(address, first, last)) if first < last else 0.0


async def _load(address: Address, first: int, last: int) -> float:
    outcome = asyncio.get_running_loop().create_future()
    work = _Work((requests.put(address.authority, number) for number in range(first, last)), last - first)
    started = perf_counter()
    connections = await connect(address, CONNECTIONS, lambda: _LoadConnection(outcome, work))
    try:
        for connection in connections:
            connection.begin()
        await outcome
    finally:
        close(connections)
    return (last - first) / (perf_counter() - started)


class _Work:
    """What is left to send, how many answers are still to come, and how many writes the server gave up on."""

    __slots__ = ("given_up", "requests", "unanswered")

    def __init__(self, to_send: Iterator[bytes], unanswered: int) -> None:
        self.requests = to_send
        self.unanswered = unanswered
        self.given_up = 0


class _LoadConnection(Connection):
    """Sends the next request for each answer."""

    def __init__(self, outcome: asyncio.Future[None], work: _Work) -> None:
        super().__init__(outcome)
        self.work = work
        self.under_way: deque[bytes] = deque()

    def begin(self) -> None:
        for _ in range(UNDER_WAY):
            self._send_next()

    def on_message_complete(self) -> None:
        request = self.under_way.popleft()
        if self.parser.get_status_code() == 500 and self.work.given_up < MOST_GIVEN_UP:
            self.work.given_up += 1
            self._send(request)
            return
        super().on_message_complete()
        self.work.unanswered -= 1
        if self.work.unanswered == 0 and not self.outcome.done():
            self.outcome.set_result(None)
        self._send_next()

    def _send_next(self) -> None:
        request = next(self.work.requests, None)
        if request is not None:
            self._send(request)

    def _send(self, request: bytes) -> None:
        self.under_way.append(request)
        self.transport.write(request)
