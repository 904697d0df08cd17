"""Read index never behind (Raft paper, section 8; thesis, section 6.4): a linearizable read sees everything that was
acknowledged to anybody before it was asked for, and so does every other answer of the log, which comes after all of
that. A read sees even more: whatever any member held for committed, whether or not anybody was told."""

from __future__ import annotations

from typing import Any


class ReadIndexNeverBehind:
    """`_floors` has what was committed when a read was asked for, by its client."""

    def __init__(self, watch: Any) -> None:
        self._watch = watch
        self._world = watch.world
        self._floors: dict[int, int] = {}

    def asked(self, operation: Any) -> None:
        if operation.is_read:
            self._floors[operation.client] = self._watch.committed_index

    def answered(self, operation: Any) -> None:
        is_write = not operation.is_read and operation.outcome == "ok"
        if operation.index < operation.floor + is_write:
            text = f"{operation}: answered at store index {operation.index}, {operation.floor} was known before"
            self._world.fail("read index", text)
        floor, applied = self._floors.pop(operation.client, 0), operation.member.applier.applied_index
        if operation.is_read and applied < floor:
            text = f"{operation}: answered when {applied} is applied, {floor} was committed before it was asked"
            self._world.fail("read index", text)
