"""The network as the node sees it: raft messages out, checked raft messages in (`cluster.ready.TransportPort`).

Owns one `Peer` per other member (its outgoing stream), the incoming streams, and the snapshots under way. Knows nothing
of raft beyond the message types, and nothing of the listener: `handler.peer_handler` hands connections in.

Every callback is called from the event loop, never from inside `send`, and must return at once (queue, don't act).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cluster.certificate import Certificate, names_one_of
from cluster.tls import Tls
from cluster.transport.handshake import GONE, Identity, Refusal, judge, stated_urls
from cluster.transport.inbound import InboundStream
from cluster.transport.peer import Peer
from cluster.transport.snapshots import ByteReader, SnapshotError, SnapshotFiles, receive_snapshot, send_snapshot
from cluster.transport.stats import TransportStats
from raft.messages import Message, MessageType

MAX_REFUSED_LOGGED = 256
MAX_PEERS = 100
"""With this many, nobody is asked about strangers: a cluster has a few members."""

log = logging.getLogger(__name__)


class Transport:
    """The streams and snapshot transfers between this member and all others.

    - `on_message(message)`: a message from a member, checked.
    - `on_unreachable(member_id)`: the stream to it is lost, or messages to it were dropped.
    - `on_snapshot_sent(member_id, ok)`: the fate of a SNAP message; `ok` means the member has it on disk.
    - `on_removed()`: a member of our cluster says that we were removed from it; called once.
    - `on_stranger(member_id, urls)`: somebody we do not know called, and says that it is reached at these URLs. If it
      is a member by now, `add_peer` it.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        on_message: Callable[[Message], object],
        on_unreachable: Callable[[int], object],
        on_snapshot_sent: Callable[[int, bool], object],
        on_removed: Callable[[], object],
        snapshots: SnapshotFiles,
        random: random.Random,
        removed: Iterable[int] = (),
        tls: Tls | None = None,
        on_stranger: Callable[[int, Sequence[str]], object] = lambda member_id, urls: None,
    ) -> None:
        self.identity = identity
        self.stats = TransportStats()
        self._on_message = on_message
        self._on_unreachable = on_unreachable
        self._on_snapshot_sent = on_snapshot_sent
        self._on_removed = on_removed
        self._snapshots = snapshots
        self._random = random
        self._removed = set(removed)
        self._tls = tls
        self._on_stranger = on_stranger
        self._peers: dict[int, Peer] = {}
        self._streams: dict[int, asyncio.Task[None]] = {}
        self._inbound: dict[int, InboundStream] = {}
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._receiving: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told_removed = False
        self._refused: set[tuple[str | None, int]] = set()

    # Members

    def add_peer(self, member_id: int, urls: Sequence[str]) -> None:
        """Begins to talk to a member (at `start`, if that is still to come) and to accept its connections. Our own id
        is passed over; a known member gets the new URLs."""
        if member_id == self.identity.member_id:
            return
        self._removed.discard(member_id)
        if member_id in self._peers:
            self._peers[member_id].update(urls)
            return
        self._peers[member_id] = Peer(
            member_id,
            urls,
            self.identity,
            stats=self.stats,
            tls=self._tls,
            random=self._random,
            on_unreachable=lambda: self._soon(self._on_unreachable, member_id),
            on_refused=self._refused_by_peer,
        )
        if self._loop is not None:
            self._start_stream(self._loop, member_id)

    def update_peer(self, member_id: int, urls: Sequence[str]) -> None:
        if member_id in self._peers:
            self._peers[member_id].update(urls)

    def remove_peer(self, member_id: int) -> None:
        """Ends all connections with a member; from now on it is told that it was removed."""
        self._removed.add(member_id)
        self._peers.pop(member_id, None)
        self.stats.followers.pop(member_id, None)
        for task in (self._streams.pop(member_id, None), self._sending.get(member_id)):
            if task is not None:
                task.cancel()
        inbound = self._inbound.get(member_id)
        if inbound is not None:
            inbound.close()

    @property
    def peer_ids(self) -> set[int]:
        """The members it talks to."""
        return set(self._peers)

    def active_since(self, member_id: int) -> float | None:
        """Since when (loop clock) our stream to that member has been up; None while it is not."""
        peer = self._peers.get(member_id)
        return peer.active_since if peer else None

    # Sending

    def send(self, messages: Iterable[Message]) -> None:
        """Queues messages for their members; one write per member. Never blocks: what has no connection or no room is
        dropped, and raft repeats what matters."""
        if self._loop is None:
            return
        by_member: dict[int, list[Message]] = {}
        for message in messages:
            if message.type == MessageType.SNAP:
                self._begin_snapshot(self._loop, message)
            else:
                by_member.setdefault(message.to, []).append(message)
        now = self._loop.time()
        for member_id, batch in by_member.items():
            peer = self._peers.get(member_id)
            if peer is not None:  # else a member removed meanwhile
                peer.outbound.send(batch, now)

    def _begin_snapshot(self, loop: asyncio.AbstractEventLoop, message: Message) -> None:
        """One at a time per member; while one is under way its fate answers for a second one too."""
        peer = self._peers.get(message.to)
        if peer is None or message.to in self._sending:
            return
        task = loop.create_task(send_snapshot(message, peer.urls, self.identity, self._snapshots, self._tls))
        self._sending[message.to] = task
        task.add_done_callback(lambda task: self._end_snapshot(message.to, task))

    def _end_snapshot(self, member_id: int, task: asyncio.Task[None]) -> None:
        del self._sending[member_id]
        failure = "cancelled" if task.cancelled() else task.exception()
        fields = {"peer": f"{member_id:x}"}
        if failure is None:
            log.info("snapshot sent", extra={"fields": fields})
        else:
            log.warning("snapshot not sent", extra={"fields": {**fields, "reason": str(failure)}})
        self._soon(self._on_snapshot_sent, member_id, failure is None)

    # Receiving (called by handler.py)

    def judge(
        self, headers: Mapping[str, str], remote: str | None, certificate: Certificate | None = None
    ) -> int | Refusal:
        """Which member calls, or why it is refused. A caller that keeps trying is logged once. `certificate` is the
        one that it had to show, if it had to: the authority's word is not enough, it must name the member's host."""
        if self._loop is None:
            return Refusal(503, "not running")
        verdict = judge(headers, self.identity, self._peers, self._removed)
        if isinstance(verdict, int):
            verdict = self._admit(verdict, stated_urls(headers), certificate)
        if isinstance(verdict, Refusal) and len(self._refused) < MAX_REFUSED_LOGGED:
            if (remote, verdict.status) not in self._refused:
                log.warning("peer refused", extra={"fields": {"remote": remote, "reason": verdict.reason}})
            self._refused.add((remote, verdict.status))
        return verdict

    def _admit(self, member_id: int, stated: Sequence[str], certificate: Certificate | None) -> int | Refusal:
        """A caller is judged by what we know of it, never by what it says. Who is unknown has to call again."""
        known = self._peers.get(member_id)
        if known is None:
            if len(self._peers) < MAX_PEERS:
                self._soon(self._on_stranger, member_id, stated)
            return Refusal(404, "sender is not a member")
        if certificate and not names_one_of(certificate, known.urls):
            return Refusal(403, "certificate does not name the host of the member")
        return member_id

    def accept_stream(
        self, sender: int, transport: asyncio.Transport, http_protocol: asyncio.Protocol
    ) -> InboundStream:
        """Takes over a connection whose handshake `judge` approved; an older one from the same member is cut."""
        peer = self._peers[sender]
        previous = self._inbound.get(sender)
        if previous is not None:
            previous.close()
        stream = InboundStream(sender, self.identity.member_id, transport, http_protocol, self._receive)
        self._inbound[sender] = stream
        stream.closed.add_done_callback(lambda _: self._forget_inbound(stream))
        peer.wake()
        return stream

    async def receive_snapshot(self, sender: int, body: ByteReader, length: int) -> Refusal | None:
        """Takes in one snapshot, then hands its message on. The answer says why not."""
        if self._receiving is not None:
            return Refusal(503, "another snapshot is being received")
        self._receiving = asyncio.current_task()
        try:
            message = await receive_snapshot(body, length, sender, self.identity.member_id, self._snapshots)
        except SnapshotError as error:
            log.warning("snapshot not received", extra={"fields": {"peer": f"{sender:x}", "reason": str(error)}})
            return Refusal(400, str(error))
        finally:
            self._receiving = None
        log.info("snapshot received", extra={"fields": {"peer": f"{sender:x}", "size_bytes": length}})
        self._on_message(message)
        return None

    def _receive(self, sender: int, messages: Sequence[Message], size_bytes: int) -> None:
        if self._loop is None:  # stopping, and the stream is about to be cut
            return
        now = self._loop.time()
        follower = self.stats.follower(sender)
        appends = 0
        for message in messages:
            if message.type == MessageType.APP:
                appends += 1
            else:
                follower.received(message, now)
            self._on_message(message)
        if appends:
            self.stats.received.add(now, appends, size_bytes)

    def _forget_inbound(self, stream: InboundStream) -> None:
        if self._inbound.get(stream.sender) is stream:
            del self._inbound[stream.sender]

    # Life

    async def start(self) -> None:
        """Begins to dial, and to accept what the listener hands in (503 before)."""
        self._loop = asyncio.get_running_loop()
        for member_id in self._peers:
            self._start_stream(self._loop, member_id)

    async def stop(self) -> None:
        """Ends every connection; what was sent gets a moment to leave. Call it before the listener's cleanup."""
        self._loop = None
        tasks: list[asyncio.Task[Any]] = [*self._streams.values(), *self._sending.values()]
        if self._receiving is not None:
            tasks.append(self._receiving)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for inbound in list(self._inbound.values()):
            inbound.close()

    def _start_stream(self, loop: asyncio.AbstractEventLoop, member_id: int) -> None:
        self._streams[member_id] = loop.create_task(self._peers[member_id].run())

    def _refused_by_peer(self, status: int) -> None:
        if status == GONE and not self._told_removed:
            self._told_removed = True
            log.error("this member was removed from the cluster", extra={"fields": {}})
            self._soon(self._on_removed)

    def _soon(self, callback: Callable[..., object], *args: object) -> None:
        if self._loop is not None:
            self._loop.call_soon(callback, *args)
