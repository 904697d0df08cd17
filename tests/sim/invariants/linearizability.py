"""Linearizability (Herlihy and Wing 1990; Raft paper, section 8): each answered operation took effect at one moment
between asking and being told. Checked by values alone, key by key, as the order of the log is not to be trusted."""

from __future__ import annotations

from typing import Any

from tests.checkers.linearizability import UNANSWERED, Kind, Operation, find_violation

WRITES = {"set", "swap", "delete", "compare_and_delete"}


class Linearizability:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world

    def at_end(self) -> None:
        operations = [_operation(told) for told in self._world.clients.history if told.key.startswith("/r/")]
        broken = find_violation([operation for operation in operations if operation is not None])
        if broken is not None:
            text = f"the history of {broken[0].key} ({len(broken)} operations) has no order"
            self._world.fail("linearizability", text)


def _operation(told: Any) -> Operation | None:
    """A write that was answered is a swap, as the answer shows the value before; a refusal is a read, as it shows the
    value that was there."""
    after = told.value if told.kind in ("set", "swap") else None
    if told.outcome == "ok" and told.kind in WRITES:
        return Operation(told.key, Kind.SWAP, after, told.asked, told.told, told.before)
    if told.outcome in ("ok", "refused"):
        return Operation(told.key, Kind.READ, told.before, told.asked, told.told)
    if told.outcome == "unknown" and told.kind in WRITES:
        if told.kind in ("set", "delete"):
            return Operation(told.key, Kind.WRITE, after, told.asked, UNANSWERED)
        return Operation(told.key, Kind.SWAP, after, told.asked, UNANSWERED, told.prev)
    return None
