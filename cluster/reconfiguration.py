"""Which membership changes are safe to begin (etcd's `--strict-reconfig-check`). Pure.

A change is refused if after it the members that can be reached could not form a majority: the cluster would stop at
once, and the very change that would help could not be committed any more. Members join as learners and vote only
once they have caught up (`promotion`), so adding one is always safe.
"""

from __future__ import annotations

from collections.abc import Collection

from cluster.errors import NotEnoughStartedMembers
from raft.messages import ConfChange, ConfChangeType


def check_reconfiguration(change: ConfChange, voters: Collection[int], reachable: Collection[int]) -> None:
    """`reachable` has this member itself. Raises NotEnoughStartedMembers."""
    if change.type != ConfChangeType.REMOVE or change.node_id not in voters:
        return
    remaining = [voter for voter in voters if voter != change.node_id]
    alive = [voter for voter in remaining if voter in reachable]
    if not remaining or len(alive) <= len(remaining) // 2:
        raise NotEnoughStartedMembers
