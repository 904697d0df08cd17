"""The product's parts as a member has them, with somebody who looks on: each tells the world what it is asked and does,
and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cluster.applier import Applier
from cluster.clock import ClusterClock
from cluster.state_machine import Position
from etcdpy.state_machine import EtcdStateMachine
from etcdpy.store.store import Store
from raft.config import Config
from raft.errors import StepRefused
from raft.messages import ConfChange, ConfState, Entry, Message, Ready, Snapshot
from raft.rawnode import RawNode
from raft.storage import Storage

if TYPE_CHECKING:
    from .member import SimMember
    from .watch import Watch


class WatchedRawNode(RawNode):
    """Whatever may change what raft thinks is looked at before and after."""

    __slots__ = ("_member", "_watch")

    def __init__(self, config: Config, storage: Storage, member: SimMember, watch: Watch) -> None:
        super().__init__(config, storage)
        self._member = member
        self._watch = watch

    def tick(self) -> None:
        role = self._raft.role
        super().tick()
        self._watch.ticked(self._member, self._raft)
        self._watch.moved(self._member, self._raft, role)

    def step(self, message: Message) -> None:
        watch, member, raft = self._watch, self._member, self._raft
        role = raft.role
        watch.stepping(member, raft, message)
        try:
            super().step(message)
        except StepRefused as refusal:
            watch.refused(member, message, refusal)
            raise
        watch.stepped(member, raft, message)
        watch.moved(member, raft, role)

    def campaign(self) -> None:
        role = self._raft.role
        super().campaign()
        self._watch.moved(self._member, self._raft, role)

    def apply_conf_change(self, change: ConfChange | None) -> ConfState:
        role = self._raft.role
        conf_state = super().apply_conf_change(change)
        self._watch.moved(self._member, self._raft, role)
        return conf_state

    def read_index(self, context: bytes) -> None:
        self._watch.read_asked(self._member, context)
        super().read_index(context)

    def ready(self, **how: Any) -> Ready:
        ready = super().ready(**how)
        if ready.entries:
            self._member.last_handed = ready.entries
        for state in ready.read_states:
            if state.index:
                self._watch.read_confirmed(self._member, state)
        return ready

    def advance(self, ready: Ready) -> None:
        role = self._raft.role
        super().advance(ready)
        self._watch.moved(self._member, self._raft, role)


class WatchedStateMachine(EtcdStateMachine):
    def __init__(self, store: Store, member: SimMember, watch: Watch) -> None:
        super().__init__(store)
        self._member = member
        self._watch = watch

    def apply(self, commands: Sequence[Any], position: Position) -> list[Any]:
        results = super().apply(commands, position)
        self._watch.applied(self._member, commands, position, results)
        return results

    def membership_changed(self, position: Position) -> None:
        super().membership_changed(position)
        self._watch.membership_applied(self._member, position)

    def dump(self) -> Iterator[bytes]:
        self._watch.dumping(self._member)
        return super().dump()


class WatchedApplier(Applier):
    tell_applying: Callable[[Sequence[Entry]], None]
    tell_restored: Callable[[Snapshot], None]

    def apply(self, committed_entries: Sequence[Entry]) -> None:
        if committed_entries:
            self.tell_applying(committed_entries)
        super().apply(committed_entries)

    def restore(self, snapshot: Snapshot | None) -> None:
        super().restore(snapshot)
        if snapshot is not None:
            self.tell_restored(snapshot)


class WatchedClock(ClusterClock):
    tell_stamped: Callable[[int], None]
    tell_assumed: Callable[[int], None]

    def lead(self) -> None:
        knew = self._offset_ns is not None or self._assumed_ns is not None
        super().lead()
        if not knew:
            self.tell_assumed(self.now_ns())

    def stamp_ns(self) -> int:
        stamp = super().stamp_ns()
        self.tell_stamped(stamp)
        return stamp
