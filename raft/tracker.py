"""Who the members are, what each of them has of the log, and how they voted.

Invariants: `progress` has exactly the members of `conf_state`; `peers` are those but this member, sorted by id, so
that nothing depends on the order of a set.
"""

from __future__ import annotations

from raft.config import Config
from raft.messages import ConfState
from raft.progress import Inflights, Progress
from raft.quorum import VoteResult, committed_index, majority, vote_result


class Tracker:
    __slots__ = ("_config", "conf_state", "peers", "progress", "votes")

    def __init__(self, config: Config) -> None:
        self._config = config
        self.conf_state = ConfState()
        self.progress: dict[int, Progress] = {}
        self.peers: tuple[Progress, ...] = ()
        self.votes: dict[int, bool] = {}

    def configure(self, conf_state: ConfState, next_index: int) -> None:
        """Takes the new members on; who stays keeps its progress, who is new is probed from `next_index`."""
        known = self.progress
        self.conf_state = conf_state
        self.progress = {
            member: known.get(member) or self._new_progress(member, next_index)
            for member in sorted(conf_state.voters + conf_state.learners)
        }
        self.peers = tuple(progress for member, progress in self.progress.items() if member != self._config.id)

    def reset(self, next_index: int) -> None:
        """Forgets what the members have: a new leader, or a new term, knows nothing."""
        self.votes = {}
        self.progress = {}
        self.configure(self.conf_state, next_index)
        for progress in self.peers:
            progress.recent_active = False

    def _new_progress(self, member: int, next_index: int) -> Progress:
        inflights = Inflights(self._config.max_inflight_messages, self._config.max_inflight_bytes)
        progress = Progress(member, next_index, inflights)
        progress.recent_active = True  # a newcomer must not cost the leader its quorum before it could speak
        return progress

    def is_voter(self, member: int) -> bool:
        return member in self.conf_state.voters

    def committed_index(self) -> int:
        """The largest index that a majority of the voters has on disk."""
        progress = self.progress
        return committed_index([progress[voter].match for voter in self.conf_state.voters])

    def known_committed_index(self) -> int:
        """The largest index that a majority of the voters knows to be committed."""
        progress = self.progress
        return committed_index([progress[voter].commit for voter in self.conf_state.voters])

    def record_vote(self, member: int, granted: bool) -> VoteResult:
        """The first answer of each member counts; says how the election stands."""
        self.votes.setdefault(member, granted)
        return vote_result(self.conf_state.voters, self.votes)

    def quorum_active(self) -> bool:
        """Whether a majority, this member included, was heard since the last question; starts the next period."""
        voters = self.conf_state.voters
        active = sum(voter == self._config.id or self.progress[voter].recent_active for voter in voters)
        for progress in self.peers:
            progress.recent_active = False
        return active >= majority(len(voters))
