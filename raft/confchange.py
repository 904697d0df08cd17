"""Membership changes, one server at a time (thesis, section 4.1), as pure functions of a ConfState.

Every member applies the same entry to the same ConfState, so what is refused here is refused everywhere.
"""

from __future__ import annotations

import struct

from raft.errors import ConfChangeRefused
from raft.messages import NONE, ConfChange, ConfChangeType, ConfState

_HEAD = struct.Struct(">BQ")


def encode(change: ConfChange) -> bytes:
    """The `data` of a CONF_CHANGE entry: type (u8), node id (u64 big-endian), then the caller's context."""
    return _HEAD.pack(change.type, change.node_id) + change.context


def decode(data: bytes) -> ConfChange:
    """The inverse of `encode`. Raises ConfChangeRefused for bytes that no `encode` gave."""
    try:
        change_type, node_id = _HEAD.unpack_from(data)
        return ConfChange(ConfChangeType(change_type), node_id, data[_HEAD.size :])
    except (struct.error, ValueError) as error:
        raise ConfChangeRefused(f"not a membership change: {error}") from None


def check(conf_state: ConfState, change: ConfChange) -> None:
    """Raises ConfChangeRefused for a change that would leave nobody to vote, or that names nobody."""
    if change.node_id == NONE:
        raise ConfChangeRefused("a membership change must name a member")
    if not _changed(conf_state, change).voters:
        raise ConfChangeRefused("the last voter cannot go")


def apply(conf_state: ConfState, change: ConfChange) -> ConfState:
    """The ConfState after the change. One that `check` refuses changes nothing."""
    try:
        check(conf_state, change)
    except ConfChangeRefused:
        return conf_state
    return _changed(conf_state, change)


def _changed(conf_state: ConfState, change: ConfChange) -> ConfState:
    if change.type == ConfChangeType.UPDATE:
        return conf_state
    voters = set(conf_state.voters) - {change.node_id}
    learners = set(conf_state.learners) - {change.node_id}
    if change.type == ConfChangeType.ADD_VOTER:
        voters.add(change.node_id)
    elif change.type == ConfChangeType.ADD_LEARNER:
        learners.add(change.node_id)
    return ConfState(tuple(sorted(voters)), tuple(sorted(learners)))
