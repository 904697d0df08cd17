"""Election Safety (Raft paper, section 5.2, figure 3): at most one leader can be elected in a given term."""

from __future__ import annotations

from typing import Any

from raft.messages import Role

LEADER = Role.LEADER


class ElectionSafety:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._leaders: dict[int, Any] = {}

    def after_step(self, member: Any, raft: Any) -> None:
        if raft.role == LEADER:
            first = self._leaders.setdefault(raft.term, member)
            if first is not member:
                self._world.fail("election safety", f"{first} and {member} both lead in term {raft.term}")
