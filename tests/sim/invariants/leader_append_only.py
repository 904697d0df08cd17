"""Leader Append-Only (Raft paper, section 5.3, figure 3): a leader never overwrites or deletes entries in its log."""

from __future__ import annotations

from typing import Any

from raft.messages import Role

LEADER = Role.LEADER


class LeaderAppendOnly:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._ends: dict[tuple[Any, int], tuple[int, int]] = {}

    def after_step(self, member: Any, raft: Any) -> None:
        if raft.role != LEADER:
            return
        log, key = raft.log, (member, raft.term)
        end = self._ends.get(key)
        if end is not None:
            index, term = end
            if log.last_index < index or log.term(index) not in (term, None):
                self._world.fail("leader append-only", f"{member} had {index} of term {term} in its term {raft.term}")
            if log.last_index == index:
                return
        self._ends[key] = (log.last_index, log.last_term)
