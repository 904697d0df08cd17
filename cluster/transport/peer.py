"""The outgoing stream to one member: dial, hold, say it is lost, dial again.

Each member dials each other member for what it has to say itself (as etcd's streams do), so a connection carries
frames in one direction only, and a one-way partition breaks one direction only. The queue is the connection's own write
buffer: beyond `SEND_BUFFER_BYTES`, and while there is no connection, messages are dropped and counted, for raft repeats
what matters. It does not repeat proposals: they wait for the connection, up to `WAITING_BYTES`. One that arrives late
does no harm, for a leader of a later term leaves it out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence

from cluster.tls import Tls
from cluster.transport.dial import Connection, DialError, describe, request
from cluster.transport.frame import PING, FrameError, encode_frame
from cluster.transport.handshake import STREAM_PATH, UPGRADE, Identity, request_headers
from cluster.transport.stats import TransportStats
from raft.messages import Message, MessageType

HANDSHAKE_SECONDS = 5.0
PING_SECONDS = 1.0
FLUSH_SECONDS = 1.0
BACKOFF_FIRST_SECONDS = 0.05
BACKOFF_LAST_SECONDS = 1.0
STABLE_SECONDS = 2.0  # a stream that lasted less counts as a failed attempt
SEND_BUFFER_BYTES = 64 << 20  # above raft's own window (raft.config), so that only what ignores it is dropped
WAITING_BYTES = 8 << 20

log = logging.getLogger(__name__)


class Peer:
    """One member as this one reaches it. `run` is the task that keeps the stream up; `send` never waits.

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
        self.dropped = 0
        self._identity = identity
        self._stats = stats
        self._tls = tls
        self._random = random
        self._on_unreachable = on_unreachable
        self._on_refused = on_refused
        self._connection: Connection | None = None
        self._waiting = bytearray()
        self._connected_url = ""
        self._silent = True
        self._wakeup = asyncio.Event()
        self._said: set[tuple[str, int]] = set()

    def send(self, messages: Sequence[Message], now: float) -> None:
        """Writes all messages as one piece, or drops them all, but for proposals that can wait for a connection."""
        if self._connection is None:
            self._keep_proposals(messages, now)
            return
        transport = self._connection.writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() > SEND_BUFFER_BYTES:
            self._drop(len(messages))
            return
        frames = self._encode(messages, now)
        self._connection.writer.write(frames[0] if len(frames) == 1 else b"".join(frames))
        self._silent = False

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

    def _keep_proposals(self, messages: Sequence[Message], now: float) -> None:
        proposals = [message for message in messages if message.type == MessageType.PROP]
        dropped = len(messages) - len(proposals)
        for frame in self._encode(proposals, now):
            if len(self._waiting) + len(frame) <= WAITING_BYTES:
                self._waiting += frame
            else:
                dropped += 1
        if dropped:
            self._drop(dropped)

    def _drop(self, count: int) -> None:
        self.dropped += count
        self._stats.follower(self.member_id).failed(count)
        self._on_unreachable()

    def _encode(self, messages: Sequence[Message], now: float) -> list[bytes]:
        frames: list[bytes] = []
        appends = size = 0
        follower = self._stats.follower(self.member_id)
        for message in messages:
            try:
                frame = encode_frame(message)
            except FrameError as error:
                log.error("message dropped", extra={"fields": self._fields(reason=str(error))})
                self._drop(1)
                continue
            frames.append(frame)
            if message.type == MessageType.APP:
                appends += 1
                size += len(frame)
                follower.sent(message, now)
        if appends:
            self._stats.sent.add(now, appends, size)
        return frames

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
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            connection.writer.write(waiting)
        try:
            reason = await self._until_lost(connection)
            seconds = clock() - self.active_since
        except asyncio.CancelledError:
            await connection.close(FLUSH_SECONDS)
            raise
        finally:
            self._connection = self.active_since = None
            connection.abort()
        log.warning("peer lost", extra={"fields": self._fields(url=url, reason=reason)})
        self._on_unreachable()
        return seconds

    async def _until_lost(self, connection: Connection) -> str:
        """Returns why the stream ended. A ping leaves after every second of silence, so that a dead other side
        is noticed (by dial.DEAD_AFTER_MS here, by inbound.IDLE_SECONDS there)."""
        while True:
            self._silent = True
            try:
                async with asyncio.timeout(PING_SECONDS) as period:
                    data = await connection.reader.read(1)
                return "data on a one-way stream" if data else "closed by peer"
            except OSError as error:  # the kernel's own time-out is a TimeoutError too
                if not period.expired():
                    return describe(error)
            if self._silent:
                connection.writer.write(PING)

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
