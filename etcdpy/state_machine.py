"""The replicated state machine: commands from the log, applied to the store and to auth (cluster/state_machine.py's
contract).

Owns the way from a command to an operation, whether it is still allowed, and what may be proposed at all. Knows nothing
of Raft but the position of a batch, of which only the leader's time matters here.

Invariants: the result depends only on the commands and their positions. A refusal is a result, an `EtcdError` or
`AuthError`; whatever `validate` lets through does not raise in `apply`. A command that this version does not know (its
log may be written by a newer leader) is refused the same way on every member that does not know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from cluster.state_machine import Position
from etcdpy.auth import model
from etcdpy.auth.check import may_access, may_administrate
from etcdpy.auth.model import AuthError, AuthState, PutUser, Role, as_names
from etcdpy.commands import Access, Op
from etcdpy.errors import RAFT_INTERNAL, UNAUTHORIZED, EtcdError
from etcdpy.store import snapshot
from etcdpy.store.event import Event
from etcdpy.store.store import Store

# What became of a command; None for a Sync, for which nobody waits, and where there is nothing more to say.
Result: TypeAlias = Event | PutUser | Role | EtcdError | AuthError | None

_CANONICAL_PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|\Z))[^/]+)+")

_UNKNOWN = (0, None)


class EtcdStateMachine:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.auth = AuthState(store.record_internal_event)
        self._operations: dict[int, tuple[int, Callable[..., Event] | None]] = {
            Op.SET: (6, store.set),
            Op.CREATE: (6, store.create),
            Op.UPDATE: (5, store.update),
            Op.COMPARE_AND_SWAP: (7, store.compare_and_swap),
            Op.DELETE: (4, store.delete),
            Op.COMPARE_AND_DELETE: (4, store.compare_and_delete),
        }
        self._auth_operations: dict[int, tuple[int, Callable[..., Result] | None]] = {
            Op.AUTH_ENABLE: (2, self.auth.enable),
            Op.AUTH_DISABLE: (1, self.auth.disable),
            Op.USER_PUT: (7, self._put_user),
            Op.USER_DELETE: (2, self.auth.delete_user),
            Op.ROLE_PUT: (5, self._put_role),
            Op.ROLE_DELETE: (2, self.auth.delete_role),
        }

    def apply(self, commands: Sequence[Any], position: Position) -> list[Result]:
        now_ns = position.now_ns
        results: list[Result] = []
        for command in commands:
            try:
                results.append(self._apply_one(command, now_ns))
            except (EtcdError, AuthError) as refusal:
                results.append(refusal.with_traceback(None))  # a traceback would keep this frame, and all it holds
        return results

    def membership_changed(self, position: Position) -> None:
        """etcd keeps its members in the same store as the keys, so a change takes an index and a history slot."""
        self.store.record_internal_event()

    def dump(self) -> Iterator[bytes]:
        return snapshot.dump(self.store, self.auth.as_value())

    def load(self, pieces: Iterable[bytes]) -> None:
        """Raises snapshot.SnapshotFormatError for bytes that are not a whole store snapshot of a known version."""
        self.auth.restore(snapshot.load(self.store, pieces))

    def _apply_one(self, command: Any, now_ns: int) -> Result:
        op = command[-1] if command and isinstance(command, Sequence) else None
        if op == Op.SYNC:
            self.store.expire(now_ns)
            return None
        if op == Op.ON_BEHALF and len(command) == 3:
            return self._apply_checked(command[1], Access(*command[0]), now_ns)
        if self.auth.enabled and op in self._operations:
            return self._apply_checked(command, Access("", command[0], False, True), now_ns)
        return self._perform(command, op, "", now_ns)

    def _apply_checked(self, command: Sequence[Any], access: Access, now_ns: int) -> Result:
        op = command[-1]
        if op in self._operations and not may_access(self.auth, access):
            raise EtcdError(UNAUTHORIZED, "Insufficient credentials")
        return self._perform(command, op, access.user, now_ns)

    def _perform(self, command: Sequence[Any], op: Any, user: str, now_ns: int) -> Result:
        known = isinstance(op, int)
        length, operation = self._operations.get(op, _UNKNOWN) if known else _UNKNOWN
        if operation is not None and len(command) == length:
            return operation(*command[:-1], now_ns)
        length, auth_operation = self._auth_operations.get(op, _UNKNOWN) if known else _UNKNOWN
        if auth_operation is None or len(command) != length:
            raise EtcdError(RAFT_INTERNAL, f"unknown command {op}", self.store.index)
        if not may_administrate(self.auth, user):
            raise EtcdError(UNAUTHORIZED, "Insufficient credentials")
        return auth_operation(*command[:-1])

    def _put_user(
        self,
        name: str,
        password_hash: str,
        roles: Sequence[str] | None,
        grant: Sequence[str] | None,
        revoke: Sequence[str] | None,
        roles_must_exist: bool,
    ) -> PutUser:
        names = as_names(roles), as_names(grant), as_names(revoke)
        return self.auth.put_user(name, password_hash, *names, roles_must_exist)

    def _put_role(self, *row: Any) -> Role:
        return self.auth.put_role(model.as_role(row))


def validate(command: Sequence[Any]) -> None:
    """Raises ValueError unless the command is one that every member can apply: to be asked before it is proposed."""
    if command and command[-1] == Op.ON_BEHALF and len(command) == 3:
        _validate_fields(command[0], _ACCESS_CHECKS)
        command = command[1]
    checks = _CHECKS.get(command[-1]) if command and type(command[-1]) in (int, Op) else None
    if checks is None or len(command) != len(checks) + 1:
        raise ValueError(f"not a command: {command!r:.200}")
    _validate_fields(command, checks)


def _validate_fields(command: Sequence[Any], checks: Sequence[Callable[[Any], bool]]) -> None:
    for check, field in zip(checks, command, strict=False):
        if not check(field):
            raise ValueError(f"a command's field {field!r:.200} is not {check.__name__.strip('_').replace('_', ' ')}")


def _text(field: Any) -> bool:
    if not isinstance(field, str):
        return False
    try:
        field.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _a_canonical_path(field: Any) -> bool:
    return _text(field) and _CANONICAL_PATH.fullmatch(field) is not None


def _a_boolean(field: Any) -> bool:
    return isinstance(field, bool)


def _a_duration(field: Any) -> bool:
    return field is None or (type(field) is int and -(2**63) <= field < 2**63)


def _an_index(field: Any) -> bool:
    return type(field) is int and 0 <= field < 2**64


def _names(field: Any) -> bool:
    return field is None or (isinstance(field, list | tuple) and all(map(_text, field)))


def _permissions(field: Any) -> bool:
    return isinstance(field, list | tuple) and len(field) == 2 and all(map(_names, field))


def _permissions_or_none(field: Any) -> bool:
    return field is None or _permissions(field)


_ACCESS_CHECKS = (_text, _text, _a_boolean, _a_boolean)
_CHECKS: dict[int, tuple[Callable[[Any], bool], ...]] = {
    Op.SYNC: (),
    Op.SET: (_a_canonical_path, _text, _a_boolean, _a_duration, _a_boolean),
    Op.CREATE: (_a_canonical_path, _text, _a_boolean, _a_boolean, _a_duration),
    Op.UPDATE: (_a_canonical_path, _text, _a_duration, _a_boolean),
    Op.COMPARE_AND_SWAP: (_a_canonical_path, _text, _an_index, _text, _a_duration, _a_boolean),
    Op.DELETE: (_a_canonical_path, _a_boolean, _a_boolean),
    Op.COMPARE_AND_DELETE: (_a_canonical_path, _text, _an_index),
    Op.AUTH_ENABLE: (_a_boolean,),
    Op.AUTH_DISABLE: (),
    Op.USER_PUT: (_text, _text, _names, _names, _names, _a_boolean),
    Op.USER_DELETE: (_text,),
    Op.ROLE_PUT: (_text, _permissions, _permissions_or_none, _permissions_or_none),
    Op.ROLE_DELETE: (_text,),
}
