"""What this member says to one other: messages into frames, frames into the connection, or dropped and counted.

The queue is the connection's own write buffer: beyond `SEND_BUFFER_BYTES`, and while there is no connection, messages
are dropped, for raft repeats what matters. It does not repeat proposals: they wait for the connection, up to
`WAITING_BYTES`. One that arrives late does no harm, for a leader of a later term leaves it out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from cluster.transport.frame import PING, FrameError, encode_frame
from cluster.transport.stats import TransportStats
from raft.messages import Message, MessageType

SEND_BUFFER_BYTES = 64 << 20  # above raft's own window (raft.config), so that only what ignores it is dropped
WAITING_BYTES = 8 << 20

log = logging.getLogger(__name__)


class Outbound:
    """`send` never waits. `on_dropped` is called when messages had to be dropped."""

    def __init__(self, member_id: int, stats: TransportStats, on_dropped: Callable[[], None]) -> None:
        self.dropped = 0
        self._member_id = member_id
        self._stats = stats
        self._on_dropped = on_dropped
        self._transport: asyncio.WriteTransport | None = None
        self._waiting = bytearray()
        self._silent = True

    def connected(self, transport: asyncio.WriteTransport) -> None:
        """From now on messages go there; first what has waited."""
        self._transport = transport
        if transport.get_extra_info("sslcontext") is None:
            transport.set_write_buffer_limits(high=0)  # uvloop then sends at once, not at the end of the loop's turn
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            transport.write(waiting)

    def lost(self) -> None:
        self._transport = None

    def send(self, messages: Sequence[Message], now: float) -> None:
        """Writes all messages as one piece, or drops them all, but for proposals that can wait for a connection."""
        transport = self._transport
        if transport is None:
            self._keep_proposals(messages, now)
            return
        if transport.is_closing() or transport.get_write_buffer_size() > SEND_BUFFER_BYTES:
            self._drop(len(messages))
            return
        frames = self._encode(messages, now)
        transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        self._silent = False

    def ping_if_silent(self) -> None:
        """Sends a sign of life if nothing was sent since the last call."""
        if self._silent and self._transport is not None:
            self._transport.write(PING)
        self._silent = True

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
        self._stats.follower(self._member_id).failed(count)
        self._on_dropped()

    def _encode(self, messages: Sequence[Message], now: float) -> list[bytes]:
        frames: list[bytes] = []
        appends = size = 0
        follower = self._stats.follower(self._member_id)
        for message in messages:
            try:
                frame = encode_frame(message)
            except FrameError as error:
                fields = {"peer": f"{self._member_id:x}", "reason": str(error)}
                log.error("message dropped", extra={"fields": fields})
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
