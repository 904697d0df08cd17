"""Everything that looks on: the invariants, and what they share. It changes nothing in the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cluster.state_machine import Position
from raft.messages import ConfState, Entry, Message, Snapshot
from raft.quorum import majority

from . import invariants

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
    was; `canonical` what each store index stands for; `acknowledged` is the highest store index that any client was
    told. `time_lost_at` is the last moment at which a majority of the voters did not know the cluster's time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violation: Violation | None = None
        self.committed: dict[int, int] = {}
        self.committed_in: dict[int, int] = {}
        self.acknowledged = 0
        self.time_lost_at = 0
        self.refusals = 0
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
        member.durable.advance()
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
        if newest is None or len(voters) - knowing >= majority(len(voters)):
            self.time_lost_at = self.world.now


def knows_time(member: SimMember) -> bool:
    return member.state == "running" and member.cluster_clock._offset_ns is not None
