"""The replicated state machine: commands from the log, applied to the store (cluster/state_machine.py's contract).

Owns the way from a command to an operation of the store, and what may be proposed at all. Knows nothing of Raft but the
position of a batch, of which only the leader's time matters here.

Invariants: the result depends only on the commands and their positions. A refusal is a result, an `EtcdError`; whatever
`validate` lets through does not raise in `apply`. A command that this version does not know (its log may be written by
a newer leader) is refused the same way on every member that does not know it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from cluster.state_machine import Position
from etcdpy.commands import Op
from etcdpy.errors import RAFT_INTERNAL, EtcdError
from etcdpy.store import snapshot
from etcdpy.store.event import Event
from etcdpy.store.store import Store

# What became of a command; None for a Sync, for which nobody waits.
Result: TypeAlias = Event | EtcdError | None

_CANONICAL_PATH = re.compile(r"/|(?:/(?!\.{1,2}(?:/|\Z))[^/]+)+")

_UNKNOWN = (0, None)


class EtcdStateMachine:
    def __init__(self, store: Store) -> None:
        self.store = store
        self._operations: dict[int, tuple[int, Callable[..., Event] | None]] = {
            Op.SET: (6, store.set),
            Op.CREATE: (6, store.create),
            Op.UPDATE: (5, store.update),
            Op.COMPARE_AND_SWAP: (7, store.compare_and_swap),
            Op.DELETE: (4, store.delete),
            Op.COMPARE_AND_DELETE: (4, store.compare_and_delete),
        }

    def apply(self, commands: Sequence[Any], position: Position) -> list[Result]:
        now_ns = position.now_ns
        results: list[Result] = []
        for command in commands:
            try:
                results.append(self._apply_one(command, now_ns))
            except EtcdError as refusal:
                results.append(refusal.with_traceback(None))  # a traceback would keep this frame, and all it holds
        return results

    def membership_changed(self, position: Position) -> None:
        """etcd keeps its members in the same store as the keys, so a change takes an index and a history slot."""
        self.store.record_internal_event()

    def dump(self) -> Iterator[bytes]:
        return snapshot.dump(self.store)

    def load(self, pieces: Iterable[bytes]) -> None:
        """Raises snapshot.SnapshotFormatError for bytes that are not a whole store snapshot of a known version."""
        snapshot.load(self.store, pieces)

    def _apply_one(self, command: Any, now_ns: int) -> Result:
        op = command[-1] if command and isinstance(command, Sequence) else None
        if op == Op.SYNC:
            self.store.expire(now_ns)
            return None
        length, operation = self._operations.get(op, _UNKNOWN) if isinstance(op, int) else _UNKNOWN
        if operation is None or len(command) != length:
            raise EtcdError(RAFT_INTERNAL, f"unknown command {op}", self.store.index)
        return operation(*command[:-1], now_ns)


def validate(command: Sequence[Any]) -> None:
    """Raises ValueError unless the command is one that every member can apply: to be asked before it is proposed."""
    checks = _CHECKS.get(command[-1]) if command and type(command[-1]) in (int, Op) else None
    if checks is None or len(command) != len(checks) + 1:
        raise ValueError(f"not a command: {command!r:.200}")
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


_CHECKS: dict[int, tuple[Callable[[Any], bool], ...]] = {
    Op.SYNC: (),
    Op.SET: (_a_canonical_path, _text, _a_boolean, _a_duration, _a_boolean),
    Op.CREATE: (_a_canonical_path, _text, _a_boolean, _a_boolean, _a_duration),
    Op.UPDATE: (_a_canonical_path, _text, _a_duration, _a_boolean),
    Op.COMPARE_AND_SWAP: (_a_canonical_path, _text, _an_index, _text, _a_duration, _a_boolean),
    Op.DELETE: (_a_canonical_path, _a_boolean, _a_boolean),
    Op.COMPARE_AND_DELETE: (_a_canonical_path, _text, _an_index),
}
