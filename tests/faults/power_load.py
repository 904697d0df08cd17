"""Clients that overwrite keys until the power goes, and what they were told.

Each key belongs to one client, which sends one request at a time. So a key's value is the last one acknowledged, or the
one that was sent after it and never answered.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence

import aiohttp

CLIENTS = 12
KEYS_EACH = 20
REQUEST_SECONDS = 4.0
PAUSE_SECONDS = 0.02
_SIZES = (0, 100, 500, 3_000, 20_000)
"""Values that end within a sector, at its end, and many sectors later."""


class Journal:
    """What must be there after the next start, and what may."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.index = 0
        """The newest write's among those acknowledged."""
        self._known: dict[str, str] = {}
        self._unknown: dict[str, list[str]] = {}

    def begin(self, key: str, value: str) -> None:
        self._unknown.setdefault(key, []).append(value)

    def acknowledge(self, key: str, value: str, index: int) -> None:
        self.acknowledged += 1
        self.index = max(self.index, index)
        self._known[key] = value
        self._unknown[key] = []

    def settle(self, found: Mapping[str, str], index: int) -> list[str]:
        """Compares with what is there after a restart, which holds from now on. Returns what is wrong with it."""
        lost = [_difference(key, self._known[key], found) for key in self._known if not self._may_be(key, found)]
        lost += [f"{key}: never written" for key in found if not self._may_be(key, found)]
        if index < self.index:
            lost.append(f"index {index}, and {self.index} was acknowledged")
        self._known, self._unknown, self.index = dict(found), {}, index
        return lost

    def _may_be(self, key: str, found: Mapping[str, str]) -> bool:
        value = found.get(key)
        return value == self._known.get(key) or value in self._unknown.get(key, ())


def _difference(key: str, known: str, found: Mapping[str, str]) -> str:
    value = found.get(key)
    return f"{key}: {known[:20]} acknowledged, {'nothing' if value is None else value[:20]} found"


async def write_until(stop: asyncio.Event, urls: Sequence[str], draw: random.Random, journal: Journal) -> None:
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        session._retry_connection = False
        draws = [random.Random(draw.random()) for _ in range(CLIENTS)]
        await asyncio.gather(*(_client(i, stop, session, urls, draws[i], journal) for i in range(CLIENTS)))


async def _client(
    number: int,
    stop: asyncio.Event,
    session: aiohttp.ClientSession,
    urls: Sequence[str],
    draw: random.Random,
    journal: Journal,
) -> None:
    while not stop.is_set():
        key = f"/{number}/{draw.randrange(KEYS_EACH)}"
        value = f"{draw.getrandbits(64):016x}" + "v" * round(draw.choice(_SIZES) * draw.random())
        journal.begin(key, value)
        try:
            async with session.put(f"{draw.choice(urls)}/v2/keys{key}", data={"value": value}) as response:
                await response.read()
            if response.status in (200, 201):
                journal.acknowledge(key, value, int(response.headers["X-Etcd-Index"]))
        except (aiohttp.ClientError, TimeoutError):
            await asyncio.sleep(PAUSE_SECONDS)
