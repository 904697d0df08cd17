"""Writes at a steady rate, sent on time whether or not earlier ones are answered (an open loop).

So a pause of the server shows in full in the longest answer, instead of slowing the generator down. How late the
generator itself was is measured too: it bounds what can be blamed on the server.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import uvloop

from . import requests
from .address import Address
from .connection import Connection, close, connect
from .errors import BenchError
from .scale import KEYS

CONNECTIONS = 64
_TICK_SECONDS = 0.001
_DRAIN_SECONDS = 30.0


class Paced(NamedTuple):
    """Times in milliseconds. `terms` are the Raft terms that the answers named: more than one means an election."""

    answers: int
    seconds: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    latest_send_ms: float
    terms: frozenset[int]


def put(address: Address, rate: int, enough: Callable[[float], bool], *, stride: int = 1, keys: int = KEYS) -> Paced:
    """PUT `rate` times a second to keys `stride` apart until `enough(seconds so far)`.

    `enough` is asked every millisecond, so it has to be cheap.
    """
    payloads = [requests.put(address.authority, number * stride) for number in range(keys)]
    return uvloop.run(_put(address, rate, enough, payloads))


async def _put(address: Address, rate: int, enough: Callable[[float], bool], payloads: list[bytes]) -> Paced:
    outcome = asyncio.get_running_loop().create_future()
    record = _Record()
    connections = await connect(address, CONNECTIONS, lambda: _PacedConnection(outcome, record))
    gc.collect()
    gc.freeze()  # nothing of this process may pause while the server's pauses are measured
    try:
        seconds = await _send(connections, rate, enough, payloads, outcome)
        await _drain(connections, outcome)
    finally:
        gc.unfreeze()
        close(connections)
    return record.summary(seconds)


async def _send(
    connections: list[_PacedConnection],
    rate: int,
    enough: Callable[[float], bool],
    payloads: list[bytes],
    outcome: asyncio.Future[None],
) -> float:
    started = perf_counter()
    sent = 0
    while not outcome.done() and not enough(perf_counter() - started):
        for number in range(sent, int((perf_counter() - started) * rate)):
            due = started + number / rate
            connections[number % len(connections)].send(payloads[number % len(payloads)], due)
            sent = number + 1
        await asyncio.sleep(_TICK_SECONDS)
    return perf_counter() - started


async def _drain(connections: list[_PacedConnection], outcome: asyncio.Future[None]) -> None:
    """Wait for what is still unanswered, or for the first failure."""
    deadline = perf_counter() + _DRAIN_SECONDS
    while not outcome.done() and any(connection.sent for connection in connections):
        if perf_counter() > deadline:
            raise BenchError(f"paced writes unanswered for {_DRAIN_SECONDS:.0f} s")
        await asyncio.sleep(_TICK_SECONDS)
    if outcome.done():
        await outcome


class _Record:
    """All that the answers told, in seconds."""

    __slots__ = ("latest_send", "taken", "terms")

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.terms: set[int] = set()
        self.latest_send = 0.0

    def summary(self, seconds: float) -> Paced:
        taken = sorted(self.taken)
        if not taken:
            raise BenchError("no paced write was answered")
        p50, p99 = (taken[int(len(taken) * part)] * 1e3 for part in (0.50, 0.99))
        late_ms = self.latest_send * 1e3
        return Paced(len(taken), seconds, p50, p99, taken[-1] * 1e3, late_ms, frozenset(self.terms))


class _PacedConnection(Connection):
    """Remembers when each request left; answers come in the same order."""

    def __init__(self, outcome: asyncio.Future[None], record: _Record) -> None:
        super().__init__(outcome)
        self.record = record
        self.sent: deque[float] = deque()

    def send(self, request: bytes, due: float) -> None:
        now = perf_counter()
        self.record.latest_send = max(self.record.latest_send, now - due)
        self.sent.append(now)
        self.transport.write(request)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-raft-term":
            self.record.terms.add(int(value))

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.record.taken.append(perf_counter() - self.sent.popleft())
