"""Fan-out: many clients wait for one directory, one client writes, and the clock stops when the last one is served."""

from __future__ import annotations

import asyncio
import gc
import statistics
from time import perf_counter

import uvloop

from . import requests
from .address import Address
from .connection import Connection, close, connect

_LONGEST_SECONDS = 30.0


def fan_out(address: Address, watchers: int, writes: int) -> float:
    """Milliseconds from a write until the last of `watchers` recursive watchers has its event; the median of `writes`.

    Every watcher waits again before the next write: a server answers the head of a watch when it is registered.
    """
    return uvloop.run(_fan_out(address, watchers, writes))


async def _fan_out(address: Address, watchers: int, writes: int) -> float:
    outcome = asyncio.get_running_loop().create_future()
    count = _Count(watchers)
    connections = await connect(address, watchers, lambda: _Watcher(outcome, count))
    [writer] = await connect(address, 1, lambda: Connection(outcome))
    gc.collect()
    gc.freeze()
    try:
        taken = [await _one_write(address, connections, writer, count, number) for number in range(writes)]
    finally:
        gc.unfreeze()
        close([*connections, writer])
    return statistics.median(taken) * 1e3


async def _one_write(
    address: Address, connections: list[_Watcher], writer: Connection, count: _Count, number: int
) -> float:
    count.begin()
    watch = requests.watch(address.authority)
    for connection in connections:
        connection.transport.write(watch)
    await _or_failure(count.all_waiting, writer.outcome)
    started = perf_counter()
    writer.transport.write(requests.put_watched(address.authority, number))
    await _or_failure(count.all_served, writer.outcome)
    return count.last_served - started


async def _or_failure(wanted: asyncio.Future[None], outcome: asyncio.Future[None]) -> None:
    """Wait for `wanted`; raise what any connection failed with, or TimeoutError."""
    async with asyncio.timeout(_LONGEST_SECONDS):
        await asyncio.wait({wanted, outcome}, return_when=asyncio.FIRST_COMPLETED)
    if outcome.done():
        outcome.result()


class _Count:
    """How many watchers are registered and how many served, in this turn."""

    all_waiting: asyncio.Future[None]
    all_served: asyncio.Future[None]

    def __init__(self, watchers: int) -> None:
        self.watchers = watchers
        self.last_served = 0.0
        self.loop = asyncio.get_running_loop()

    def begin(self) -> None:
        self.waiting = self.served = 0
        self.all_waiting, self.all_served = self.loop.create_future(), self.loop.create_future()

    def one_waiting(self) -> None:
        self.waiting += 1
        if self.waiting == self.watchers:
            self.all_waiting.set_result(None)

    def one_served(self) -> None:
        self.served += 1
        if self.served == self.watchers:
            self.last_served = perf_counter()
            self.all_served.set_result(None)


class _Watcher(Connection):
    """Counts itself when the head of its watch comes, and when the event is complete."""

    def __init__(self, outcome: asyncio.Future[None], count: _Count) -> None:
        super().__init__(outcome)
        self.count = count

    def on_headers_complete(self) -> None:
        self.count.one_waiting()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.count.one_served()
