"""A network of RawNodes in one process: deliver, drop, cut, duplicate, reorder, crash. Nothing happens by itself.

Each member is driven exactly as `cluster.ready` drives it in production: messages leave, the save, the promises leave,
the apply, `advance()`. `crash()` keeps only what a MemoryStorage holds, as a disk would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from raft import confchange
from raft.config import Config
from raft.messages import ConfState, Entry, EntryType, Message, MessageType, ReadState, Ready, Role
from raft.rawnode import RawNode
from raft.storage import MemoryStorage


class Node:
    """One member with its disk and a state machine that is the list of what it applied."""

    def __init__(self, member: int, conf_state: ConfState, seed: int, options: dict[str, Any]) -> None:
        self.id = member
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
        options = dict(self._options)
        self.raw = RawNode(Config(id=self.id, random=random, **options), self.storage)
        self.applied = [entry for entry in self.applied if entry.index <= self.raw.applied]

    def process(self) -> list[Message]:
        """Takes and pays Readys until there are none; returns what was sent."""
        sent: list[Message] = []
        while self.raw.has_ready():
            sent += self.process_one()
        return sent

    def process_one(self) -> list[Message]:
        ready = self.raw.ready()
        self.readies.append(ready)
        self.storage.save(ready.hard_state, ready.entries, ready.snapshot)
        self.apply(ready)
        self.read_states += ready.read_states
        self.raw.advance(ready)
        return [*ready.messages, *ready.persisted_messages]

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
        self.nodes = {member: Node(member, conf_state, seed, options) for member in members}
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
                self.wire += [message for message in node.process() if not self._is_lost(message)]

    def _is_lost(self, message: Message) -> bool:
        return (message.sender, message.to) in self._cuts or message.type in self._lost_types

    def deliver(self, message: Message) -> None:
        if message.to in self.nodes and message.to not in self.down:
            self.delivered.append(message)
            self[message.to].step(message)

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
