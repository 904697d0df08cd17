"""One watch on one connection: the head at once, then a chunk for each event (etcd 3.4: handleKeyWatch).

Events are written where they are applied, with no task in between. When the client reads too slowly, the watcher is
paused until the connection has drained; what then overflows is the store's to decide, and ends the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from etcdpy.commands import Watch
from etcdpy.http.render import event_body
from etcdpy.http.wire import Framing, chunk, last_chunk
from etcdpy.service import Service
from etcdpy.store.event import Event
from etcdpy.store.watcher import Watcher


class Client(Protocol):
    """The connection of whoever watches."""

    def write(self, data: bytes) -> None:
        """Queues bytes to be sent; does nothing if the connection is gone."""

    @property
    def is_congested(self) -> bool:
        """More waits to be sent than should."""

    def drained(self) -> Awaitable[None]:
        """Ends when there is room for more. Raises ConnectionError if the client does not read at all."""


class WatchSession:
    def __init__(self, service: Service, watch: Watch, client: Client, framing: Framing) -> None:
        """Raises `EtcdError` 401."""
        self._client = client
        self._framing = framing
        self._stream = watch.stream
        self._loop = asyncio.get_running_loop()
        self._wakeup = self._loop.create_future()
        self._ended = False
        self.complete = False
        self._watcher: Watcher
        self._unwatch: Callable[[], None]
        self._watcher, self._unwatch = service.watch(watch, self._on_event, self._on_closed)

    @property
    def start_index(self) -> int:
        return self._watcher.start_index

    async def run(self, head: bytes) -> bool:
        """Writes the head and then events until the watch ends; cancel it when the client is gone. True if the answer
        is complete, False if the client must be cut off: events were lost."""
        try:
            self._client.write(head)
            self._watcher.resume()
            while not self._ended:
                await self._wakeup
                self._wakeup = self._loop.create_future()
                if not self._ended:
                    await self._client.drained()
                    self._watcher.resume()
        finally:
            self._unwatch()
        return self.complete

    def revoke(self) -> None:
        """Ends the watch, because it is no longer allowed: the very next command may already be a secret."""
        self._unwatch()
        self._on_closed()

    def _on_event(self, event: Event) -> None:
        framing = self._framing
        data = _chunk(event, framing) if framing.version else event_body(event)
        if not self._stream:
            self._client.write(data + last_chunk(framing))
            self.complete = True
            self._end()
            return
        self._client.write(data)
        if self._client.is_congested:
            self._watcher.pause()
            self._wake()

    def _on_closed(self) -> None:
        self._client.write(last_chunk(self._framing))
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if not self._wakeup.done():
            self._wakeup.set_result(None)


def _chunk(event: Event, framing: Framing) -> bytes:
    data = event.chunked
    if data is None:
        data = event.chunked = chunk(event_body(event), framing)
    return data
