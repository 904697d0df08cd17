"""State Machine Safety (Raft paper, section 5.4.3, figure 3): no two members apply different entries at an index. Each
applies every index once and in order, and only what is on its own disk (an applied entry that a crash could lose would
leave a state ahead of its log)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raft.messages import Entry, Snapshot


class StateMachineSafety:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._applied: dict[int, Entry] = {}
        self._position: dict[Any, int] = {}

    def restored(self, member: Any, snapshot: Snapshot) -> None:
        if member.life == self._life(member) and snapshot.index < self._position[member]:
            self._world.fail("state machine safety", f"{member} goes back to the snapshot at {snapshot.index}")
        self._lives[member] = member.life
        self._position[member] = snapshot.index

    @property
    def _lives(self) -> dict[Any, int]:
        return self.__dict__.setdefault("lives", {})

    def _life(self, member: Any) -> int:
        return self._lives.get(member, 0)

    def applying(self, member: Any, entries: Sequence[Entry]) -> None:
        durable = member.durable
        for entry in entries:
            if entry.index != self._position[member] + 1:
                text = f"{member} applies {entry.index} after {self._position[member]}"
                self._world.fail("state machine safety", text)
            self._position[member] = entry.index
            known = self._applied.setdefault(entry.index, entry)
            if known != entry:
                text = f"{member} applies {entry.index} of term {entry.term}, another member one of {known.term}"
                self._world.fail("state machine safety", text)
            if entry.index > durable.base and durable.terms.get(entry.index) != entry.term:
                text = f"{member} applies {entry.index} of term {entry.term}, which is not on its disk"
                self._world.fail("state machine safety", text)
