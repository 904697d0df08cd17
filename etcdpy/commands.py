"""What can be asked of the store: the one operation a request means, settled before the log.

A command is replicated as a msgpack array; its last element is its `Op`, by which the state machine finds the
handler for the rest. Text is `str`; bytes that are not UTF-8 travel as surrogate escapes (PEP 383), so that nothing
is lost. Paths are canonical: `/`, or `/a/b` without a trailing slash, `.`, `..` or an empty component. `ttl_ns` is a
duration in nanoseconds, `None` for no TTL: it becomes absolute at apply, by the time that the leader stamped on the
entry, so members' clocks do not matter. `refresh` keeps the value and wakes no watcher. `prev_value` "" and
`prev_index` 0 mean no condition.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

# The longest TTL that a request may ask for. An expiration is a signed 64-bit number of nanoseconds, which ends in the
# year 2262; up to this it fits until 2040, and where it does not, it wraps alike on every member.
MAX_TTL_SECONDS = 7_000_000_000


class Op(IntEnum):
    SYNC = 0
    SET = 1
    CREATE = 2
    UPDATE = 3
    COMPARE_AND_SWAP = 4
    DELETE = 5
    COMPARE_AND_DELETE = 6


class Sync(NamedTuple):
    """Expires every node whose time has come (etcd: SYNC). Proposed by the leader only."""

    op: int = Op.SYNC


class Set(NamedTuple):
    path: str
    value: str
    dir: bool
    ttl_ns: int | None
    refresh: bool
    op: int = Op.SET


class Create(NamedTuple):
    """With `unique`, makes an in-order key below `path`: the new store index as 20 zero-padded digits."""

    path: str
    value: str
    dir: bool
    unique: bool
    ttl_ns: int | None
    op: int = Op.CREATE


class Update(NamedTuple):
    path: str
    value: str
    ttl_ns: int | None
    refresh: bool
    op: int = Op.UPDATE


class CompareAndSwap(NamedTuple):
    path: str
    prev_value: str
    prev_index: int
    value: str
    ttl_ns: int | None
    refresh: bool
    op: int = Op.COMPARE_AND_SWAP


class Delete(NamedTuple):
    path: str
    dir: bool
    recursive: bool
    op: int = Op.DELETE


class CompareAndDelete(NamedTuple):
    path: str
    prev_value: str
    prev_index: int
    op: int = Op.COMPARE_AND_DELETE


Command = Sync | Set | Create | Update | CompareAndSwap | Delete | CompareAndDelete


class Get(NamedTuple):
    """A read. `quorum` makes it linearizable (ReadIndex); without it the answer is this member's own, maybe stale."""

    path: str
    recursive: bool
    sorted: bool
    quorum: bool


class Watch(NamedTuple):
    """`since` is the first store index of interest, 0 for "from now"."""

    path: str
    recursive: bool
    stream: bool
    since: int
