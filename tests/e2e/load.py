"""Clients that write and read while members come and go, and what they were told.

Each client sends one request at a time, to a member drawn by lot. A write is *acknowledged* (2xx), *refused* for sure
(nobody listened, so it was never sent), or *unknown*: it may have happened, or may still.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
from linearizability import UNANSWERED, Kind, Operation

REQUEST_SECONDS = 4.0
PAUSE_SECONDS = 0.05


class Journal:
    """What was acknowledged and what is unknown, and the history of the keys whose order is checked."""

    def __init__(self) -> None:
        self.unique: dict[str, str] = {}
        self.overwritten: dict[str, list[tuple[str, bool]]] = {}
        self.history: list[Operation] = []
        self.unknown = 0

    def contradictions(self, values: dict[str, str]) -> list[str]:
        """Where a cluster that ended with these values has lost something."""
        lost = [key for key, value in self.unique.items() if values.get(key) != value]
        return lost + [key for key, writes in self.overwritten.items() if values.get(key) not in _possible(writes)]


def _possible(writes: Sequence[tuple[str, bool]]) -> set[str | None]:
    """The last acknowledged value, or an unknown one of before or after: a late write may still arrive."""
    acknowledged = [value for value, known in writes if known]
    return {*acknowledged[-1:], *(value for value, known in writes if not known), *([] if acknowledged else [None])}


class Client:
    def __init__(self, name: str, urls: Sequence[str], draw: random.Random, journal: Journal) -> None:
        self._name = name
        self._urls = urls
        self._draw = draw
        self._journal = journal
        self._count = 0

    async def write_until(self, stop: asyncio.Event, session: aiohttp.ClientSession) -> None:
        """Keys of its own, each written once, and one key that it writes over and over."""
        own = self._journal.overwritten.setdefault(f"/own/{self._name}", [])
        while not stop.is_set():
            key, value = f"/unique/{self._name}/{self._count}", self._new_value()
            if await self._write(session, key, value) is True:
                self._journal.unique[key] = value
            known = await self._write(session, f"/own/{self._name}", value)
            if known is not None:
                own.append((value, known))

    async def write_and_read_until(self, stop: asyncio.Event, session: aiohttp.ClientSession, keys: list[str]) -> None:
        """Keys that all such clients share: writes, compare-and-swaps and linearizable reads."""
        expected: dict[str, str | None] = {}
        while not stop.is_set():
            key = self._draw.choice(keys)
            choice = self._draw.random()
            if choice < 0.5:
                expected[key] = await self._read(session, key)
            elif choice < 0.8 or expected.get(key) is None:
                await self._record(session, Operation(key, Kind.WRITE, self._new_value(), time.monotonic(), UNANSWERED))
            else:
                swap = Operation(key, Kind.SWAP, self._new_value(), time.monotonic(), UNANSWERED, expected[key])
                await self._record(session, swap)

    def _new_value(self) -> str:
        self._count += 1
        return f"{self._name}/{self._count}"

    async def _record(self, session: aiohttp.ClientSession, operation: Operation) -> None:
        form = {} if operation.expected is None else {"prevValue": operation.expected}
        known = await self._write(session, operation.key, str(operation.value), **form)
        if known is not None:
            answered = time.monotonic() if known else UNANSWERED
            self._journal.history.append(operation._replace(answered=answered))

    async def _write(self, session: aiohttp.ClientSession, key: str, value: str, **form: str) -> bool | None:
        """True if it was acknowledged, None if it did not happen, False if nobody knows."""
        answer = await self._ask(session, "PUT", key, data={"value": value, **form})
        if answer is None:
            return None
        status, body = answer
        if status in (200, 201):
            return True
        if status == 412:
            return None
        assert status == 0 or status >= 500, (status, body)
        self._journal.unknown += 1
        return False

    async def _read(self, session: aiohttp.ClientSession, key: str) -> str | None:
        called = time.monotonic()
        answer = await self._ask(session, "GET", key, params={"quorum": "true"})
        if answer is None or answer[0] not in (200, 404):
            return None
        status, body = answer
        value = body["node"]["value"] if status == 200 else None
        self._journal.history.append(Operation(key, Kind.READ, value, called, time.monotonic()))
        return value

    async def _ask(self, session: aiohttp.ClientSession, method: str, key: str, **rest: Any) -> tuple[int, Any] | None:
        """Status and body; None if nobody listened; status 0 if no answer came."""
        url = f"{self._draw.choice(self._urls)}/v2/keys{key}"
        try:
            async with session.request(method, url, **rest) as response:
                return response.status, await response.json(content_type=None)
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(PAUSE_SECONDS)
            return None
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return 0, None


async def run_clients(
    urls: Sequence[str],
    context: ssl.SSLContext,
    draw: random.Random,
    journal: Journal,
    stop: asyncio.Event,
    writers: int,
    readers: int,
) -> None:
    """`readers` read and write five shared keys."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    keys = [f"/shared/{i}" for i in range(5)]
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0, ssl=context)) as session:
        session._retry_connection = False  # a request sent twice would be two operations that look like one
        clients = [Client(f"c{i}", urls, random.Random(draw.random()), journal) for i in range(writers + readers)]
        await asyncio.gather(
            *(client.write_until(stop, session) for client in clients[:writers]),
            *(client.write_and_read_until(stop, session, keys) for client in clients[writers:]),
        )
