"""A network of RawNodes in one process: deliver, drop, cut, duplicate, reorder, crash. Nothing happens by itself.

Each member is driven exactly as `cluster.ready` drives it in production: messages leave, the save, the promises leave,
the apply, `advance()`. `crash()` keeps only what a MemoryStorage holds, as a disk would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Any

from raft import confchange
from raft.config import Config
from raft.errors import ProposalDropped
from raft.messages import ConfState, Entry, EntryType, Message, MessageType, ReadState, Ready, Role
from raft.rawnode import RawNode
from raft.storage import MemoryStorage

Library = dict[tuple[int, int], list[Entry]]
"""What a snapshot at (index, term) holds: the entries applied up to there. Stands for the files that members send."""


class Node:
    """One member with its disk and a state machine that is the list of what it applied."""

    def __init__(
        self, member: int, conf_state: ConfState, seed: int, library: Library, options: dict[str, Any]
    ) -> None:
        self.id = member
        self.library = library
        self.storage = MemoryStorage(conf_state)
        self.applied: list[Entry] = []
        self.read_states: list[ReadState] = []
        self.readies: list[Ready] = []
        self._seed = seed
        self._lives = 0
        self._options = options
        self.start()

    def start(self) -> None:
        """(Re)starts from what is on disk."""
        self._lives += 1
        random = Random(f"{self._seed}/{self.id}/{self._lives}")
        snapshot = self.storage.snapshot()
        applied = 0 if snapshot is None else snapshot.index
        self.raw = RawNode(Config(id=self.id, random=random, applied=applied, **self._options), self.storage)
        self.applied = [] if snapshot is None else list(self.library[snapshot.index, snapshot.term])

    def process(self) -> list[Message]:
        """Takes and pays Readys until there are none; returns what was sent."""
        sent: list[Message] = []
        while self.raw.has_ready():
            sent += self.process_one()
        return sent

    def process_one(self) -> list[Message]:
        ready = self.raw.ready()
        self.readies.append(ready)
        self.apply(ready)
        self.save(ready)
        self.read_states += ready.read_states
        self.raw.advance(ready)
        return [*ready.messages, *ready.persisted_messages]

    def save(self, ready: Ready) -> None:
        self.storage.save(ready.hard_state, ready.entries, ready.snapshot)
        if ready.snapshot is not None:
            self.applied = list(self.library[ready.snapshot.index, ready.snapshot.term])

    def compact(self, *, keep: int = 0) -> None:
        """Snapshots what is applied and forgets the log up to `keep` entries before that."""
        snapshot = self.storage.create_snapshot(self.raw.applied, self.raw.conf_state)
        self.library[snapshot.index, snapshot.term] = list(self.applied)
        self.storage.compact(max(self.storage.first_index - 1, snapshot.index - keep))

    def apply(self, ready: Ready) -> None:
        for entry in ready.committed_entries:
            if entry.type == EntryType.CONF_CHANGE:
                self.raw.apply_conf_change(confchange.decode(entry.data))
            self.applied.append(entry)

    @property
    def data(self) -> list[bytes]:
        """What the state machine was given, without no-ops and membership changes."""
        return [entry.data for entry in self.applied if entry.data and entry.type == EntryType.NORMAL]

    @property
    def log(self) -> list[tuple[int, int]]:
        """(term, index) of every entry on disk."""
        first, last = self.storage.first_index, self.storage.last_index
        if last < first:
            return []
        return [(entry.term, entry.index) for entry in self.storage.entries(first, last + 1, 1 << 60)]


class Network:
    def __init__(
        self,
        voters: int | Iterable[int] = 3,
        learners: Iterable[int] = (),
        *,
        seed: int = 1,
        outsiders: Iterable[int] = (),
        **options: Any,
    ) -> None:
        """`outsiders` run with the same ConfState but are not in it; `options` go to every Config."""
        ids = tuple(range(1, voters + 1)) if isinstance(voters, int) else tuple(voters)
        conf_state = ConfState(ids, tuple(learners))
        members = sorted({*ids, *conf_state.learners, *outsiders})
        library: Library = {}
        self.nodes = {member: Node(member, conf_state, seed, library, options) for member in members}
        self.wire: list[Message] = []
        self.delivered: list[Message] = []
        self.down: set[int] = set()
        self._cuts: set[tuple[int, int]] = set()
        self._lost_types: set[int] = set()

    def __getitem__(self, member: int) -> RawNode:
        return self.nodes[member].raw

    # Faults.

    def cut(self, a: int, b: int, *, one_way: bool = False) -> None:
        """Nothing goes from `a` to `b`, nor back unless `one_way`."""
        self._cuts.add((a, b))
        if not one_way:
            self._cuts.add((b, a))

    def isolate(self, member: int) -> None:
        for other in self.nodes:
            self.cut(member, other)

    def lose(self, *types: MessageType) -> None:
        """Messages of these types get lost from now on."""
        self._lost_types |= set(types)

    def heal(self) -> None:
        self._cuts.clear()
        self._lost_types.clear()

    def crash(self, member: int) -> None:
        self.down.add(member)

    def restart(self, member: int) -> None:
        self.down.discard(member)
        self.nodes[member].start()

    # Motion.

    def collect(self) -> None:
        """Everybody pays their Readys; what they send is on the wire."""
        for member, node in self.nodes.items():
            if member not in self.down:
                for message in node.process():
                    self.send(message)

    def send(self, message: Message) -> None:
        if not self._is_lost(message):
            self.wire.append(message)
        elif message.type == MessageType.SNAP:
            self[message.sender].report_snapshot(message.to, False)

    def _is_lost(self, message: Message) -> bool:
        return (message.sender, message.to) in self._cuts or message.type in self._lost_types

    def deliver(self, message: Message) -> None:
        if message.to in self.nodes and message.to not in self.down:
            self.delivered.append(message)
            with suppress(ProposalDropped):  # what a follower forwarded may come too late
                self[message.to].step(message)
            if message.type == MessageType.SNAP:
                self[message.sender].report_snapshot(message.to, True)

    def stabilize(self, until: Callable[[], bool] = lambda: False) -> None:
        """Delivers everything, in order, until nothing is left to do."""
        for _ in range(10_000):
            self.collect()
            if not self.wire or until():
                return
            wire, self.wire = self.wire, []
            for message in wire:
                self.deliver(message)
        raise AssertionError("the network does not come to rest")

    def tick(self, times: int = 1, *, members: Iterable[int] | None = None) -> None:
        """Time passes, everything is delivered after each tick."""
        for _ in range(times):
            for member in self.nodes if members is None else members:
                if member not in self.down:
                    self[member].tick()
            self.stabilize()

    def elect(self, member: int) -> RawNode:
        """Makes `member` the leader; it has to win."""
        self[member].campaign()
        self.stabilize()
        assert self[member].role == Role.LEADER
        return self[member]

    def propose(self, member: int, *data: bytes) -> None:
        for item in data:
            self[member].propose(item)
        self.stabilize()

    @property
    def leaders(self) -> list[int]:
        return [member for member in self.nodes if member not in self.down and self[member].role == Role.LEADER]

    def sent(self, *types: MessageType) -> list[Message]:
        """What was delivered so far, of these types."""
        return [message for message in self.delivered if message.type in types]
