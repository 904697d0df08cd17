"""`python -m tests.sim.proving`: plants each mutant, says with which seed and by which invariant it is caught, and
writes the table of `docs/simulation.md`."""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

from .mutants import MUTANTS, Mutant, planted
from .tuning import make_small
from .world import Violation, World

STEPS = 3000
DOCUMENT = Path(__file__).parents[2] / "docs" / "simulation.md"
BEGIN, END = "<!-- mutants: written by make sim-mutants -->\n", "<!-- end of mutants -->\n"


class Caught(NamedTuple):
    """`seed` is None if it was not caught."""

    mutant: str
    seed: int | None
    step: int
    by: str


def catch(mutant: Mutant, steps: int = STEPS) -> Caught:
    """Tries seeds from 1 on."""
    try:
        with planted(mutant):
            caught = (_try(mutant.name, seed, steps) for seed in range(1, mutant.seeds + 1))
            return next((one for one in caught if one is not None), Caught(mutant.name, None, 0, ""))
    finally:
        gc.collect()  # what an exception left half done complains when it goes, and better here than later


def _try(name: str, seed: int, steps: int) -> Caught | None:
    world = World(seed, steps, keep_trace=False)
    try:
        world.run()
    except Violation as violation:
        return Caught(name, seed, world.step, violation.invariant)
    except Exception as error:  # the product's own checks count as well
        return Caught(name, seed, world.step, f"{type(error).__name__} raised")
    return None


def _catch(name: str) -> Caught:
    return catch(next(mutant for mutant in MUTANTS if mutant.name == name))


def _prepare() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    make_small()


def table(caught: list[Caught]) -> str:
    found = {one.mutant: one for one in caught}
    rows = [_row(mutant, found[mutant.name]) for mutant in MUTANTS if mutant.name in found]
    head = ["| mutant | bug | caught with seed | by |", "|---|---|---|---|"]
    return "\n".join([*head, *rows]) + "\n"


def _row(mutant: Mutant, caught: Caught) -> str:
    seed = "none" if caught.seed is None else str(caught.seed)
    return f"| `{mutant.name}` | {mutant.bug} | {seed} of {mutant.seeds} | {caught.by or '**not caught**'} |"


def write_table(text: str) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    before, rest = document.split(BEGIN)
    DOCUMENT.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.sim.proving", description=__doc__)
    parser.add_argument("--only", nargs="*", help="these mutants, and no table")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    names = arguments.only or [mutant.name for mutant in MUTANTS]
    caught: list[Caught] = []
    with multiprocessing.Pool(arguments.jobs, _prepare) as pool:
        for one in pool.imap_unordered(_catch, names):
            caught.append(one)
            print(f"{one.mutant}: {'NOT CAUGHT' if one.seed is None else f'seed {one.seed}, {one.by}'}", flush=True)
    missed = [one.mutant for one in caught if one.seed is None]
    print(f"{len(caught) - len(missed)} of {len(caught)} caught")
    if not arguments.only:
        write_table(table(caught))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
