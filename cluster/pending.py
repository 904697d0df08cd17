"""What waits for an answer: each proposal by its id, with the callbacks of those who asked.

A proposal of term T can only become an entry of term T (`codec`: a leader drops what was meant for another term),
and terms in the log never go down. So once an entry of a later term is applied, what was proposed in an earlier term
and has not been applied never will be, and may be proposed again without any risk of being applied twice. This is
how writes survive a change of leader.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from raft.messages import ConfChange

Done = Callable[[Any], None]

UNKNOWABLE = 1 << 64
"""Later than any term: the proposal is never declared dead."""


class Waiting(NamedTuple):
    """One proposal on its way. `begun` and `deadline` are in seconds of the monotonic clock."""

    term: int
    begun: float
    deadline: float
    waiters: Sequence[Done]
    payload: bytes | ConfChange


class Pending:
    def __init__(self) -> None:
        self._waiting: dict[int, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, proposal_id: int, waiting: Waiting) -> None:
        self._waiting[proposal_id] = waiting

    def resolve(self, proposal_id: int, results: Sequence[Any]) -> None:
        """Answers those who wait here; a proposal of another member, or one that timed out, has nobody."""
        waiting = self._waiting.pop(proposal_id, None)
        if waiting is None:
            return
        for done, result in zip(waiting.waiters, results, strict=True):
            done(result)

    def take_dead(self, applied_term: int) -> list[tuple[int, Waiting]]:
        """Removes and returns, with ids, what can no longer be applied, now that an entry of `applied_term` was."""
        dead = [id_ for id_, waiting in self._waiting.items() if waiting.term < applied_term]
        return [(id_, self._waiting.pop(id_)) for id_ in dead]

    def lose_sight(self) -> None:
        """A snapshot has jumped over entries: what waits may be among them, so it must never be proposed again."""
        for id_, waiting in self._waiting.items():
            self._waiting[id_] = waiting._replace(term=UNKNOWABLE)

    def take_expired(self, now: float) -> list[Waiting]:
        expired = [id_ for id_, waiting in self._waiting.items() if waiting.deadline <= now]
        return [self._waiting.pop(id_) for id_ in expired]

    def take_all(self) -> list[Waiting]:
        everything = list(self._waiting.values())
        self._waiting.clear()
        return everything
