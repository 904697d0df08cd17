"""Replays what fuzzing has kept, and fuzzes for a moment with a fixed seed."""

from __future__ import annotations

import random

import pytest

from .__main__ import corpus
from .mutation import mutate
from .targets import TARGETS, seeds


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_and_a_little_more(name: str) -> None:
    target, known, dice = TARGETS[name], seeds(name) + corpus(name), random.Random(name)
    accepted = [target(data) for data in known]
    assert any(accepted), "nothing is accepted: the target looks at the wrong thing"
    for _ in range(300):
        target(mutate(known, dice))
