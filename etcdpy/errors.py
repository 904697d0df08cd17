"""etcd's v2 errors: one table of code, message and HTTP status (etcd 3.4, etcdserver/api/v2error/error.go)."""

from __future__ import annotations

from typing import NamedTuple


class ErrorKind(NamedTuple):
    code: int
    message: str
    http_status: int


_TABLE = [
    ErrorKind(100, "Key not found", 404),
    ErrorKind(101, "Compare failed", 412),
    ErrorKind(102, "Not a file", 403),
    ErrorKind(104, "Not a directory", 400),
    ErrorKind(105, "Key already exists", 412),
    ErrorKind(107, "Root is read only", 400),
    ErrorKind(108, "Directory not empty", 403),
    ErrorKind(110, "The request requires user authentication", 401),
    ErrorKind(201, "PrevValue is Required in POST form", 400),
    ErrorKind(202, "The given TTL in POST form is not a number", 400),
    ErrorKind(203, "The given index in POST form is not a number", 400),
    ErrorKind(209, "Invalid field", 400),
    ErrorKind(210, "Invalid POST form", 400),
    ErrorKind(211, "Value provided on refresh", 400),
    ErrorKind(212, "A TTL must be provided on refresh", 400),
    ErrorKind(300, "Raft Internal Error", 500),
    ErrorKind(301, "During Leader Election", 500),
    ErrorKind(400, "watcher is cleared due to etcd recovery", 400),
    ErrorKind(401, "The event in requested index is outdated and cleared", 400),
]

KINDS = {kind.code: kind for kind in _TABLE}

KEY_NOT_FOUND = 100
COMPARE_FAILED = 101
NOT_A_FILE = 102
NOT_A_DIRECTORY = 104
KEY_EXISTS = 105
ROOT_READ_ONLY = 107
DIRECTORY_NOT_EMPTY = 108
UNAUTHORIZED = 110
PREV_VALUE_REQUIRED = 201
TTL_NOT_A_NUMBER = 202
INDEX_NOT_A_NUMBER = 203
INVALID_FIELD = 209
INVALID_FORM = 210
REFRESH_VALUE = 211
REFRESH_TTL_REQUIRED = 212
RAFT_INTERNAL = 300
LEADER_ELECT = 301
WATCHER_CLEARED = 400
EVENT_INDEX_CLEARED = 401


class EtcdError(Exception):
    """A v2 refusal. `index` is the store index when it arose, 0 where no store was asked (parse and auth errors)."""

    def __init__(self, code: int, cause: str = "", index: int = 0) -> None:
        super().__init__(code, cause, index)
        self.code = code
        self.cause = cause
        self.index = index

    @property
    def message(self) -> str:
        return KINDS[self.code].message

    @property
    def http_status(self) -> int:
        return KINDS[self.code].http_status

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EtcdError) and self.args == other.args

    def __hash__(self) -> int:
        return hash(self.args)

    def __str__(self) -> str:
        cause = f" ({self.cause})" if self.cause else ""
        return f"{self.code}: {self.message}{cause} [{self.index}]"
