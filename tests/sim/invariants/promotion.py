"""A learner is made a voter by its leader only when it has answered and nearly caught up (thesis, section 4.2.1; etcd
21737): it would count for the majority before it can help to form one. What an operator wants is his own affair."""

from __future__ import annotations

from typing import Any

ENTRIES = 100


class PromotedWhenCaughtUp:
    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world

    def promoting(self, member: Any, learner_id: int) -> None:
        learner = self._world.members.get(learner_id)
        if learner is not None:
            self._watch.read_disk(learner)
        has, end = (learner.durable.last if learner is not None else 0), member.raw._raft.log.last_index
        if not has or has < end - ENTRIES:
            self._world.fail("promotion", f"{member} promotes {learner}, which has {has} of {end} entries")
