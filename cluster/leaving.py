"""When a member that was removed may stop: once somebody else knows it.

A leader that removes itself is the first to know, and may lose its leadership before anybody else does. Were it gone,
the others might count on its vote for ever (with two members, the one that stays does). So what counts is what another
leader has told; who is never told by raft hears it from the transport (HTTP 410), as soon as a peer has applied it.
"""

from __future__ import annotations

from cluster.applier import Applier
from cluster.membership import Membership
from raft.rawnode import RawNode


class Leaving:
    """Call `check` after each `Ready`."""

    def __init__(self, raw: RawNode, membership: Membership, applier: Applier) -> None:
        self._raw = raw
        self._membership = membership
        self._applier = applier
        self._removed_at = 0

    def check(self) -> bool:
        """Whether this member was removed and is not needed any more."""
        if self._raw.id not in self._membership.removed:
            return False
        self._removed_at = self._removed_at or self._applier.applied_index
        return self._raw.commit_told >= self._removed_at
