"""Applies what is committed, in order: commands to the state machine, membership entries to the membership.

It owns the applied position. Every member runs the same entries through this code, so nothing here may look at
anything but the entry and the state: no clock, no randomness, no question who leads. What an entry answers goes to
`pending`, where on all members but one nobody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from cluster.codec import Kind, pack_value, prefix_of, unpack_proposal, unpack_value
from cluster.membership import Member, Membership, MembershipError, unpack_member
from cluster.pending import Pending
from cluster.state_machine import Position, StateMachine
from raft import confchange
from raft.messages import ConfChange, ConfChangeType, ConfState, Entry, EntryType, Snapshot


class SnapshotContent(NamedTuple):
    """A snapshot file as read: `header` is what `Applier.header` once gave, `pieces` the state machine's own."""

    header: bytes
    pieces: Iterable[bytes]


class Applier:
    """Invariant: the position and the state move together. `applied_commands` counts since this process started."""

    def __init__(
        self,
        state_machine: StateMachine,
        membership: Membership,
        pending: Pending,
        configure: Callable[[ConfChange | None], ConfState],
        read_snapshot: Callable[[Snapshot], SnapshotContent],
    ) -> None:
        self.applied_index = 0
        self.applied_term = 0
        self.applied_commands = 0
        self.stamp_ns = 0
        self._state_machine = state_machine
        self._membership = membership
        self._pending = pending
        self._configure = configure
        self._read_snapshot = read_snapshot

    def apply(self, committed_entries: Sequence[Entry]) -> None:
        """Applies entries that follow one another and the position. Never raises for an entry that was accepted."""
        for entry in committed_entries:
            if entry.type == EntryType.CONF_CHANGE:
                self._apply_conf_change(entry)
            elif entry.data:
                self._apply_proposal(entry)
            self.applied_index, self.applied_term = entry.index, entry.term

    def _apply_proposal(self, entry: Entry) -> None:
        self.stamp_ns = max(self.stamp_ns, prefix_of(entry.data))
        kind, proposal_id, body = unpack_proposal(entry.data)
        position = Position(entry.index, entry.term, self.stamp_ns)
        if kind == Kind.COMMANDS:
            results: Sequence[Any] = self._state_machine.apply(body, position)
            self.applied_commands += len(body)
        else:
            self._publish(body, position)
            results = [None]
        self._pending.resolve(proposal_id, results)

    def _publish(self, body: list[Any], position: Position) -> None:
        member_id, name, client_urls = body
        self._membership.publish(member_id, name, tuple(client_urls))
        self._state_machine.membership_changed(position)

    def _apply_conf_change(self, entry: Entry) -> None:
        change = confchange.decode(entry.data)
        proposal_id, fields = unpack_value(change.context)
        result = self._change_membership(change, unpack_member(fields), entry)
        self._configure(change if result is None else None)
        self._pending.resolve(proposal_id, [result])

    def _change_membership(self, change: ConfChange, member: Member, entry: Entry) -> MembershipError | None:
        try:
            self._membership.check(change, member)
        except MembershipError as refusal:  # two at once; every member refuses the second alike
            return refusal
        is_promotion = change.type == ConfChangeType.ADD_VOTER and self._membership.get(change.node_id) is not None
        self._membership.apply(change, member)
        if not is_promotion:  # etcd has none: there a member votes at once
            self._state_machine.membership_changed(Position(entry.index, entry.term, self.stamp_ns))
        return None

    def header(self) -> bytes:
        """What a snapshot holds besides the state machine's state."""
        return pack_value([self._membership.pack(), self.stamp_ns])

    def restore(self, snapshot: Snapshot | None) -> None:
        """Replaces everything by the snapshot. What waits may be in it or not: its fate is unknown."""
        if snapshot is None:
            return
        content = self._read_snapshot(snapshot)
        membership, self.stamp_ns = unpack_value(content.header)
        self._membership.load(membership)
        self._state_machine.load(content.pieces)
        self.applied_index, self.applied_term = snapshot.index, snapshot.term
        self._pending.lose_sight()
