"""The incoming stream from one member, after its handshake: bytes in, checked messages out.

Invariant: a message is handed on only if it comes from the member that shook hands, is meant for us, and is no snapshot
(those have a connection of their own, with the state). Anything else ends the connection, with one line in the log, and
touches nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import cast

from cluster.transport.frame import FrameError, FrameReader
from raft.messages import Message, MessageType

IDLE_SECONDS = 5.0  # a healthy peer pings every second

log = logging.getLogger(__name__)


class InboundStream:
    """Takes a connection over from the HTTP server's protocol, which is told when the connection ends. An
    `asyncio.Protocol` in all but name: a compiled class that derives from one that is not is slower.

    `on_messages(sender, messages, size_bytes)` gets what one read completed. `closed` is done when the connection is
    gone.
    """

    def __init__(
        self,
        sender: int,
        member_id: int,
        transport: asyncio.Transport,
        http_protocol: asyncio.Protocol,
        on_messages: Callable[[int, Sequence[Message], int], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.sender = sender
        self.closed: asyncio.Future[None] = loop.create_future()
        self._member_id = member_id
        self._transport = transport
        self._http_protocol = http_protocol
        self._on_messages = on_messages
        self._reader = FrameReader()
        self._loop = loop
        self._heard = True
        self._watch = loop.call_later(IDLE_SECONDS / 2, self._check_idle, 0)
        transport.set_protocol(cast(asyncio.Protocol, self))

    def close(self) -> None:
        """Cuts the connection now."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            messages = self._reader.feed(data)
            for message in messages:
                self._check(message)
        except FrameError as error:
            self._reject(str(error))
            return
        if messages:
            self._on_messages(self.sender, messages, len(data))

    def eof_received(self) -> bool:
        """The peer says nothing more, so the connection ends."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        self._http_protocol.connection_lost(exc)
        if not self.closed.done():
            self.closed.set_result(None)

    def _check(self, message: Message) -> None:
        if message.to != self._member_id:
            raise FrameError("message for another member")
        if message.sender != self.sender:
            raise FrameError("message in another member's name")
        if message.type == MessageType.SNAP:
            raise FrameError("snapshot message on the stream")

    def _check_idle(self, silent_rounds: int) -> None:
        # Two silent rounds, not one: after a pause of our own process the timer may run before the waiting bytes.
        silent_rounds = 0 if self._heard else silent_rounds + 1
        self._heard = False
        if silent_rounds == 2:
            self._reject("silent for too long")
        else:
            self._watch = self._loop.call_later(IDLE_SECONDS / 2, self._check_idle, silent_rounds)

    def _reject(self, reason: str) -> None:
        log.warning("peer stream cut", extra={"fields": {"peer": f"{self.sender:x}", "reason": reason}})
        self.close()
