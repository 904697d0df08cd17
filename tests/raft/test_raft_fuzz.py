"""Random schedules against the promises of the paper (figure 3).

Three to five members, messages lost, doubled and reordered, crashes at every point of a Ready (only what was saved
survives), steps between `ready()` and `advance()`, compaction and snapshots, transfers and membership changes, all
decided by one seed. The promises are checked after each step; in the end everything heals and the members must
converge. A failure prints the seed.
"""

from __future__ import annotations

from random import Random

import pytest
from network import Network, Node

from raft.errors import ProposalDropped
from raft.messages import ConfChange, ConfChangeType, Entry, HardState, Message, MessageType, Ready, Role

STEPS = 3000


class Promises:
    """Figure 3 of the paper, watched from outside."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.entries: dict[tuple[int, int], tuple[bytes, int]] = {}
        self.applied: dict[int, Entry] = {}
        self.votes: dict[tuple[int, int], int] = {}
        self.disk: dict[int, HardState] = {}
        self.commit = 0
        self.lead_logs: dict[tuple[int, int], int] = {}

    def saved(self, node: Node, hard_state: HardState | None, entries: tuple[Entry, ...]) -> None:
        if hard_state is not None:
            before = self.disk.get(node.id, HardState())
            assert hard_state.term >= before.term, "terms never go back (5.1)"
            assert hard_state.commit >= before.commit, "the commit index never goes back"
            self.disk[node.id] = hard_state
            if hard_state.vote:
                vote = self.votes.setdefault((node.id, hard_state.term), hard_state.vote)
                assert vote == hard_state.vote, "at most one vote in a term (5.2)"
        for entry in entries:
            prev_term = node.storage.term(entry.index - 1)
            known = self.entries.setdefault((entry.term, entry.index), (entry.data, prev_term))
            assert known == (entry.data, prev_term), "Log Matching (5.3)"

    def applying(self, node: Node, entries: tuple[Entry, ...]) -> None:
        for expected, entry in enumerate(entries, node.applied[-1].index + 1 if node.applied else 1):
            assert entry.index == expected, "nothing is skipped or repeated"
            assert self.applied.setdefault(entry.index, entry) == entry, "State Machine Safety (5.4.3)"
            assert node.storage.term(entry.index) == entry.term, "what is applied is on the own disk"

    def look(self, node: Node) -> None:
        raw = node.raw
        self.commit = max(self.commit, raw.commit)
        if raw.role == Role.LEADER:
            assert self.leaders.setdefault(raw.term, node.id) == node.id, "Election Safety (5.2)"
            log = raw._raft.log
            last = self.lead_logs.get((node.id, raw.term))
            if last is None:
                for index, entry in self.applied.items():
                    held = log.term(index)
                    assert held in (entry.term, None), "Leader Completeness (5.4)"
                    assert held is not None or index < log.first_index, "Leader Completeness (5.4)"
            assert last is None or log.last_index >= last, "Leader Append-Only (5.3)"
            self.lead_logs[node.id, raw.term] = log.last_index
            sizes = raw._raft.uncommitted_sizes
            assert len(sizes) == log.last_index - log.commit
            assert sum(sizes) == raw._raft.uncommitted_bytes


class Schedule:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        voters = self.random.choice([1, 2, 3, 3, 3, 4, 5])
        self.net = Network(
            voters,
            outsiders=(voters + 1,),
            seed=seed,
            pre_vote=self.random.random() < 0.8,
            check_quorum=self.random.random() < 0.8,
            max_entries_bytes_per_message=self.random.choice([1, 20, 1 << 20]),
            max_committed_bytes_per_ready=self.random.choice([1, 1 << 20]),
            max_inflight_messages=self.random.choice([1, 3, 256]),
            max_uncommitted_bytes=self.random.choice([30, 1 << 20]),
        )
        self.promises = Promises()
        self.speed = {member: self.random.choice([0.3, 0.9, 0.9, 1.0]) for member in self.net.nodes}
        self.outstanding: dict[int, tuple[Ready, bool]] = {}
        self.asked: dict[tuple[int, bytes], int] = {}
        self.count = 0
        self.loss = self.random.choice([0.0, 0.05, 0.3])
        self.chaos = [
            (60, self.work),
            (60, self.deliver),
            (15, self.tick),
            (8, self.propose),
            (8, self.read),
            (0.3, self.crash),
            (1, self.restart),
            (0.2, self.cut),
            (0.4, self.partition),
            (0.3, self.heal),
            (0.1, self.crash_all),
            (1, self.compact),
            (0.3, self.transfer),
            (0.5, self.change_members),
            (0.5, self.unreachable),
        ]

    # One thing at a time, at one member.

    def pick(self) -> Node:
        return self.random.choice(list(self.net.nodes.values()))

    def up(self) -> Node | None:
        node = self.pick()
        return None if node.id in self.net.down else node

    def work(self) -> None:
        """A Ready in three strokes, between which anything can happen: taken, saved, given back."""
        node = self.up()
        if node is None:
            return
        ready, saved = self.outstanding.get(node.id, (None, False))
        if ready is None:
            if node.raw.has_ready():
                self.take(node)
        elif not saved:
            self.save(node, ready)
        else:
            del self.outstanding[node.id]
            for state in ready.read_states:
                asked_at = self.asked.pop((node.id, state.context))
                assert state.index == 0 or state.index >= asked_at, "a read never goes back in time (8)"
            node.raw.advance(ready)

    def take(self, node: Node) -> None:
        ready = node.raw.ready()
        self.send(ready.messages)
        self.promises.applying(node, ready.committed_entries)
        node.apply(ready)
        self.outstanding[node.id] = (ready, False)

    def save(self, node: Node, ready: Ready) -> None:
        node.save(ready)
        self.promises.saved(node, ready.hard_state, ready.entries)
        self.send(ready.persisted_messages)
        self.outstanding[node.id] = (ready, True)

    def send(self, messages: tuple[Message, ...]) -> None:
        for message in messages:
            if self.random.random() < self.loss:
                if message.type == MessageType.SNAP:
                    self.net[message.sender].report_snapshot(message.to, False)
                continue
            self.net.send(message)
            if self.random.random() < self.loss:
                self.net.send(message)

    def deliver(self) -> None:
        wire = self.net.wire
        if wire:
            position = self.random.randrange(len(wire)) if self.random.random() < 0.3 else 0
            self.net.deliver(wire.pop(position))

    def tick(self) -> None:
        for member, node in self.net.nodes.items():
            if member not in self.net.down and self.random.random() < self.speed[member]:
                node.raw.tick()

    def busy(self) -> Node | None:
        """A leader more often than not, and not always the right one."""
        leaders = self.net.leaders
        if leaders and self.random.random() < 0.7:
            return self.net.nodes[self.random.choice(leaders)]
        return self.up()

    def propose(self) -> None:
        if node := self.busy():
            self.count += 1
            try:
                node.raw.propose(b"%d" % self.count)
            except ProposalDropped:
                return

    def read(self) -> None:
        if node := self.busy():
            self.count += 1
            context = b"%d" % (self.count % 3 if self.random.random() < 0.1 else self.count)
            if (node.id, context) not in self.asked:
                self.asked[node.id, context] = self.promises.commit
                node.raw.read_index(context)

    def crash(self) -> None:
        self.crash_one(self.pick().id)

    def crash_one(self, member: int) -> None:
        self.outstanding.pop(member, None)
        self.asked = {key: index for key, index in self.asked.items() if key[0] != member}
        self.net.crash(member)

    def restart(self) -> None:
        for member in list(self.net.down):
            self.net.restart(member)

    def cut(self) -> None:
        a, b = self.pick(), self.pick()
        self.net.cut(a.id, b.id, one_way=self.random.random() < 0.5)

    def partition(self) -> None:
        """A leader and perhaps one more on one side, the others on the other."""
        leaders = self.net.leaders
        side = {self.random.choice(leaders) if leaders else self.pick().id}
        if len(self.net.nodes) > 4 and self.random.random() < 0.5:
            side.add(self.pick().id)
        for a in side:
            for b in self.net.nodes.keys() - side:
                self.net.cut(a, b)

    def heal(self) -> None:
        self.net.heal()

    def crash_all(self) -> None:
        for member in self.net.nodes:
            if self.random.random() < 0.7:
                self.crash_one(member)

    def compact(self) -> None:
        node = self.up()
        if node is not None and node.id not in self.outstanding and node.raw.applied >= node.storage.first_index:
            node.compact(keep=self.random.randrange(5))

    def transfer(self) -> None:
        if node := self.up():
            node.raw.transfer_leader(self.pick().id)

    def change_members(self) -> None:
        if node := self.up():
            try:
                node.raw.propose_conf_change(ConfChange(self.random.choice(list(ConfChangeType)), self.pick().id))
            except ProposalDropped:
                return

    def unreachable(self) -> None:
        if node := self.up():
            node.raw.report_unreachable(self.pick().id)

    # The whole.

    def run(self, steps: int) -> None:
        weights = [weight for weight, _ in self.chaos]
        actions = [action for _, action in self.chaos]
        for action in self.random.choices(actions, weights, k=steps):
            action()
            for node in self.net.nodes.values():
                if node.id not in self.net.down:
                    self.promises.look(node)
            if len(self.net.wire) > 200:
                del self.net.wire[:100]

    def settle(self) -> None:
        """Everything heals: then there is a leader, and progress, and all members hold the same."""
        self.loss = 0.0
        self.net.heal()
        for member in list(self.net.down):
            self.net.restart(member)
        for member, (ready, saved) in self.outstanding.items():
            node = self.net.nodes[member]
            if not saved:
                node.save(ready)
            self.net.wire += ready.persisted_messages
            node.raw.advance(ready)
        # Snapshots on the wire may have been trimmed away: their senders owe a report.
        for node in self.net.nodes.values():
            for other in self.net.nodes:
                node.raw.report_snapshot(other, False)
        self.net.wire.clear()
        self.net.tick(200)
        for _ in range(50):
            if self.net.leaders:
                break
            self.net.tick(10)
        leaders = [node for node in self.net.nodes.values() if node.raw.role == Role.LEADER]
        assert len(leaders) == 1, "after healing there is one leader"
        leaders[0].raw.propose(b"last")
        self.net.tick(30)
        conf_state = leaders[0].raw.conf_state
        for member in conf_state.voters + conf_state.learners:
            node = self.net.nodes[member]
            assert node.data == leaders[0].data, "all members converge"
            assert node.data[-1] == b"last", "after healing there is progress"


@pytest.mark.parametrize("seed", range(60))
def test_promises_hold_under_any_schedule(seed: int) -> None:
    print(f"REPRODUCE: pytest 'tests/raft/test_raft_fuzz.py::test_promises_hold_under_any_schedule[{seed}]'")
    schedule = Schedule(seed)
    schedule.run(STEPS)
    schedule.settle()


def trace(seed: int) -> list[object]:
    schedule = Schedule(seed)
    schedule.run(400)
    return [(node.id, node.raw.status(), node.log, node.data) for node in schedule.net.nodes.values()]


def test_same_seed_same_history() -> None:
    assert trace(7) == trace(7)
