"""`python -m tests.sim`: runs seeds on all cores, prints how a failure is reproduced, and shrinks its schedule."""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import sys
import time
import traceback
from typing import NamedTuple

from .shrinking import shrink
from .tuning import make_small
from .world import Violation, World


class Outcome(NamedTuple):
    """`failure` is None for a clean run."""

    seed: int
    steps: int
    failure: str | None


def run_seed(seed: int, steps: int) -> Outcome:
    world = World(seed, steps, keep_trace=False)
    try:
        world.run()
    except Violation as violation:
        return Outcome(seed, world.step, str(violation))
    except Exception:
        return Outcome(seed, world.step, traceback.format_exc())
    return Outcome(seed, world.step, None)


def _run(arguments: tuple[int, int]) -> Outcome:
    return run_seed(*arguments)


def _prepare() -> None:
    make_small()
    gc.freeze()


def run_seeds(seeds: range, steps: int, jobs: int) -> int:
    """Prints failures as they come; returns how many there were."""
    begun, failed, done, total = time.monotonic(), 0, 0, 0
    with multiprocessing.Pool(jobs, _prepare) as pool:
        for outcome in pool.imap_unordered(_run, [(seed, steps) for seed in seeds]):
            done += 1
            total += outcome.steps
            if outcome.failure is not None:
                failed += 1
                print(f"seed {outcome.seed}, step {outcome.steps}: {outcome.failure.strip()}", flush=True)
                print(f"REPRODUCE: make sim SEED={outcome.seed} STEPS={steps}", flush=True)
    took = time.monotonic() - begun
    print(f"{done} seeds, {total} steps in {took:.1f} s, {failed} failed")
    return failed


def run_one(seed: int, steps: int, trace: str | None, *, shrinking: bool) -> int:
    """One seed with its whole trace; on failure the end of it and the faults that are needed for it."""
    make_small()
    world = World(seed, steps)
    try:
        world.run()
    except Exception as error:
        if not isinstance(error, Violation):
            traceback.print_exc()
        failure = error
    else:
        failure = None
    if trace:
        with open(trace, "w", encoding="utf-8") as file:
            file.write("\n".join(world.lines) + "\n")
    if failure is None:
        print(f"seed {seed}: clean, {world.step} steps, {world.now / 1e9:.1f} s of its time")
        return 0
    print("\n".join(world.lines[-40:]))
    print(f"seed {seed}, step {world.step}: {failure}")
    print(f"REPRODUCE: make sim SEED={seed} STEPS={steps}")
    if shrinking:
        print(shrink(seed, steps, failure))
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one, with its trace")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--trace", help="write the trace of --seed to this file")
    parser.add_argument("--no-shrink", action="store_true")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # in the processes of the pool, too, which are forked from here
    if arguments.seed is not None:
        return run_one(arguments.seed, arguments.steps, arguments.trace, shrinking=not arguments.no_shrink)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    return 1 if run_seeds(seeds, arguments.steps, arguments.jobs) else 0


if __name__ == "__main__":
    sys.exit(main())
