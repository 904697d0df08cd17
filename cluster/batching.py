"""Commands that wait to be proposed, and how they become batches: one entry for all that is waiting."""

from __future__ import annotations

from typing import NamedTuple

from cluster.pending import Done

MAX_BATCH_BYTES = 1 << 20
"""A batch is closed before it would grow beyond this; a single command may be larger (its own limit is the API's)."""

MAX_COMMAND_BYTES = 48 << 20
"""Well below what a record of the log and a frame to a peer can hold: beyond that, a command in the log would stop the
member. The API's own limit cannot see to it, for text may grow when it is read (JSON: a byte that is not UTF-8 becomes
three)."""

MAX_WAITING_COMMANDS = 100_000
"""With this many waiting, new ones are refused: memory stays bounded, and clients hear why."""


class Asked(NamedTuple):
    """A packed command; `begun` is in seconds of the monotonic clock."""

    packed: bytes
    done: Done
    begun: float


class Batching:
    def __init__(self) -> None:
        self._asked: list[Asked] = []

    def __len__(self) -> int:
        return len(self._asked)

    @property
    def full(self) -> bool:
        return len(self._asked) >= MAX_WAITING_COMMANDS

    def ask(self, asked: Asked) -> None:
        self._asked.append(asked)

    def take_batches(self) -> list[list[Asked]]:
        """Everything that waits, in order, in as few batches as their size allows."""
        asked, self._asked = self._asked, []
        batches: list[list[Asked]] = []
        size = MAX_BATCH_BYTES
        for one in asked:
            if size + len(one.packed) > MAX_BATCH_BYTES:
                batches.append([])
                size = 0
            batches[-1].append(one)
            size += len(one.packed)
        return batches

    def take_expired(self, begun_before: float) -> list[Asked]:
        expired = [one for one in self._asked if one.begun < begun_before]
        if expired:
            self._asked = [one for one in self._asked if one.begun >= begun_before]
        return expired
