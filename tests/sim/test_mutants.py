"""The simulator finds bugs: those that Raft stores have had, put back one at a time. Here the ones that show soon;
all of them by `make sim-mutants`, which keeps the table in `docs/simulation.md`."""

from __future__ import annotations

import pytest

from tests.sim.mutants import MUTANTS, Mutant, planted
from tests.sim.proving import DOCUMENT, catch
from tests.sim.tuning import small
from tests.sim.world import World

QUICK = {
    "promises_are_sent_at_once": "promises kept",
    "votes_for_everybody": "liveness",
    "acknowledges_before_the_save": "promises kept",
    "applies_unsaved": "state machine safety",
    "log_is_not_synced": "promises kept",
    "apply_has_its_own_clock": "applied state equal",
}


@pytest.mark.filterwarnings("ignore:coroutine")
@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if mutant.name in QUICK], ids=lambda mutant: mutant.name
)
def test_a_bug_is_caught(mutant: Mutant) -> None:
    with small():
        assert catch(mutant, 1500).by == QUICK[mutant.name]


def test_nothing_stays_planted() -> None:
    with small():
        for mutant in MUTANTS:
            with planted(mutant):
                pass
        World(1, 300, keep_trace=False).run()


def test_the_document_lists_every_mutant() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert [mutant.name for mutant in MUTANTS if f"| `{mutant.name}` |" not in text] == []
