"""Everything that looks on: the invariants, and what they share. It changes nothing in the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cluster.state_machine import Position
from raft.errors import StepRefused
from raft.messages import ConfState, Entry, Message, ReadState, Role, Snapshot
from raft.raft import Raft

from . import invariants

LEADER = Role.LEADER

if TYPE_CHECKING:
    from .clients import Operation
    from .member import SimMember
    from .world import World


class Violation(Exception):
    """A promise is broken. `invariant` is the name of the file that says which."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant


class Watch:
    """Hands each thing that happens to the invariants that look at it.

    `committed` has the term of each index that any member holds for committed, `committed_in` the term in which that
    was, `committed_index` is the highest one; `acknowledged` is the highest store index that any client was
    told. `time_lost_at` is the last moment at which a majority of the voters did not know the cluster's time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violation: Violation | None = None
        self.committed: dict[int, int] = {}
        self.committed_in: dict[int, int] = {}
        self.committed_index = 0
        self.acknowledged = 0
        self.time_lost_at = 0
        self.invariants = [invariant(self) for invariant in invariants.ALL]
        self._after_step = self._hooks("after_step")
        self._sending = self._hooks("sending")
        self._applying = self._hooks("applying")
        self._applied = self._hooks("applied")
        self._configured = self._hooks("configured")
        self._restored = self._hooks("restored")
        self._recovered = self._hooks("recovered")
        self._became_durable = self._hooks("became_durable")
        self._died = self._hooks("died")
        self._asked = self._hooks("asked")
        self._answered = self._hooks("answered")
        self._at_end = self._hooks("at_end")

        self._stepping = self._hooks("stepping")
        self._stepped = self._hooks("stepped")
        self._moved = self._hooks("moved")
        self._ticked = self._hooks("ticked")
        self._refused = self._hooks("refused")
        self._read_asked = self._hooks("read_asked")
        self._read_confirmed = self._hooks("read_confirmed")
        self._membership_applied = self._hooks("membership_applied")
        self._dumping = self._hooks("dumping")
        self._stamped = self._hooks("stamped")
        self._assumed_time = self._hooks("assumed_time")
        self._retiring = self._hooks("retiring")
        self._promoting = self._hooks("promoting")

    def _hooks(self, name: str) -> list[Callable[..., None]]:
        return [getattr(invariant, name) for invariant in self.invariants if hasattr(invariant, name)]

    def get(self, kind: type[Any]) -> Any:
        return next(invariant for invariant in self.invariants if isinstance(invariant, kind))

    def violated(self, invariant: str, text: str) -> Violation:
        """Product code may be on the stack and swallow what is raised, so it is kept as well."""
        violation = Violation(invariant, text)
        self.violation = self.violation or violation
        return violation

    # What happens.

    def after_step(self, member: SimMember) -> None:
        """A member has done something, and waits or rests."""
        raft = member.raw._raft
        for look in self._after_step:
            look(member, raft)

    def stepping(self, member: SimMember, raft: Raft, message: Message) -> None:
        """A member's raft is about to take a message in."""
        for look in self._stepping:
            look(member, raft, message)

    def stepped(self, member: SimMember, raft: Raft, message: Message) -> None:
        for look in self._stepped:
            look(member, raft, message)

    def moved(self, member: SimMember, raft: Raft, role: int) -> None:
        """A member's raft has done one thing; before, it had that role."""
        if raft.role == LEADER and role != LEADER:
            self.world.faults.elected(member)
        for look in self._moved:
            look(member, raft, role)

    def ticked(self, member: SimMember, raft: Raft) -> None:
        for look in self._ticked:
            look(member, raft)

    def refused(self, member: SimMember, message: Message, refusal: StepRefused) -> None:
        for look in self._refused:
            look(member, message, refusal)

    def read_asked(self, member: SimMember, context: bytes) -> None:
        for look in self._read_asked:
            look(member, context)

    def read_confirmed(self, member: SimMember, state: ReadState) -> None:
        for look in self._read_confirmed:
            look(member, state)

    def sending(self, member: SimMember, message: Message) -> None:
        self.read_disk(member)
        for look in self._sending:
            look(member, message)

    def read_disk(self, member: SimMember) -> None:
        entries = member.durable.advance()
        if entries:
            for look in self._became_durable:
                look(member, entries)

    def applying(self, member: SimMember, entries: Sequence[Entry]) -> None:
        self.read_disk(member)
        for look in self._applying:
            look(member, entries)

    def applied(self, member: SimMember, commands: Sequence[Any], position: Position, results: Sequence[Any]) -> None:
        for look in self._applied:
            look(member, commands, position, results)

    def membership_applied(self, member: SimMember, position: Position) -> None:
        for look in self._membership_applied:
            look(member, position)

    def dumping(self, member: SimMember) -> None:
        """A snapshot is made of a member's state as it is now."""
        for look in self._dumping:
            look(member)

    def stamped(self, member: SimMember, stamp_ns: int) -> None:
        """A leader has given an entry its time."""
        for look in self._stamped:
            look(member, stamp_ns)

    def assumed_time(self, member: SimMember, now_ns: int) -> None:
        """A leader that knew no time has asked its wall clock."""
        for look in self._assumed_time:
            look(member, now_ns)

    def retiring(self, member: SimMember) -> None:
        """A member stops because it was removed."""
        for look in self._retiring:
            look(member)

    def promoting(self, member: SimMember, learner_id: int) -> None:
        """A leader is about to propose that a learner votes."""
        for look in self._promoting:
            look(member, learner_id)

    def configured(self, member: SimMember, index: int, before: ConfState, after: ConfState) -> None:
        """A member has applied the membership change at `index`, or refused it."""
        for look in self._configured:
            look(member, index, before, after)

    def restored(self, member: SimMember, snapshot: Snapshot) -> None:
        for look in self._restored:
            look(member, snapshot)

    def recovered(self, member: SimMember, storage: Any) -> None:
        """A member has read its disk at its start; `member.durable` says what has to be there."""
        for look in self._recovered:
            look(member, storage)
        member.read_disk_again()
        member.durable.unbacked = None  # marks of snapshots that were purged long ago

    def died(self, member: SimMember) -> None:
        for look in self._died:
            look(member)
        self.time_known_changed()

    def asked(self, operation: Operation) -> None:
        for look in self._asked:
            look(operation)

    def answered(self, operation: Operation) -> None:
        for look in self._answered:
            look(operation)
        self.acknowledged = max(self.acknowledged, operation.index)

    def at_end(self) -> None:
        for look in self._at_end:
            look()

    def time_known_changed(self) -> None:
        newest = self.world.most_advanced()
        voters = newest.raw.conf_state.voters if newest is not None else ()
        members = self.world.members
        knowing = sum(voter in members and knows_time(members[voter]) for voter in voters)
        if newest is None or (len(voters) - knowing) * 2 > len(voters):
            self.time_lost_at = self.world.now


def knows_time(member: SimMember) -> bool:
    return member.state == "running" and member.cluster_clock.is_known
