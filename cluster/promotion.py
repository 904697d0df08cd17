"""Makes voters of learners, once they have caught up with the leader (Raft thesis, section 4.2.1).

A new member that voted at once would count for the majority before it can help to form one: adding a second member
to a cluster of one would stop it until that member has started and caught up.
"""

from __future__ import annotations

from cluster.errors import ClusterError
from cluster.membership import MembershipError
from cluster.node import ClusterNode
from raft.messages import ConfChangeType, Role
from raft.rawnode import RawNode

CAUGHT_UP_ENTRIES = 100
"""A learner that has answered and is no further behind than this has caught up: the rest comes with the next
messages."""


class Promotion:
    """Call `check` at each tick, and after each `Ready`, so that a member that has come back counts at once."""

    def __init__(self, node: ClusterNode, raw: RawNode) -> None:
        self._node = node
        self._raw = raw
        self._under_way = False

    def check(self) -> None:
        """Proposes the promotion of one learner, if this member leads and one is ready."""
        if self._under_way or self._raw.role != Role.LEADER or not self._raw.conf_state.learners:
            return
        status = self._raw.status()
        for learner in self._raw.conf_state.learners:
            progress, member = status.progress[learner], self._node.membership.get(learner)
            # A newcomer counts as active before it has said anything; only its answers tell that it is there.
            has_answered = progress.recent_active and progress.match > 0
            if member and has_answered and status.last_index - progress.match <= CAUGHT_UP_ENTRIES:
                self._under_way = True
                self._node.change_membership(ConfChangeType.ADD_VOTER, member, self._done)
                return

    def _done(self, result: MembershipError | ClusterError | None) -> None:
        self._under_way = False
