"""One configuration change at a time (thesis, section 4.1; Ongaro, raft-dev, July 2015): a leader appends a
membership change only when every earlier one is committed and it has itself committed an entry of its term. Each
configuration differs from the one before by one voter, and all members go through the same ones; the paper's
majorities (section 6) overlap only then. A removed member never comes back."""

from __future__ import annotations

from typing import Any

from raft.messages import ConfState, Entry, EntryType, Role

CONF_CHANGE, LEADER = EntryType.CONF_CHANGE, Role.LEADER


class OneChange:
    """`configurations` has what each change, by its index in the log, has led to."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world
        self._looked: dict[tuple[Any, int], int] = {}
        self.configurations: dict[int, ConfState] = {}
        self._gone: dict[int, int] = {}

    def after_step(self, member: Any, raft: Any) -> None:
        if raft.role == LEADER:
            self._look_at_new_entries(member, raft)

    def _look_at_new_entries(self, member: Any, raft: Any) -> None:
        log, key = raft.log, (member, raft.term)
        looked = self._looked.get(key, raft.term_start - 1)
        if looked >= log.last_index:
            return
        self._looked[key] = log.last_index
        for index in range(max(looked + 1, log.first_index), log.last_index + 1):
            entry = log.entries(index, index + 1, 1)[0]
            if entry.type == CONF_CHANGE:
                self._appended(member, raft, entry)

    def _appended(self, member: Any, raft: Any, entry: Entry) -> None:
        if not raft.committed_in_term:
            text = f"{member} appends a change at {entry.index} before it committed anything in term {raft.term}"
            self._world.fail("one change", text)
        log = raft.log
        for index in range(max(log.commit + 1, log.first_index), entry.index):
            if log.entries(index, index + 1, 1)[0].type == CONF_CHANGE:
                self._world.fail("one change", f"{member} appends a change at {entry.index} while {index} is pending")

    def configured(self, member: Any, index: int, before: ConfState, after: ConfState) -> None:
        known = self.configurations.setdefault(index, after)
        if known != after:
            self._world.fail("one change", f"{member} makes {after} of entry {index}, another member {known}")
        self._check_membership(member, after)
        if len(set(before.voters) ^ set(after.voters)) > 1:
            self._world.fail("one change", f"{member}: {before} became {after} at once")
        self._check_removed(member, index, set(before.voters + before.learners), after)

    def restored(self, member: Any, snapshot: Any) -> None:
        if snapshot.index > 0:  # a member that joins knows of the others, and raft does not yet
            self._check_membership(member, member.raw.conf_state)

    def _check_membership(self, member: Any, current: ConfState) -> None:
        """What raft counts with is what the state machine shows."""
        voters = member.membership.voters
        learners = [each.id for each in member.membership.members if each.is_learner]
        if sorted(voters) != sorted(current.voters) or sorted(learners) != sorted(current.learners):
            self._world.fail("one change", f"{member} has {current}, its membership {voters} and learners {learners}")

    def _check_removed(self, member: Any, index: int, before: set[int], current: ConfState) -> None:
        now = set(current.voters + current.learners)
        for gone in before - now:
            self._gone.setdefault(gone, index)
        back = [id_ for id_ in now if self._gone.get(id_, index) < index]
        if back:
            self._world.fail("one change", f"{member}: entry {index} brings removed members back: {back}")
