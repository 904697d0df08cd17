"""Makes a failing schedule short: faults are left out, in ever smaller groups, as long as the same promise still
breaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from .plan import Fault, Plan
from .world import Violation, World

MAX_RUNS = 150

Fails = Callable[[frozenset[int]], bool]
"""Whether the run without these faults still fails in the same way."""


def shrink(seed: int, steps: int, failure: Exception, fails: Fails | None = None) -> str:
    """The faults that remain, in words."""
    everything = Plan(seed, steps).faults
    needed = _needed(everything, fails or partial(_fails_as, seed, steps, _name(failure)))
    kept = "\n".join(f"  step {fault.step}: {fault.kind} (fault {fault.number})" for fault in needed)
    return f"Faults needed for it, the others left out:\n{kept or '  none'}"


def _name(failure: Exception) -> str:
    return failure.invariant if isinstance(failure, Violation) else type(failure).__name__


def _needed(everything: Sequence[Fault], fails: Fails) -> Sequence[Fault]:
    numbers = frozenset(fault.number for fault in everything)
    needed, runs, size = list(everything), 0, max(1, len(everything) // 2)
    while size and runs < MAX_RUNS:
        position = 0
        while position < len(needed) and runs < MAX_RUNS:
            rest = needed[:position] + needed[position + size :]
            runs += 1
            if fails(numbers - {fault.number for fault in rest}):
                needed = rest
            else:
                position += size
        size //= 2
    return needed


def _fails_as(seed: int, steps: int, name: str, skipped: frozenset[int]) -> bool:
    try:
        World(seed, steps, skipped, keep_trace=False).run()
    except Exception as error:
        return _name(error) == name
    return False
