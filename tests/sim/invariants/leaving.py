"""Who was removed leaves in order (Raft paper, section 6; thesis, sections 4.2.2 and 4.2.3): a member stops once some
other one holds its removal for committed, and a leader that removed itself leads until a majority of those that stay
has that on its disks, and takes nothing new in. Before, they might need its vote."""

from __future__ import annotations

from typing import Any

from raft.messages import ConfState, Role

from ..quorum import is_majority

LEADER = Role.LEADER


class Leaving:
    """`_removed` has the index at which a member went, `_led` the term that it led last, `_ends` where the log of a
    removed leader ends."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world
        self._removed: dict[int, int] = {}
        self._led: dict[Any, int] = {}
        self._ends: dict[tuple[Any, int], int] = {}
        self._ticking = False

    def configured(self, member: Any, index: int, before: ConfState, after: ConfState) -> None:
        for gone in set(before.voters + before.learners) - set(after.voters + after.learners):
            self._removed.setdefault(gone, index)

    def retiring(self, member: Any) -> None:
        index = self._removed.get(member.id)
        if index is None:
            self._world.fail("leaving", f"{member} stops, and nobody has removed it")
        elif not any(self._knows(other, index) for other in self._world.members.values() if other is not member):
            self._world.fail("leaving", f"{member} stops, and nobody else knows of its removal at {index}")

    def _knows(self, other: Any, index: int) -> bool:
        self._watch.read_disk(other)
        running = other.state == "running"
        return other.durable.hard_state.commit >= index or (running and other.raw.commit >= index)

    def ticked(self, member: Any, raft: Any) -> None:
        self._ticking = True

    def moved(self, member: Any, raft: Any, role: int) -> None:
        """Without a quorum, or for a newer term, a leader steps down in any case."""
        ticking, self._ticking = self._ticking, False
        if raft.role == LEADER:
            self._led[member] = raft.term
            self._check_takes_nothing(member, raft)
        elif role == LEADER and not ticking and self._led.get(member) == raft.term:
            self._check_may_step_down(member, raft)

    def _check_takes_nothing(self, member: Any, raft: Any) -> None:
        if member.id in raft.tracker.conf_state.voters:
            return
        end = self._ends.setdefault((member, raft.term), raft.log.last_index)
        if raft.log.last_index > end:
            self._world.fail("leaving", f"{member} appends {raft.log.last_index}, and was removed")

    def _check_may_step_down(self, member: Any, raft: Any) -> None:
        voters, index = raft.tracker.conf_state.voters, self._removed.get(member.id)
        if index is None:
            self._world.fail("leaving", f"{member} gives up its term {raft.term} for no reason")
        elif not is_majority([voter for voter in voters if self._knows_for_good(voter, index)], voters):
            self._world.fail(
                "leaving", f"{member} gives up its term {raft.term}; too few know of its removal at {index}"
            )

    def _knows_for_good(self, voter: int, index: int) -> bool:
        other = self._world.members.get(voter)
        if other is None:
            return False
        self._watch.read_disk(other)
        return bool(other.rotten or other.durable.hard_state.commit >= index)
