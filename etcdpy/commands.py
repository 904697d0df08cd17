"""What can be asked of the store: the one operation a request means, settled before the log.

A command is replicated as a msgpack array; its last element is its `Op`, by which the state machine finds the
handler for the rest. Text is `str`; bytes that are not UTF-8 travel as surrogate escapes (PEP 383), so that nothing
is lost. Paths are canonical: `/`, or `/a/b` without a trailing slash, `.`, `..` or an empty component. `ttl_ns` is a
duration in nanoseconds, `None` for no TTL: it becomes absolute at apply, by the time that the leader stamped on the
entry, so members' clocks do not matter. `refresh` keeps the value and wakes no watcher. `prev_value` "" and
`prev_index` 0 mean no condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

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
    ON_BEHALF = 7
    AUTH_ENABLE = 8
    AUTH_DISABLE = 9
    USER_PUT = 10
    USER_DELETE = 11
    ROLE_PUT = 12
    ROLE_DELETE = 13


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


KeyCommand = Sync | Set | Create | Update | CompareAndSwap | Delete | CompareAndDelete


# Auth (see `etcdpy.auth.model`, which gives the fields their meaning)


class AuthEnable(NamedTuple):
    guest_is_open: bool
    op: int = Op.AUTH_ENABLE


class AuthDisable(NamedTuple):
    op: int = Op.AUTH_DISABLE


class UserPut(NamedTuple):
    """`password_hash` is bcrypt's, "" for no change: a password never gets here."""

    name: str
    password_hash: str
    roles: Sequence[str] | None
    grant: Sequence[str] | None
    revoke: Sequence[str] | None
    roles_must_exist: bool
    op: int = Op.USER_PUT


class UserDelete(NamedTuple):
    name: str
    op: int = Op.USER_DELETE


class RolePut(NamedTuple):
    """Permissions are pairs of patterns for reading and for writing."""

    name: str
    permissions: Sequence[Any]
    grant: Sequence[Any] | None
    revoke: Sequence[Any] | None
    op: int = Op.ROLE_PUT


class RoleDelete(NamedTuple):
    name: str
    op: int = Op.ROLE_DELETE


AuthCommand = AuthEnable | AuthDisable | UserPut | UserDelete | RolePut | RoleDelete


class Access(NamedTuple):
    """Who touches what. `user` is "" for guests. `key` is clean, but has the trailing slash that was asked for."""

    user: str
    key: str
    recursive: bool
    write: bool


class OnBehalf(NamedTuple):
    """A command that somebody's permissions are to be judged for again when it is applied: by then they may be less.
    A command without this, where auth is on, is a guest's."""

    access: Access
    command: KeyCommand | AuthCommand
    op: int = Op.ON_BEHALF


Command = KeyCommand | AuthCommand | OnBehalf


class Get(NamedTuple):
    """A read. `quorum` makes it linearizable (ReadIndex); without it the answer is this member's own, maybe stale."""

    path: str
    recursive: bool
    sorted: bool
    quorum: bool


class Watch(NamedTuple):
    """`since` is the first store index of interest, 0 for "from now". A watch lasts, and so ends when `access` is no
    longer allowed."""

    path: str
    recursive: bool
    stream: bool
    since: int
    access: Access | None = None
