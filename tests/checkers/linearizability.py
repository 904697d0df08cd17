"""Is a history of reads and writes linearizable? Wing and Gong's search with Lowe's memory (Testing for
linearizability, 2017), one key at a time (Herlihy and Wing: a history is linearizable if each object's part of it is).

Knows nothing of etcd: a history is a list of operations with the times at which they were called and answered. An
operation whose fate is unknown has no answer: it may have taken effect at any time after its call, or never.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

UNANSWERED = math.inf


class Kind(Enum):
    READ = "read"
    WRITE = "write"
    SWAP = "swap"
    """A compare-and-swap that succeeded, or whose fate is unknown."""


class Operation(NamedTuple):
    """`value` is what was written or read, `expected` what a swap replaces; None is the value of a key not there.
    Times are of one clock; an operation without answer has `answered` UNANSWERED (a read without one says nothing
    and should be left out)."""

    key: str
    kind: Kind
    value: str | None
    called: float
    answered: float
    expected: str | None = None


def find_violation(history: Iterable[Operation]) -> Sequence[Operation] | None:
    """The operations on the first key for which no order explains them; None if there is one for every key."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    return next((by_key[key] for key in sorted(by_key) if not is_linearizable(by_key[key])), None)


def is_linearizable(operations: Sequence[Operation]) -> bool:
    """Whether operations on one key, that is not there at first, can have happened one after the other, each between
    its call and its answer."""
    operations = _without_the_unseen(operations)
    head = _linked(operations)
    value: str | None = None
    taken = 0
    seen = {(taken, value)}
    back: list[tuple[_Event, str | None]] = []
    event = head.next
    while head.next is not None:
        assert event is not None
        if event.answer is not None:
            possible, new_value = _step(value, operations[event.number])
            state = (taken | 1 << event.number, new_value)
            if possible and state not in seen:
                seen.add(state)
                back.append((event, value))
                taken, value = state
                event.lift()
                event = head.next
            else:
                event = event.next
            continue
        if not back:
            return False
        event, value = back.pop()
        taken &= ~(1 << event.number)
        event.put_back()
        event = event.next
    return True


def _without_the_unseen(operations: Sequence[Operation]) -> Sequence[Operation]:
    """An unanswered write that nobody saw may as well never have happened; without it there are far fewer orders."""
    seen = {op.value for op in operations if op.kind == Kind.READ} | {op.expected for op in operations}
    return [op for op in operations if op.kind == Kind.READ or op.answered != UNANSWERED or op.value in seen]


def _step(value: str | None, operation: Operation) -> tuple[bool, str | None]:
    """Whether the operation can take place when the key has that value, and the value after it."""
    if operation.kind == Kind.READ:
        return operation.value == value, value
    if operation.kind == Kind.WRITE:
        return True, operation.value
    if operation.expected == value:
        return True, operation.value
    return operation.answered == UNANSWERED, value


class _Event:
    """A call or an answer in a doubly linked list in the order of time. A call knows its answer; an answer's `answer`
    is None."""

    def __init__(self, number: int, answer: _Event | None) -> None:
        self.number = number
        self.answer = answer
        self.previous: _Event | None = None
        self.next: _Event | None = None

    def lift(self) -> None:
        """Takes a call and its answer out of the list."""
        for event in (self, self.answer):
            assert event is not None
            assert event.previous is not None
            event.previous.next = event.next
            if event.next is not None:
                event.next.previous = event.previous

    def put_back(self) -> None:
        for event in (self.answer, self):
            assert event is not None
            assert event.previous is not None
            event.previous.next = event
            if event.next is not None:
                event.next.previous = event


def _linked(operations: Sequence[Operation]) -> _Event:
    """The list's head, an event that is none. Of events at the same time, calls come first."""
    timed: list[tuple[float, bool, int, _Event]] = []
    for number, operation in enumerate(operations):
        answer = _Event(number, None)
        timed.append((operation.called, False, number, _Event(number, answer)))
        timed.append((operation.answered, True, number, answer))
    head = last = _Event(-1, None)
    for *_, event in sorted(timed, key=lambda each: each[:3]):
        last.next, event.previous = event, last
        last = event
    return head
