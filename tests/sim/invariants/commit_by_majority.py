"""What is committed (Raft paper, sections 5.3 and 5.4.2, figure 8; thesis, section 4.2.1): an index becomes committed
when the leader of its entry's own term has it on the disks of a majority of the voters, learners not counted. Entries
of earlier terms are committed by that alone, never by counting them.

Nothing the leader remembers is believed: at the moment when its commit index moves, the disks are read."""

from __future__ import annotations

from typing import Any

from raft.messages import Role

from ..quorum import is_majority

LEADER = Role.LEADER


class CommitByMajority:
    """`_sure` is the highest index that was seen to be committed by the rule. Whoever commits no more than that has
    heard of it."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world
        self._sure = 1

    def moved(self, member: Any, raft: Any, role: int) -> None:
        commit = raft.log.commit
        if commit <= self._sure:
            return
        self._check(member, raft, role, commit)
        self._sure = commit

    def _check(self, member: Any, raft: Any, role: int, commit: int) -> None:
        if role != LEADER and raft.role != LEADER:
            self._fail(member, f"commits {commit}, and no leader has committed more than {self._sure}")
        term = raft.log.term(commit)
        if term != raft.term:
            self._fail(member, f"commits {commit} of term {term} by counting in its term {raft.term}")
        voters = raft.tracker.conf_state.voters
        holders = [voter for voter in voters if self._holds(voter, commit, term)]
        if not is_majority(holders, voters):
            self._fail(member, f"commits {commit} of term {term}, which {len(holders)} of {len(voters)} voters have")

    def _holds(self, voter: int, index: int, term: int) -> bool:
        member = self._world.members.get(voter)
        if member is None:
            return False
        if not member.durable.holds(index, term):
            self._watch.read_disk(member)
        return member.rotten or member.durable.holds(index, term)

    def _fail(self, member: Any, text: str) -> None:
        self._world.fail("commit by majority", f"{member} {text}")
