"""The state machine does what etcd's documentation of v2 says (Raft paper, section 2: what is replicated is a
deterministic state machine): each command's result, and each event, is that of a slow and obvious twin, which is given
the same commands at the same times. So is the answer of a read of the same state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.state_machine import Position
from etcdpy.commands import Op
from etcdpy.errors import EtcdError
from tests.etcdpy.store_model import Model, Refused

NOTHING = object()


class WatchedModel(Model):
    """`gone` has the paths that each store index removed."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.gone: dict[int, frozenset[str]] = {}

    def publish(self, event: Any, refresh: bool = False, gone: frozenset[str] = frozenset()) -> Any:
        if gone:
            self.gone[self.index] = gone
        return super().publish(event, refresh, gone)


class StateMachineModel:
    """`results` has what the twin says of each raft index; members come there one after the other."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self.model = WatchedModel(watch.world.plan.history_capacity)
        self._raft_index = 0
        self._results: dict[int, list[Any]] = {}

    def applied(self, member: Any, commands: Sequence[Any], position: Position, results: Sequence[Any]) -> None:
        expected = self._results.get(position.raft_index)
        if expected is None:
            expected = self._results[position.raft_index] = [self._do(command, position.now_ns) for command in commands]
            self._advance(member, position.raft_index)
        for command, result, wanted in zip(commands, results, expected, strict=True):
            if wanted is not NOTHING and _shown(result) != wanted:
                self._fail(member, f"gives {_shown(result)} for {list(command)} at {position.raft_index}, not {wanted}")

    def membership_applied(self, member: Any, position: Position) -> None:
        if position.raft_index > self._raft_index:
            self.model.index += 1
            self.model.log[self.model.index] = None
            self._advance(member, position.raft_index)

    def _advance(self, member: Any, raft_index: int) -> None:
        """This member is the first to come here."""
        self._raft_index = raft_index
        store, model = member.store, self.model
        if store.index != model.index:
            self._fail(member, f"is at store index {store.index} after raft index {raft_index}, not {model.index}")
        due = model.due()
        if store.next_deadline_ns() != (due[0][0] if due else None):
            self._fail(member, f"has the next deadline {store.next_deadline_ns()} after {raft_index}, not {due[:1]}")

    def _do(self, command: Sequence[Any], now_ns: int) -> Any:
        model = self.model
        operations = {
            Op.SET: model.set,
            Op.CREATE: model.create,
            Op.UPDATE: model.update,
            Op.COMPARE_AND_SWAP: model.compare_and_swap,
            Op.DELETE: model.delete,
            Op.COMPARE_AND_DELETE: model.compare_and_delete,
        }
        if command[-1] == Op.SYNC:
            model.expire(now_ns)
            return NOTHING
        try:
            return operations[command[-1]](*command[:-1], now_ns)
        except Refused as refused:
            return refused.args

    def answered(self, operation: Any) -> None:
        """Reads of the newest state."""
        answer, store = operation.answer, operation.member.store
        if not operation.is_read or store.index != self.model.index or self._raft_index == 0:
            return
        try:
            wanted = self.model.get(operation.key, operation.kind == "list", 0)
        except Refused as refused:
            wanted = refused.args
        if _without_ttl(_shown(answer)) != _without_ttl(wanted):
            self._fail(operation.member, f"gives {_shown(answer)} for {operation}, not {wanted}")

    def restored(self, member: Any, snapshot: Any) -> None:
        if snapshot.index == self._raft_index:
            self._advance(member, snapshot.index)

    def at_end(self) -> None:
        for member in self._world.running():
            self._check_history(member)

    def _check_history(self, member: Any) -> None:
        history, log = member.store.history, self.model.log
        for index, slot in enumerate(history.slots(), history.oldest_index):
            if index in log and _shown(slot) != log[index]:
                self._fail(member, f"has {_shown(slot)} at store index {index} of its history, not {log[index]}")

    def _fail(self, member: Any, text: str) -> None:
        self._world.fail("state machine model", f"{member} {text}")


def _shown(result: Any) -> Any:
    if isinstance(result, EtcdError):
        return result.code, result.cause, result.index
    return result and (result.action, result.node, result.prev_node)


def _without_ttl(shown: Any) -> Any:
    """A read shows the seconds left by the member's own clock."""
    return (shown[0], _node_without_ttl(shown[1]), None) if shown[0] == "get" else shown


def _node_without_ttl(node: Any) -> Any:
    *fields, _, nodes = node
    return (*fields, tuple(map(_node_without_ttl, nodes or ())))
