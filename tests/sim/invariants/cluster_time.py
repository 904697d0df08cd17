"""Cluster time (cluster/clock.py): whoever leads, it runs no faster than true time by more than the clocks do, and
along the log it never goes back, nor for a member while that leads. Else keys would expire early. A leader asks its
wall clock only if a majority has forgotten the time, and then it may be anything that is later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.state_machine import Position
from raft.messages import Role

from ..quorum import is_majority

LEADER = Role.LEADER

TOLERANCE_NS = 2_000_000


class ClusterTime:
    """`_ahead` is the most that anybody's time was ahead of true time at `_at`, when a wall clock was asked last;
    `_stamps` are the times of raft indexes."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world
        self._ahead = self._at = 0
        self._now: dict[Any, tuple[int, int]] = {}
        self._stamps: dict[int, int] = {}
        self._latest = 0, 0

    def stamped(self, member: Any, stamp_ns: int) -> None:
        if not self._leads(member):
            return
        allowed = self._ceiling()
        ahead = stamp_ns - self._world.now
        if ahead > allowed:
            text = f"{member} stamps an entry {(ahead - allowed) / 1e9:.3f} s ahead of the time that was known"
            self._world.fail("cluster time", text)

    def _leads(self, member: Any) -> bool:
        """Whether it is not a leader of old that does not know it yet: its entries do not count any more."""
        return all(other.raw.term <= member.raw.term for other in self._world.running())

    def _ceiling(self) -> int:
        passed = self._world.now - self._at
        return self._ahead + passed * self._world.plan.rate_ppm // 1_000_000 + TOLERANCE_NS

    def assumed_time(self, member: Any, now_ns: int) -> None:
        """Others may know another time, but no majority does."""
        if now_ns < member.applier.stamp_ns:
            self._world.fail("cluster time", f"{member} leads at a time before that of what it has applied")
        if not self._leads(member):
            return
        knowing = [other.id for other in self._world.running() if other.cluster_clock.is_known]
        if is_majority(knowing, member.raw.conf_state.voters):
            self._world.fail("cluster time", f"{member} asks its wall clock, though a majority knows the time")
        self._ahead = max(now_ns - self._world.now, self._ceiling())
        self._at = self._world.now

    def ticked(self, member: Any, raft: Any) -> None:
        if raft.role != LEADER:
            return
        term, before = self._now.get(member, (0, 0))
        now = member.cluster_clock.now_ns()
        if term == raft.term and now < before:
            self._world.fail("cluster time", f"{member}'s time goes back by {(before - now) / 1e9:.3f} s")
        self._now[member] = raft.term, now

    def applied(self, member: Any, commands: Sequence[Any], position: Position, results: Sequence[Any]) -> None:
        index, stamp = position.raft_index, position.now_ns
        if self._stamps.setdefault(index, stamp) != stamp:
            self._world.fail("cluster time", f"{member} applies {index} at {stamp}, others at {self._stamps[index]}")
        if index > self._latest[0]:
            if stamp < self._latest[1]:
                self._world.fail("cluster time", f"{member} applies {index} at a time before that of {self._latest[0]}")
            self._latest = index, stamp
