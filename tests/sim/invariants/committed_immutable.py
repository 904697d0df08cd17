"""Committed entries are for ever (Raft paper, sections 5.3 and 5.4): whatever any member holds for committed at an
index is what every member holds for committed there, at all times."""

from __future__ import annotations

from typing import Any


class CommittedImmutable:
    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._seen: dict[Any, tuple[int, int]] = {}

    def after_step(self, member: Any, raft: Any) -> None:
        log = raft.log
        life, seen = self._seen.get(member, (0, 0))
        if life != member.life:
            seen = 0
        commit = log.commit
        if commit == seen:
            return
        committed = self._watch.committed
        for index in range(max(seen + 1, log.first_index - 1, 1), commit + 1):
            term = log.term(index)
            if term is None or committed.setdefault(index, term) != term:
                text = f"{member} committed {index} of term {term}, and {committed.get(index)} was committed there"
                self._watch.world.fail("committed immutable", text)
            self._watch.committed_in.setdefault(index, raft.term)
        self._seen[member] = (member.life, commit)
        self._watch.committed_index = max(self._watch.committed_index, commit)
