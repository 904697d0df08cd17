"""The simulator finds bugs: those that Raft stores have had, put back one at a time. Here the ones that show soon;
all of them by `make sim-mutants`, which keeps the table in `docs/simulation.md`."""

from __future__ import annotations

import pytest

from tests.sim.editing import edited, find
from tests.sim.mutants import MUTANTS, Mutant, planted
from tests.sim.proving import DOCUMENT, catch
from tests.sim.tuning import small
from tests.sim.world import World

QUICK = {
    "promises_are_sent_at_once": "promises kept",
    "votes_for_everybody": "terms obeyed",
    "pre_candidates_keep_votes": "elected by majority",
    "one_commits": "commit by majority",
    "applies_unsaved": "state machine safety",
    "late_append_truncates": "append rules",
    "window_leaks": "match index",
    "reads_are_not_confirmed": "reads confirmed",
    "repeats_what_may_live": "answers",
    "log_is_not_synced": "promises kept",
    "apply_has_its_own_clock": "state machine model",
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


def test_an_edit_that_fits_nowhere_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="0 times"):
        edited(find("raft.quorum:majority"), "voters // 3", "voters")
