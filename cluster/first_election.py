"""The first election after a start, without waiting for a timeout that nothing calls for.

A member that has just started knows no leader, and would wait an election timeout before it stands. It need not:
once it reaches a majority, it may stand, as pre-vote keeps it from unseating a leader that the others hear. The
members take turns by id, so that those who start together do not split the vote. (etcd shortens the wait too:
`--initial-election-tick-advance`.)
"""

from __future__ import annotations

from cluster.node import ClusterNode

TICKS_PER_TURN = 3
"""Enough for one member's election to succeed or fail before the next one stands."""


class FirstElection:
    """Call `check` at each tick."""

    def __init__(self, node: ClusterNode) -> None:
        self._node = node
        self._ticks = 0
        self._over = False

    def check(self) -> None:
        """Has this member stand once, when its turn comes, unless a leader is heard before."""
        if self._over:
            return
        status, voters = self._node.status, self._node.membership.voters
        if status.lead or status.member_id not in voters:
            self._over = True
        elif len(self._node.reachable().intersection(voters)) > len(voters) // 2:
            if self._ticks >= TICKS_PER_TURN * voters.index(status.member_id):
                self._node.campaign()
                self._over = True
            self._ticks += 1
