"""Equal states (Raft paper, section 2: replicated state machines): the same store index is the same event on every
member, and at the same applied index the whole state is the same, byte for byte by its hash. A snapshot is the state
at its index."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from cluster.state_machine import Position
from etcdpy.store import snapshot as store_snapshot
from raft.messages import Snapshot

HASH_EVERY = 16
"""Every so many raft indexes, each member's whole state is hashed."""


class AppliedStateEqual:
    """`events` is what each store index stands for: None for what no watcher may see."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._hashes: dict[int, int] = {}
        self._seen: dict[Any, int] = {}
        self.events: dict[int, Any] = {}

    def applied(self, member: Any, commands: Sequence[Any], position: Position, results: Sequence[Any]) -> None:
        self._look_at_events(member)
        if position.raft_index % HASH_EVERY == 0:
            self._compare(member, position.raft_index)

    def restored(self, member: Any, snapshot: Snapshot) -> None:
        self._seen[member] = member.store.index
        if snapshot.index > 0:  # a member that joins begins with nothing
            self._compare(member, snapshot.index)

    def at_end(self) -> None:
        for member in self._world.running():
            if member.applier.applied_index > 0:
                self._compare(member, member.applier.applied_index)

    def _look_at_events(self, member: Any) -> None:
        history = member.store.history
        last, seen, slots = history.last_index, self._seen.get(member, 0), history._slots
        self._seen[member] = last
        events = self.events
        for back in range(1, min(last - seen, len(slots)) + 1):
            index, slot = last - back + 1, slots[-back]
            event = None if slot is None else (slot.action, slot.node, slot.prev_node)
            if events.setdefault(index, event) != event:
                text = f"{member} has {event} at store index {index}, another member {events[index]}"
                self._world.fail("applied state equal", text)

    def _compare(self, member: Any, raft_index: int) -> None:
        dump = b"".join(store_snapshot.dump(member.store)) + repr(member.membership.pack()).encode()
        found = zlib.crc32(dump)
        if self._hashes.setdefault(raft_index, found) != found:
            text = f"{member} has another state than others at raft index {raft_index}"
            self._world.fail("applied state equal", text)
