"""Which membership changes are refused because the cluster would stop."""

from __future__ import annotations

import pytest

from cluster.errors import NotEnoughStartedMembers
from cluster.reconfiguration import check_reconfiguration
from raft.messages import ConfChange, ConfChangeType


@pytest.mark.parametrize(
    ("voters", "reachable", "removed", "is_allowed"),
    [
        ({1}, {1}, 1, False),
        ({1, 2}, {1, 2}, 2, True),
        ({1, 2}, {1}, 2, True),
        ({1, 2}, {1}, 1, False),
        ({1, 2, 3}, {1, 2, 3}, 3, True),
        ({1, 2, 3}, {1, 2}, 3, True),
        ({1, 2, 3}, {1, 2}, 2, False),
        ({1, 2, 3, 4, 5}, {1, 2, 3}, 3, False),
        ({1, 2, 3, 4, 5}, {1, 2, 3}, 5, True),
        ({1, 2, 3}, {1}, 9, True),
    ],
)
def test_a_removal_is_allowed_if_those_who_stay_and_can_be_reached_are_a_majority(
    voters: set[int], reachable: set[int], removed: int, is_allowed: bool
) -> None:
    change = ConfChange(ConfChangeType.REMOVE, removed)
    if is_allowed:
        check_reconfiguration(change, voters, reachable)
    else:
        with pytest.raises(NotEnoughStartedMembers):
            check_reconfiguration(change, voters, reachable)


def test_adding_a_learner_is_always_allowed() -> None:
    check_reconfiguration(ConfChange(ConfChangeType.ADD_LEARNER, 9), {1, 2, 3}, {1})
