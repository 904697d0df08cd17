"""The example in examples/ is short, and does what it says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "replicated_counter.py"


def test_the_counter_survives_its_leader(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert capsys.readouterr().out == "{1: 42, 2: 42, 3: 42}\n"


def test_the_example_stays_under_a_hundred_lines() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 100
