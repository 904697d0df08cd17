"""The values that cross the edge of the consensus machine.

Everything here is an immutable NamedTuple: cheap to build, packed by msgpack as an array, compared by value. Names
are the Raft paper's and etcd's. An id is an unsigned 64-bit number and never 0; `NONE` (0) stands for "nobody".
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

NONE = 0


class EntryType(IntEnum):
    NORMAL = 0
    CONF_CHANGE = 1


class Entry(NamedTuple):
    """One slot of the replicated log (Raft paper, section 5.3). An entry with empty `data` is a new leader's no-op."""

    term: int
    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on these
    type: int = EntryType.NORMAL
    data: bytes = b""


class ConfState(NamedTuple):
    """Who votes and who only listens. Both tuples are sorted."""

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()


class Snapshot(NamedTuple):
    """Where a snapshot stands in the log (section 7). The state itself never passes through raft: it is in the
    caller's file."""

    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on these
    term: int
    conf_state: ConfState


class ConfChangeType(IntEnum):
    ADD_VOTER = 0
    REMOVE = 1
    UPDATE = 2
    ADD_LEARNER = 3


class ConfChange(NamedTuple):
    """One membership change (thesis, section 4.1: one server at a time). `context` is the caller's, opaque here."""

    type: int
    node_id: int
    context: bytes = b""


class HardState(NamedTuple):
    """What must be on disk before any promise is made (section 5.1, figure 2 "Persistent state")."""

    term: int = 0
    vote: int = NONE
    commit: int = 0


class MessageType(IntEnum):
    APP = 1
    APP_RESP = 2
    VOTE = 3
    VOTE_RESP = 4
    PRE_VOTE = 5
    PRE_VOTE_RESP = 6
    HEARTBEAT = 7
    HEARTBEAT_RESP = 8
    SNAP = 9
    PROP = 10
    READ_INDEX = 11
    READ_INDEX_RESP = 12
    TIMEOUT_NOW = 13
    TRANSFER_LEADER = 14


class Message(NamedTuple):
    """One message between two members; `sender` and `to` are member ids.

    `stamp_ns` is the caller's: raft neither sets nor reads it. (`cluster` puts the leader's time on heartbeats.)
    """

    type: int
    to: int
    sender: int = NONE
    term: int = 0
    log_term: int = 0
    index: int = 0  # type: ignore[assignment]
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    reject: bool = False
    reject_hint: int = 0
    context: bytes = b""
    snapshot: Snapshot | None = None
    stamp_ns: int = 0


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class SoftState(NamedTuple):
    """Who leads and what this node is: for information, never on disk."""

    lead: int
    role: int


class ReadState(NamedTuple):
    """A confirmed ReadIndex (thesis, section 6.4): once `index` is applied, the read named by `context` may be
    answered.

    `index` 0 says the request was dropped and has to be asked again.
    """

    index: int  # type: ignore[assignment]  # shadows tuple.index, which nobody calls on these
    context: bytes


class Ready(NamedTuple):
    """What the caller owes the machine, in the order in which `cluster.ready.process_ready` pays it.

    Two message lists exist because two kinds of message exist. `messages` may leave at once. `persisted_messages`
    are promises about this node's disk (votes, append acknowledgements), so they leave only after `hard_state`,
    `entries` and `snapshot` are saved. `committed_entries` are committed and were on this node's own disk before
    this Ready, so applying them need not wait for the save.
    """

    soft_state: SoftState | None
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None
    committed_entries: tuple[Entry, ...]
    messages: tuple[Message, ...]
    persisted_messages: tuple[Message, ...]
    read_states: tuple[ReadState, ...]
    must_sync: bool
