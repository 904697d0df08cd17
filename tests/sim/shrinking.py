"""Makes a failing schedule short: faults are left out, in ever smaller groups, as long as the same promise still breaks."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import Fault
from .world import Violation, World

MAX_RUNS = 150


def shrink(seed: int, steps: int, failure: Exception) -> str:
    """The faults that remain, in words."""
    name = _name(failure)
    needed = _needed(seed, steps, name)
    kept = "\n".join(f"  step {fault.step}: {fault.kind} (fault {fault.number})" for fault in needed)
    return f"Faults needed for it, the others left out:\n{kept or '  none'}"


def _name(failure: Exception) -> str:
    return failure.invariant if isinstance(failure, Violation) else type(failure).__name__


def _needed(seed: int, steps: int, name: str) -> Sequence[Fault]:
    everything = World(seed, steps, keep_trace=False).plan.faults
    needed, runs, size = list(everything), 0, max(1, len(everything) // 2)
    while size and runs < MAX_RUNS:
        position = 0
        while position < len(needed) and runs < MAX_RUNS:
            rest = needed[:position] + needed[position + size :]
            runs += 1
            if _fails_with(seed, steps, everything, rest) == name:
                needed = rest
            else:
                position += size
        size //= 2
    return needed


def _fails_with(seed: int, steps: int, everything: Sequence[Fault], kept: Sequence[Fault]) -> str | None:
    skipped = frozenset(fault.number for fault in everything) - {fault.number for fault in kept}
    world = World(seed, steps, skipped, keep_trace=False)
    try:
        world.run()
    except Exception as error:
        return _name(error)
    return None
