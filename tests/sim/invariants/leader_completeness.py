"""Leader Completeness (Raft paper, section 5.4, figure 3): what is committed in a term is in the logs of the leaders
of all later terms."""

from __future__ import annotations

from typing import Any

from raft.messages import Role

LEADER = Role.LEADER


class LeaderCompleteness:
    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._checked: set[int] = set()

    def after_step(self, member: Any, raft: Any) -> None:
        if raft.role != LEADER or raft.term in self._checked:
            return
        self._checked.add(raft.term)
        log = raft.log
        for index, committed_in in self._watch.committed_in.items():
            term = self._watch.committed[index]
            if index >= log.first_index and committed_in < raft.term and log.term(index) != term:
                text = f"{member} leads in term {raft.term} without {index} of term {term}, committed in {committed_in}"
                self._watch.world.fail("leader completeness", text)
