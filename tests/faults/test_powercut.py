"""Power cuts on a real file system: what was acknowledged is there."""

from __future__ import annotations

import random
from pathlib import Path

import powercut
import pytest
from loop_disk import why_impossible

pytestmark = pytest.mark.skipif(why_impossible() is not None, reason=str(why_impossible()))


@pytest.mark.parametrize(("count", "cuts"), [(1, 5), (3, 2)])
def test_cutting_the_power_of_all_members_under_load_loses_nothing(tmp_path: Path, count: int, cuts: int) -> None:
    seed = random.randrange(1 << 32)
    report = powercut.run(tmp_path, count, cuts, random.Random(seed), {})
    assert not report.lost, f"seed {seed}: {report}"
    assert report.cuts == cuts


def test_members_whose_fsync_does_nothing_are_found_out(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    report = powercut.run(tmp_path, 1, 10, random.Random(seed), powercut.LYING_FSYNC)
    assert report.lost, f"seed {seed}: {report}"
