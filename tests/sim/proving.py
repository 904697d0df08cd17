"""`python -m tests.sim.proving`: plants each mutant, says with which seed of `make sim` and by which invariant it is
caught, and writes the table of `docs/simulation.md`, row by row as they are known.

A run that was interrupted goes on with `--resume`; `--seconds` ends one in good order before it is through."""

from __future__ import annotations

import argparse
import gc
import logging
import multiprocessing
import re
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

from .mutants import MUTANTS, Mutant, planted
from .tuning import make_small
from .world import Violation, World

STEPS = 5000
DOCUMENT = Path(__file__).parents[2] / "docs" / "simulation.md"
BEGIN, END = "<!-- mutants: written by make sim-mutants -->\n", "<!-- end of mutants -->\n"
HEAD = "| mutant | bug | caught with seed | by |\n|---|---|---|---|\n"
_NAME = re.compile(r"\| `(\w+)` \|")


class Caught(NamedTuple):
    """`seed` is None if it was not caught, and `by` is None if there was no time to find out."""

    mutant: str
    seed: int | None
    step: int
    by: str | None


def catch(mutant: Mutant, steps: int = STEPS, deadline: float = float("inf")) -> Caught:
    """Tries seeds from 1 on."""
    try:
        with planted(mutant):
            return _catch(mutant, steps, deadline)
    finally:
        gc.collect()  # what an exception left half done complains when it goes, and better here than later


def _catch(mutant: Mutant, steps: int, deadline: float) -> Caught:
    for seed in range(1, mutant.seeds + 1):
        if time.monotonic() > deadline:
            return Caught(mutant.name, None, 0, None)
        caught = _try(mutant.name, seed, steps)
        if caught is not None:
            return caught
    return Caught(mutant.name, None, 0, "")


def _try(name: str, seed: int, steps: int) -> Caught | None:
    world = World(seed, steps, keep_trace=False)
    try:
        world.run()
    except Violation as violation:
        return Caught(name, seed, world.step, violation.invariant)
    except Exception as error:  # the product's own checks count as well
        return Caught(name, seed, world.step, f"{type(error).__name__} raised")
    return None


def _catch_by_name(task: tuple[str, float]) -> Caught:
    name, deadline = task
    return catch(next(mutant for mutant in MUTANTS if mutant.name == name), deadline=deadline)


def _prepare() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    make_small()


class Table:
    """The rows that the document has. A mutant that is there no more loses its row."""

    def __init__(self, *, keep: bool) -> None:
        rows = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].splitlines() if keep else []
        found = {match[1]: row for row in rows if (match := _NAME.match(row))}
        self._rows = {mutant.name: found[mutant.name] for mutant in MUTANTS if mutant.name in found}

    def lacks(self, name: str) -> bool:
        """Also where it was not caught: it may be by now."""
        return name not in self._rows or "not caught" in self._rows[name]

    def write(self, caught: Caught) -> None:
        mutant = next(mutant for mutant in MUTANTS if mutant.name == caught.mutant)
        seed = "none" if caught.seed is None else str(caught.seed)
        by = caught.by or "**not caught**"
        self._rows[mutant.name] = f"| `{mutant.name}` | {mutant.bug} | {seed} of {mutant.seeds} | {by} |"
        rows = [self._rows[mutant.name] + "\n" for mutant in MUTANTS if mutant.name in self._rows]
        document = DOCUMENT.read_text(encoding="utf-8")
        before, rest = document.split(BEGIN)
        text = before + BEGIN + HEAD + "".join(rows) + END + rest.split(END)[1]
        DOCUMENT.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.sim.proving", description=__doc__)
    parser.add_argument("--only", nargs="*", help="these mutants")
    parser.add_argument("--resume", action="store_true", help="those that the table lacks")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no longer than this; then --resume")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    table = Table(keep=arguments.resume or bool(arguments.only))
    names = arguments.only or [mutant.name for mutant in MUTANTS if not arguments.resume or table.lacks(mutant.name)]
    deadline, missed, open_ = time.monotonic() + arguments.seconds, 0, 0
    with multiprocessing.Pool(arguments.jobs, _prepare) as pool:
        for one in pool.imap_unordered(_catch_by_name, [(name, deadline) for name in names]):
            if one.by is None:
                open_ += 1
                continue
            missed += one.seed is None
            table.write(one)
            print(f"{one.mutant}: {'NOT CAUGHT' if one.seed is None else f'seed {one.seed}, {one.by}'}", flush=True)
    print(f"{len(names) - open_ - missed} caught, {missed} not, {open_} not tried to the end")
    return 1 if missed or open_ else 0


if __name__ == "__main__":
    sys.exit(main())
