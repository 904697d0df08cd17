"""The applier: positions, membership entries, and what a snapshot carries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cluster.applier import Applier, SnapshotContent
from cluster.codec import Kind, Proposal, pack_commands, pack_proposal, pack_value, with_prefix
from cluster.membership import Member, MemberExists, Membership
from cluster.pending import Pending, Waiting
from cluster.state_machine import Position
from raft import confchange
from raft.messages import ConfChange, ConfChangeType, ConfState, Entry, EntryType, Snapshot

A = Member(1, "a", ("http://a:1",))
B = Member(2, "", ("http://b:1",))


class Recorder:
    """A state machine that keeps what it was given."""

    def __init__(self) -> None:
        self.applied: list[tuple[Any, Position]] = []
        self.membership_changes: list[Position] = []

    def apply(self, commands: Sequence[Any], position: Position) -> Sequence[Any]:
        self.applied += [(command, position) for command in commands]
        return [f"did {command}" for command in commands]

    def membership_changed(self, position: Position) -> None:
        self.membership_changes.append(position)

    def dump(self) -> Iterator[bytes]:
        yield pack_value([command for command, _ in self.applied])

    def load(self, pieces: Iterable[bytes]) -> None:
        self.applied = [(piece, Position(0, 0, 0)) for piece in pieces]


class Bench:
    def __init__(self) -> None:
        self.machine = Recorder()
        self.membership = Membership(9, [A])
        self.pending = Pending()
        self.configured: list[ConfChange | None] = []
        self.snapshots: dict[int, SnapshotContent] = {}
        self.applier = Applier(
            self.machine,
            self.membership,
            self.pending,
            self._configure,
            lambda snapshot: self.snapshots[snapshot.index],
        )

    def _configure(self, change: ConfChange | None) -> ConfState:
        self.configured.append(change)
        return ConfState(self.membership.voters)

    def wait_for(self, proposal_id: int) -> list[Any]:
        answers: list[Any] = []
        self.pending.add(proposal_id, Waiting(1, 0.0, 9.0, [answers.append], b""))
        return answers


def commands(index: int, stamp: int, *what: str, proposal_id: int = 7) -> Entry:
    return Entry(
        1, index, EntryType.NORMAL, with_prefix(stamp, pack_commands(proposal_id, [pack_value(w) for w in what]))
    )


def conf_change(index: int, type_: ConfChangeType, member: Member, proposal_id: int = 8) -> Entry:
    change = ConfChange(type_, member.id, pack_value([proposal_id, member]))
    return Entry(1, index, EntryType.CONF_CHANGE, confchange.encode(change))


def test_commands_are_applied_at_the_entrys_position_and_their_waiter_is_answered() -> None:
    bench = Bench()
    answers = bench.wait_for(7)
    bench.applier.apply([commands(3, 500, "x")])
    assert bench.machine.applied == [("x", Position(3, 1, 500))]
    assert answers == ["did x"]
    assert (bench.applier.applied_index, bench.applier.applied_term, bench.applier.applied_commands) == (3, 1, 1)


def test_time_does_not_go_back_when_a_new_leaders_clock_is_behind() -> None:
    bench = Bench()
    bench.applier.apply([commands(3, 500, "x"), commands(4, 400, "y")])
    assert [position.now_ns for _, position in bench.machine.applied] == [500, 500]


def test_a_new_leaders_empty_entry_only_moves_the_position() -> None:
    bench = Bench()
    bench.applier.apply([Entry(5, 3)])
    assert (bench.applier.applied_index, bench.applier.applied_term) == (3, 5)
    assert bench.machine.applied == []


def test_a_membership_entry_changes_the_membership_tells_raft_and_answers() -> None:
    bench = Bench()
    answers = bench.wait_for(8)
    bench.applier.apply([conf_change(3, ConfChangeType.ADD_VOTER, B)])
    assert bench.membership.voters == (1, 2)
    assert [change.node_id for change in bench.configured if change] == [2]
    assert answers == [None]
    assert len(bench.machine.membership_changes) == 1


def test_the_second_of_two_equal_changes_is_refused_at_apply_and_raft_hears_that_nothing_changed() -> None:
    bench = Bench()
    bench.applier.apply([conf_change(3, ConfChangeType.ADD_VOTER, B)])
    answers = bench.wait_for(9)
    bench.applier.apply([conf_change(4, ConfChangeType.ADD_VOTER, B, proposal_id=9)])
    assert bench.configured[-1] is None
    assert isinstance(answers[0], MemberExists)
    assert len(bench.machine.membership_changes) == 1


def test_published_attributes_reach_the_membership() -> None:
    bench = Bench()
    answers = bench.wait_for(5)
    proposal = Proposal(Kind.ATTRIBUTES, 5, [A.id, "new", ["http://a:2"]])
    bench.applier.apply([Entry(1, 3, EntryType.NORMAL, with_prefix(1, pack_proposal(proposal)))])
    assert bench.membership.get(A.id) == A._replace(name="new", client_urls=("http://a:2",))
    assert answers == [None]


def test_a_snapshot_carries_membership_time_and_state() -> None:
    source = Bench()
    source.applier.apply([commands(3, 500, "x"), conf_change(4, ConfChangeType.ADD_VOTER, B)])
    target = Bench()
    target.snapshots[4] = SnapshotContent(source.applier.header(), source.machine.dump())
    answers = target.wait_for(7)
    target.applier.restore(Snapshot(4, 1, ConfState((1, 2))))
    assert target.membership.pack() == source.membership.pack()
    assert target.machine.applied[0][0] == pack_value(["x"])
    assert (target.applier.applied_index, target.applier.stamp_ns) == (4, 500)
    assert answers == []
    assert target.pending.take_dead(applied_term=99) == []


def test_a_promotion_is_no_event_of_its_own() -> None:
    bench = Bench()
    bench.applier.apply([conf_change(3, ConfChangeType.ADD_LEARNER, B)])
    assert bench.membership.voters == (1,)
    bench.applier.apply([conf_change(4, ConfChangeType.ADD_VOTER, B)])
    assert bench.membership.voters == (1, 2)
    assert len(bench.machine.membership_changes) == 1
