"""The outgoing stream to one member: dial, hold, say it is lost, dial again.

Each member dials each other member for what it has to say itself (as etcd's streams do), so a connection carries
frames in one direction only, and a one-way partition breaks one direction only. What is said there is `outbound`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence

from cluster.tls import Tls
from cluster.transport.dial import Connection, DialError, describe, request
from cluster.transport.handshake import STREAM_PATH, UPGRADE, Identity, request_headers
from cluster.transport.outbound import Outbound
from cluster.transport.stats import TransportStats

HANDSHAKE_SECONDS = 5.0
PING_SECONDS = 1.0
FLUSH_SECONDS = 1.0
BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_LAST_SECONDS = 1.0
STABLE_SECONDS = 2.0  # a stream that lasted less counts as a failed attempt

log = logging.getLogger(__name__)


class Peer:
    """One member as this one reaches it. `run` is the task that keeps the stream up for what is said on `outbound`.

    `on_unreachable` is called when the stream is lost and when messages had to be dropped; `on_refused` with the HTTP
    status each time the member refuses us.
    """

    def __init__(
        self,
        member_id: int,
        urls: Sequence[str],
        identity: Identity,
        *,
        stats: TransportStats,
        tls: Tls | None,
        random: random.Random,
        on_unreachable: Callable[[], None],
        on_refused: Callable[[int], None],
    ) -> None:
        self.member_id = member_id
        self.urls = tuple(urls)
        self.active_since: float | None = None
        self.outbound = Outbound(member_id, stats, on_unreachable)
        self._identity = identity
        self._tls = tls
        self._random = random
        self._on_unreachable = on_unreachable
        self._on_refused = on_refused
        self._connection: Connection | None = None
        self._connected_url = ""
        self._wakeup = asyncio.Event()
        self._said: set[tuple[str, int]] = set()

    def update(self, urls: Sequence[str]) -> None:
        """Takes new URLs; a stream to a URL no longer among them is cut and dialled anew."""
        if self.urls == tuple(urls):
            return
        self.urls = tuple(urls)
        if self._connection is not None and self._connected_url not in self.urls:
            self._connection.abort()
        self.wake()

    def wake(self) -> None:
        """Ends the back-off: there is reason to believe that the member is there."""
        self._wakeup.set()

    async def run(self) -> None:
        """Keeps the stream up until cancelled, backing off while it does not come up or does not last."""
        backoff = BACKOFF_FIRST_SECONDS
        while True:
            self._wakeup.clear()
            lasted = await self._attempt()
            backoff = BACKOFF_FIRST_SECONDS if lasted >= STABLE_SECONDS else min(2 * backoff, BACKOFF_LAST_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff * self._random.uniform(0.5, 1.0)):
                    await self._wakeup.wait()

    async def _attempt(self) -> float:
        """Dials the URLs in turn until one answers and stays while its stream lasts: how many seconds that was."""
        for url in self.urls:
            connection = await self._dial(url)
            if connection is not None:
                return await self._hold(connection, url)
        return 0.0

    async def _dial(self, url: str) -> Connection | None:
        headers = {
            "Connection": "Upgrade",
            "Upgrade": UPGRADE,
            **request_headers(self._identity, self.member_id),
        }
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                return await request(url, "GET", STREAM_PATH, headers, expect=101, tls=self._tls)
        except DialError as error:
            self._say_once(url, error.status, str(error))
            if error.status:
                self._on_refused(error.status)
        except TimeoutError:
            self._say_once(url, 0, "no answer in time")
        return None

    async def _hold(self, connection: Connection, url: str) -> float:
        """Keeps the stream until it is lost: after how many seconds. When cancelled, what was sent gets a moment to
        leave."""
        clock = asyncio.get_running_loop().time
        self._connection, self._connected_url, self.active_since = connection, url, clock()
        self._said.clear()
        log.info("peer connected", extra={"fields": self._fields(url=url)})
        self.outbound.connected(connection.writer.transport)
        try:
            reason = await self._until_lost(connection)
            seconds = clock() - self.active_since
        except asyncio.CancelledError:
            await connection.close(FLUSH_SECONDS)
            raise
        finally:
            self._connection = self.active_since = None
            self.outbound.lost()
            connection.abort()
        log.warning("peer lost", extra={"fields": self._fields(url=url, reason=reason)})
        self._on_unreachable()
        return seconds

    async def _until_lost(self, connection: Connection) -> str:
        """Returns why the stream ended. A ping leaves after every second of silence, so that a dead other side
        is noticed (by dial.DEAD_AFTER_MS here, by inbound.IDLE_SECONDS there)."""
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS) as period:
                    data = await connection.reader.read(1)
                return "data on a one-way stream" if data else "closed by peer"
            except OSError as error:  # the kernel's own time-out is a TimeoutError too
                if not period.expired():
                    return describe(error)
            self.outbound.ping_if_silent()

    def _say_once(self, url: str, status: int, reason: str) -> None:
        """One line per kind of failure until the next success, not one per retry."""
        if (url, status) not in self._said:
            self._said.add((url, status))
            log.warning(
                "peer refused us" if status else "peer unreachable",
                extra={"fields": self._fields(url=url, reason=reason)},
            )

    def _fields(self, **more: str) -> dict[str, str]:
        return {"peer": f"{self.member_id:x}", **more}
