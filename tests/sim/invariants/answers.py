"""Answers (Raft paper, section 8: "each command executed exactly once"): who asked gets the result of what he asked for
and of nothing else, once. What was asked for once enters the log's history once, whoever led meanwhile, and what was
refused before it was proposed never does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cluster.state_machine import Position
from etcdpy.commands import Op
from etcdpy.errors import EtcdError

UNIQUE = frozenset({Op.SET, Op.CREATE, Op.COMPARE_AND_SWAP, Op.UPDATE})


class Answers:
    """`_last` has the commands that a member applied last, with their results; `_applied` where each value that a
    client wrote was applied, `_unsure` what waited when a member took in a snapshot."""

    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._last: dict[Any, list[tuple[tuple[Any, ...], Any]]] = {}
        self._applied: dict[str, int] = {}
        self._unsure: dict[Any, set[int]] = {}

    def applied(self, member: Any, commands: Sequence[Any], position: Position, results: Sequence[Any]) -> None:
        self._last[member] = [(tuple(command), result) for command, result in zip(commands, results, strict=True)]
        for command in commands:
            if command[-1] in UNIQUE and (value := _value(command)):
                index = self._applied.setdefault(value, position.raft_index)
                if index != position.raft_index:
                    text = f"{member} applies {list(command)} at {position.raft_index}, which was applied at {index}"
                    self._world.fail("answers", text)

    def restored(self, member: Any, snapshot: Any) -> None:
        self._unsure[member] = set(member.pending._waiting)

    def after_step(self, member: Any, raft: Any) -> None:
        unsure = self._unsure.get(member)
        if unsure and not unsure.isdisjoint([proposal_id for proposal_id, _ in member.node._undelivered]):
            self._world.fail("answers", f"{member} proposes again what a snapshot may have brought")

    def answered(self, operation: Any) -> None:
        answer, command = operation.answer, tuple(operation.command())
        if operation.is_read:
            shown = isinstance(answer, EtcdError) or (answer.node.key == operation.key and answer.action == "get")
        else:
            shown = any(result is answer and applied == command for applied, result in self._last[operation.member])
        if not shown:
            self._world.fail("answers", f"{operation} gets the answer of something else: {answer}")

    def at_end(self) -> None:
        for operation in self._world.clients.history:
            if operation.outcome == "not done" and operation.value in self._applied and not operation.is_read:
                self._world.fail("answers", f"{operation} was told that it was not done, and it was")


def _value(command: Sequence[Any]) -> str:
    value: str = command[3] if command[-1] == Op.COMPARE_AND_SWAP else command[1]
    return value
