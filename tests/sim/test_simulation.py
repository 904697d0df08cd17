"""A small part of `make sim`, and what makes a simulation worth having: the same seed is the same run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.__main__ import run_seed
from tests.sim.shrinking import shrink
from tests.sim.tuning import small
from tests.sim.world import World

ROOT = Path(__file__).parents[2]
SEEDS, STEPS = range(1, 11), 1500


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_holds(seed: int) -> None:
    with small():
        outcome = run_seed(seed, STEPS)
    assert outcome.failure is None, f"REPRODUCE: make sim SEED={seed} STEPS={STEPS}"


def _trace_of_another_process(hash_seed: str, path: Path) -> str:
    command = [sys.executable, "-m", "tests.sim", "--seed", "5", "--steps", "1500", "--trace", str(path)]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=60)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_seed_is_the_same_run_to_the_byte(tmp_path: Path) -> None:
    traces = [_trace_of_another_process(hash_seed, tmp_path / hash_seed) for hash_seed in ("0", "4711")]
    assert traces[0] == traces[1]


def test_leaving_a_fault_out_changes_nothing_before_it() -> None:
    with small():
        whole = World(3, 1500)
        last = whole.plan.faults[-1]
        whole.run()
        without = World(3, 1500, frozenset({last.number}))
        without.run()
    before = [line for line in whole.lines if int(line.split()[0]) < last.step]
    assert without.lines[: len(before)] == before


def test_a_failing_schedule_is_shrunk() -> None:
    """The failure here is one that needs a single fault: a seed that would run clean is made to fail by it."""
    with small():
        steps = 600
        world = World(3, steps)
        culprit = world.plan.faults[0]
        failure = LookupError("planted")
        kept = shrink(3, steps, failure, fails=lambda skipped: culprit.number not in skipped)
    assert f"(fault {culprit.number})" in kept
    assert kept.count("(fault ") == 1
