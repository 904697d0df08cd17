"""A replicated counter on raft alone: three members in one process, agreeing on additions.

Everything a caller owes is in `Member.work`: send, save, send the promises, apply, advance. Time, network and disk are
the plainest there are (a loop, a list, a MemoryStorage); replace them by real ones and nothing else changes.

Run it: python examples/replicated_counter.py
"""

from __future__ import annotations

from random import Random

from raft.config import Config
from raft.messages import ConfState, Message, Ready, Role
from raft.rawnode import RawNode
from raft.storage import MemoryStorage

Wire = list[Message]


class Member:
    """One member: the consensus, a disk, and the state machine, which is a number."""

    def __init__(self, member: int, conf_state: ConfState) -> None:
        self.storage = MemoryStorage(conf_state)
        self.raw = RawNode(Config(id=member, random=Random(member)), self.storage)
        self.counter = 0

    def work(self, wire: Wire) -> None:
        """Pays every Ready, in the order that makes Raft's promises true."""
        while self.raw.has_ready():
            ready = self.raw.ready()
            wire += ready.messages
            self.storage.save(ready.hard_state, ready.entries, ready.snapshot)
            wire += ready.persisted_messages
            self.apply(ready)
            self.raw.advance(ready)

    def apply(self, ready: Ready) -> None:
        for entry in ready.committed_entries:
            if entry.data:  # a new leader's first entry is empty
                self.counter += int(entry.data)


class Cluster:
    def __init__(self, size: int) -> None:
        members = tuple(range(1, size + 1))
        self.members = {member: Member(member, ConfState(members)) for member in members}
        self.down: set[int] = set()

    def tick(self) -> None:
        """Lets one unit of time pass, and delivers all messages."""
        for member in self.up():
            member.raw.tick()
        self.deliver()

    def deliver(self) -> None:
        wire: Wire = []
        while True:
            for member in self.up():
                member.work(wire)
            if not wire:
                return
            for message in wire:
                if message.to not in self.down:
                    self.members[message.to].raw.step(message)
            wire = []

    def up(self) -> list[Member]:
        return [member for name, member in self.members.items() if name not in self.down]

    def leader(self) -> RawNode:
        """Ticks until somebody leads."""
        while not (leading := [member.raw for member in self.up() if member.raw.role == Role.LEADER]):
            self.tick()
        return leading[0]

    def add(self, amount: int) -> None:
        self.leader().propose(b"%d" % amount)
        self.deliver()


def main() -> None:
    cluster = Cluster(3)
    cluster.add(40)
    cluster.down.add(cluster.leader().id)  # the leader dies; the others go on
    cluster.add(2)
    cluster.down.clear()  # it comes back, and catches up
    for _ in range(3):
        cluster.tick()
    print({name: member.counter for name, member in cluster.members.items()})


if __name__ == "__main__":
    main()
