"""The checker against histories whose verdict is known: by thought, and by how they were made."""

from __future__ import annotations

import itertools
import random

import pytest
from linearizability import UNANSWERED, Kind, Operation, find_violation, is_linearizable


def read(value: str | None, called: float, answered: float) -> Operation:
    return Operation("k", Kind.READ, value, called, answered)


def write(value: str, called: float, answered: float = UNANSWERED) -> Operation:
    return Operation("k", Kind.WRITE, value, called, answered)


def swap(expected: str | None, value: str, called: float, answered: float = UNANSWERED) -> Operation:
    return Operation("k", Kind.SWAP, value, called, answered, expected)


LEGAL = {
    "nothing": [],
    "a read of a key that is not there": [read(None, 0, 1)],
    "one after the other": [write("a", 0, 1), read("a", 2, 3), write("b", 4, 5), read("b", 6, 7)],
    "a read sees a write under way": [write("a", 0, 5), read("a", 1, 2)],
    "a read does not see it yet": [write("a", 0, 5), read(None, 1, 2)],
    "not yet, then it does": [write("a", 0, 5), read(None, 1, 2), read("a", 3, 4)],
    "two writes at once, in either order": [write("a", 0, 5), write("b", 0, 5), read("a", 6, 7)],
    "the other": [write("a", 0, 5), write("b", 0, 5), read("b", 6, 7)],
    "an unknown write took effect at once": [write("a", 0), read("a", 1, 2)],
    "an unknown write took effect late": [write("a", 0), read(None, 1, 2), write("b", 3, 4), read("a", 5, 6)],
    "an unknown write never took effect": [write("a", 0), read(None, 1, 2), write("b", 3, 4), read("b", 5, 6)],
    "a swap": [write("a", 0, 1), swap("a", "b", 2, 3), read("b", 4, 5)],
    "an unknown swap that found another value": [write("a", 0, 1), swap("x", "b", 2), read("a", 4, 5)],
    "answer and call at the same moment overlap": [write("a", 0, 1), read(None, 1, 2)],
}

ILLEGAL = {
    "a value nobody wrote": [read("a", 0, 1)],
    "a write is not seen after its answer": [write("a", 0, 1), read(None, 2, 3)],
    "a stale read": [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)],
    "the value goes back while a write is under way": [write("a", 0, 9), read("a", 1, 2), read(None, 3, 4)],
    "two readers see two orders": [
        *(write("a", 0, 9), write("b", 0, 9)),
        *(read("a", 1, 2), read("b", 3, 4), read("a", 5, 6)),
    ],
    "an unknown write takes effect twice": [
        *(write("a", 0), read("a", 1, 2), write("b", 3, 4), read("b", 5, 6), read("a", 7, 8)),
        *(write("c", 9, 10), read("a", 11, 12)),
    ],
    "a read from the future": [read("a", 0, 1), write("a", 2, 3)],
    "a swap of a value that is not there": [write("a", 0, 1), swap("b", "c", 2, 3)],
    "two swaps of one value": [write("a", 0, 1), swap("a", "b", 2, 9), swap("a", "c", 2, 9)],
}


@pytest.mark.parametrize("name", LEGAL)
def test_legal(name: str) -> None:
    assert is_linearizable(LEGAL[name])


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal(name: str) -> None:
    assert not is_linearizable(ILLEGAL[name])


def test_keys_are_judged_on_their_own() -> None:
    good = [operation._replace(key="good") for operation in LEGAL["one after the other"]]
    bad = [operation._replace(key="bad") for operation in ILLEGAL["a stale read"]]
    assert find_violation(good) is None
    assert find_violation([*good, *bad]) == bad


def by_definition(operations: list[Operation]) -> bool:
    """Every order, and every choice of unanswered operations that never happened."""
    answered = [operation for operation in operations if operation.answered != UNANSWERED]
    unanswered = [operation for operation in operations if operation.answered == UNANSWERED]
    return any(
        _explains(order)
        for size in range(len(unanswered) + 1)
        for chosen in itertools.combinations(unanswered, size)
        for order in itertools.permutations([*answered, *chosen])
    )


def _explains(order: tuple[Operation, ...]) -> bool:
    if any(later.answered < earlier.called for earlier, later in itertools.combinations(order, 2)):
        return False
    value: str | None = None
    for operation in order:
        if operation.kind == Kind.READ and operation.value != value:
            return False
        if operation.kind == Kind.SWAP and operation.expected != value:
            return False
        value = operation.value
    return True


def test_small_random_histories_are_judged_as_by_the_definition() -> None:
    draw = random.Random(7)
    verdicts = {True: 0, False: 0}
    for _ in range(1500):
        history = [_any_operation(draw) for _ in range(draw.randint(1, 5))]
        expected = by_definition(history)
        assert is_linearizable(history) == expected, history
        verdicts[expected] += 1
    assert min(verdicts.values()) > 150


def _any_operation(draw: random.Random) -> Operation:
    called = draw.randint(0, 9)
    answered = called + draw.randint(1, 6)
    value = draw.choice("ab")
    kind = draw.choice(list(Kind))
    if kind == Kind.READ:
        return read(draw.choice(["a", "b", None]), called, answered)
    ends = draw.choice([answered, answered, UNANSWERED])
    return (
        write(value, called, ends) if kind == Kind.WRITE else swap(draw.choice(["a", "b", None]), value, called, ends)
    )


def simulated(draw: random.Random, clients: int, count: int, unknown: float) -> list[Operation]:
    """What clients of a real register see: each operation takes effect at a moment between call and answer."""
    moments = []
    for client in range(clients):
        now = draw.random()
        for i in range(count):
            called, effect, now = (now := now + draw.expovariate(1) for _ in range(3))
            answered = now
            is_read = draw.random() < 0.5
            if not is_read and draw.random() < unknown:
                answered = UNANSWERED
            moments.append((effect, called, answered, None if is_read else f"{client}/{i}"))
    history = []
    current: str | None = None
    for _, called, answered, value in sorted(moments):
        current = current if value is None else value
        history.append(Operation("k", Kind.READ if value is None else Kind.WRITE, current, called, answered))
    draw.shuffle(history)
    return history


@pytest.mark.parametrize("seed", range(5))
def test_long_histories_of_a_real_register_are_legal(seed: int) -> None:
    assert is_linearizable(simulated(random.Random(seed), clients=6, count=300, unknown=0.03))


@pytest.mark.parametrize("seed", range(5))
def test_one_stale_read_in_a_long_history_is_found(seed: int) -> None:
    draw = random.Random(seed)
    history = simulated(draw, clients=6, count=200, unknown=0)
    late = draw.choice([i for i, op in enumerate(history) if op.kind == Kind.READ and op.called > 100])
    old = [op.value for op in history if op.kind == Kind.READ and op.answered < history[late].called - 60]
    history[late] = history[late]._replace(value=draw.choice(old))
    assert not is_linearizable(history)
