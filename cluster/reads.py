"""Linearizable reads in rounds (Raft thesis, section 6.4): one ReadIndex answers every read that was waiting.

A read waits to be *asked*, its round waits to be *confirmed* by a majority, and the confirmed round waits until this
member has applied up to its index. Rounds lost on the way (a message dropped, a leader gone) are asked again: a read
changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from raft.messages import ReadState

ReadDone = Callable[[Exception | None], None]


class Reading(NamedTuple):
    """`begun` is in seconds of the monotonic clock."""

    done: ReadDone
    begun: float


class _Round(NamedTuple):
    sent: float
    readings: list[Reading]


class Reads:
    def __init__(self) -> None:
        self._waiting: list[Reading] = []
        self._dropped: list[Reading] = []
        self._rounds: dict[bytes, _Round] = {}
        self._confirmed: list[tuple[int, list[Reading]]] = []
        self._count = 0

    def __len__(self) -> int:
        """How many wait for their round to begin."""
        return len(self._waiting)

    def ask(self, done: ReadDone, now: float) -> None:
        self._waiting.append(Reading(done, now))

    def begin_round(self, now: float) -> bytes:
        """The context for one ReadIndex that serves all who wait."""
        self._count += 1
        context = self._count.to_bytes(8, "big")
        self._rounds[context] = _Round(now, self._waiting)
        self._waiting = []
        return context

    def confirm(self, read_states: Iterable[ReadState]) -> None:
        for state in read_states:
            round_ = self._rounds.pop(state.context, None)
            if round_ is None:
                continue
            if state.index:
                self._confirmed.append((state.index, round_.readings))
            else:  # asked again at once, they might be dropped again at once, for ever
                self._dropped.extend(round_.readings)

    def answer(self, applied_index: int) -> None:
        """Lets those read whose index this member has applied."""
        ready = [readings for index, readings in self._confirmed if index <= applied_index]
        if not ready:
            return
        self._confirmed = [item for item in self._confirmed if item[0] > applied_index]
        for readings in ready:
            for reading in readings:
                reading.done(None)

    def ask_again(self, sent_before: float) -> None:
        """Puts those who were dropped, and the rounds sent before that moment, back among those who wait. To be called
        now and then: that is the pace at which a read is tried."""
        self._waiting.extend(self._dropped)
        self._dropped.clear()
        for context in [context for context, round_ in self._rounds.items() if round_.sent < sent_before]:
            self._waiting.extend(self._rounds.pop(context).readings)

    def take_expired(self, begun_before: float) -> list[Reading]:
        """Removes and returns the reads that have waited too long, wherever they wait."""
        waiting = [self._waiting, self._dropped, *(round_.readings for round_ in self._rounds.values())]
        waiting += [readings for _, readings in self._confirmed]
        expired = []
        for readings in waiting:
            expired += [reading for reading in readings if reading.begun < begun_before]
            readings[:] = [reading for reading in readings if reading.begun >= begun_before]
        return expired
