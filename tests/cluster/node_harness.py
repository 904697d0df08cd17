"""Clusters of `ClusterNode`s in one event loop: real raft, real applier, memory for a disk, lists for a network.

Nothing here sleeps for luck: `until` waits for a condition with a deadline, and ticks come from the harness.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from cluster.applier import Applier, SnapshotContent
from cluster.clock import ClusterClock
from cluster.codec import pack_value, unpack_value
from cluster.membership import Member, Membership
from cluster.node import ClusterNode, NodeConfig
from cluster.pending import Pending
from cluster.state_machine import Position
from raft.config import Config
from raft.messages import ConfState, Entry, HardState, Message, Snapshot
from raft.rawnode import RawNode
from raft.storage import MemoryStorage

TICK_SECONDS = 0.005
DEADLINE_SECONDS = 20.0


async def until(condition: Callable[[], object], what: str = "") -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DEADLINE_SECONDS
    while not condition():
        assert loop.time() < deadline, f"never happened: {what or condition}"
        await asyncio.sleep(TICK_SECONDS)


class Ledger:
    """A state machine that keeps the list of all it was given, so that a loss or a repeat shows."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def apply(self, commands: Sequence[Any], position: Position) -> Sequence[Any]:
        self.commands += commands
        return [(position.raft_index, command) for command in commands]

    def membership_changed(self, position: Position) -> None:
        pass

    def dump(self) -> Iterator[bytes]:
        yield pack_value(self.commands)

    def load(self, pieces: Iterable[bytes]) -> None:
        self.commands = [command for piece in pieces for command in unpack_value(piece)]


class Disk:
    """`StoragePort` over raft's MemoryStorage; each save takes a turn of the loop, as a worker thread's would."""

    def __init__(self, voters: tuple[int, ...]) -> None:
        self.stored = MemoryStorage(ConfState(voters))
        self.has_room = True
        self.hangs: asyncio.Event | None = None

    async def save(
        self, hard_state: HardState | None, entries: Sequence[Entry], snapshot: Snapshot | None, *, must_sync: bool
    ) -> None:
        await (self.hangs.wait() if self.hangs is not None else asyncio.sleep(0))
        self.stored.save(hard_state, entries, snapshot)


class Network:
    """Delivers in the next turn of the loop, unless one of the two ends is cut off."""

    def __init__(self) -> None:
        self.nodes: dict[int, ClusterNode] = {}
        self.cut: set[int] = set()
        self.dropped = 0

    def send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            asyncio.get_running_loop().call_soon(self._deliver, message)

    def active_since(self, member_id: int) -> float | None:
        return None if member_id in self.cut else 0.0

    def _deliver(self, message: Message) -> None:
        if message.to in self.nodes and not self.cut & {message.sender, message.to}:
            self.nodes[message.to].receive(message)
        else:
            self.dropped += 1


class Cluster:
    def __init__(self, size: int, request_timeout: float = DEADLINE_SECONDS) -> None:
        self.ids = tuple(range(1, size + 1))
        self.network = Network()
        self.disks = {id_: Disk(self.ids) for id_ in self.ids}
        self.ledgers = {id_: Ledger() for id_ in self.ids}
        self.nodes = self.network.nodes
        self.wall_ns = 0
        self._request_timeout = request_timeout
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Cluster:
        for id_ in self.ids:
            self.nodes[id_] = self._node(id_)
            self._tasks.append(asyncio.create_task(self.nodes[id_].run()))
        self._tasks.append(asyncio.create_task(self._tick_forever()))
        return self

    async def __aexit__(self, *exception: object) -> None:
        ticker = self._tasks.pop()
        ticker.cancel()
        for node in self.nodes.values():
            node.stop()
        await asyncio.gather(*self._tasks)

    def _node(self, id_: int) -> ClusterNode:
        raw = RawNode(Config(id=id_, random=random.Random(id_)), self.disks[id_].stored)
        membership = Membership(7, [Member(i, "", (f"http://m{i}:1",)) for i in self.ids])
        pending = Pending()
        applier = Applier(self.ledgers[id_], membership, pending, raw.apply_conf_change, self._no_snapshot)
        counter = iter(range(id_ << 32, (id_ + 1) << 32))
        loop = asyncio.get_running_loop()
        return ClusterNode(
            NodeConfig(id_, 10 * TICK_SECONDS, self._request_timeout),
            raw,
            self.disks[id_],
            self.network,
            applier,
            membership,
            pending,
            ClusterClock(lambda: int(loop.time() * 1e9), lambda: self.wall_ns),
            lambda: next(counter),
            loop.time,
            loop.call_later,
            lambda: None,
        )

    def _no_snapshot(self, snapshot: Snapshot) -> SnapshotContent:
        raise AssertionError("these clusters keep their whole log")

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            for node in self.nodes.values():
                node.tick()

    @property
    def leader(self) -> ClusterNode | None:
        """The leader that every member in reach follows."""
        reachable = [node for id_, node in self.nodes.items() if id_ not in self.network.cut]
        leads = {node.status.lead for node in reachable}
        lead = leads.pop() if len(leads) == 1 else 0
        return self.nodes[lead] if lead and lead not in self.network.cut and self.nodes[lead].is_leader else None

    async def elect(self) -> ClusterNode:
        await until(lambda: self.leader, "a leader")
        assert self.leader is not None
        return self.leader

    def follower(self) -> ClusterNode:
        return next(node for id_, node in self.nodes.items() if not node.is_leader and id_ not in self.network.cut)
