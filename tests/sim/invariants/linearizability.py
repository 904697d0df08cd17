"""Linearizability (Herlihy and Wing 1990; Raft paper, section 8): each answered operation took effect at one moment
between asking and being told.

To search for an order takes time without bound, to check one does not. So the order of the store's indexes is taken for
a witness and is not trusted: by values alone it must explain what everybody was told, each operation before its answer
and after its question. If it does, the history is linearizable. The order has to explain every event, too: something
that nobody asked for, or asked for once and got twice, is nobody's operation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from etcdpy.errors import COMPARE_FAILED, KEY_NOT_FOUND

from .applied_state_equal import AppliedStateEqual

ACTIONS = {
    "set": "set",
    "create": "create",
    "update": "update",
    "swap": "compareAndSwap",
    "swap_index": "compareAndSwap",
    "delete": "delete",
    "compare_and_delete": "compareAndDelete",
    "delete_index": "compareAndDelete",
}
"""What each write looks like in the history of the store."""

REGISTERS = "/r/"
NEVER = 1 << 62


class _Step(NamedTuple):
    """An operation at its place. `before` and `after` are the values that it says, or makes, the key have; of a read
    they are the same."""

    index: int
    is_read: bool
    asked: int
    told: int
    before: str | None
    after: str | None
    text: str


class Linearizability:
    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world

    def at_end(self) -> None:
        by_key: dict[str, list[Any]] = defaultdict(list)
        for operation in self._world.clients.history:
            if operation.key.startswith(REGISTERS):
                by_key[operation.key].append(operation)
        events = self._watch.get(AppliedStateEqual).events
        happened: dict[str, dict[int, Any]] = defaultdict(dict)
        for index, event in events.items():
            if event is not None:
                happened[event[1].key][index] = event
        for key in sorted(by_key):
            self._check(key, by_key[key], happened[key])

    def _check(self, key: str, operations: Sequence[Any], events: dict[int, Any]) -> None:
        steps = [step for operation in operations for step in _answered(operation)]
        unclaimed = dict(events)
        for step in steps:
            if not step.is_read and unclaimed.pop(step.index, None) is None:
                self._fail(
                    key, f"{step.text} was answered with index {step.index}, where that did not happen, or twice"
                )
        steps += self._of_unknown_fate(key, operations, unclaimed)
        steps.sort()
        self._check_order(key, steps)

    def _of_unknown_fate(self, key: str, operations: Sequence[Any], unclaimed: dict[int, Any]) -> list[_Step]:
        """Each event that no answer tells of is one of the operations that were not answered."""
        unknown = [operation for operation in operations if operation.outcome == "unknown" and operation.kind != "get"]
        steps = []
        for index, event in sorted(unclaimed.items()):
            owner = next((operation for operation in unknown if _may_be(operation, event)), None)
            if owner is None:
                self._fail(key, f"{event[0]} of {event[1].value} at store index {index} is no operation, or one twice")
                continue
            unknown.remove(owner)
            steps.append(_Step(index, False, owner.asked, NEVER, _before(event), event[1].value, str(owner)))
        return steps

    def _check_order(self, key: str, steps: Sequence[_Step]) -> None:
        value: str | None = None
        latest, asked = 0, ""
        for step in steps:
            if step.told < latest:
                self._fail(key, f"{step.text} was answered before {asked} was asked, which comes first in the store")
            if step.asked > latest:
                latest, asked = step.asked, step.text
            if step.before != value:
                self._fail(key, f"{step.text} finds {step.before} at store index {step.index}, where {value} was")
            value = step.after

    def _fail(self, key: str, text: str) -> None:
        self._world.fail("linearizability", f"{key}: {text}")


def _answered(told: Any) -> list[_Step]:
    """A write that was answered shows the value before; a refusal is a read if it shows the value that was there."""
    if told.outcome == "ok" and told.kind in ACTIONS:
        return [_Step(told.index, False, told.asked, told.told, told.before, told.after, str(told))]
    if told.outcome == "ok" and told.kind == "get":
        return [_Step(told.index, True, told.asked, told.told, told.before, told.before, str(told))]
    shows_value = told.code == KEY_NOT_FOUND or (told.code == COMPARE_FAILED and told.before is not None)
    if told.outcome == "refused" and shows_value:
        return [_Step(told.index, True, told.asked, told.told, told.before, told.before, str(told))]
    return []


def _may_be(operation: Any, event: Any) -> bool:
    return ACTIONS[operation.kind] == event[0] and operation.after == event[1].value


def _before(event: Any) -> str | None:
    value: str | None = None if event[2] is None else event[2].value
    return value
