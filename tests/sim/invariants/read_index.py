"""Read index never behind (Raft paper, section 8; thesis, section 6.4): a linearizable read sees everything that was
acknowledged to anybody before it was asked for. So does every other answer of the log."""

from __future__ import annotations

from typing import Any


class ReadIndexNeverBehind:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world

    def answered(self, operation: Any) -> None:
        if operation.index < operation.floor:
            text = f"{operation}: answered at store index {operation.index}, {operation.floor} was known before"
            self._world.fail("read index", text)
