from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.membership import Member
from cluster.promotion import CAUGHT_UP_ENTRIES, Promotion
from raft.messages import ConfState, Role

LEARNER = Member(2, "new", ("http://new:2380",), (), True)


def promoted(match: int, last_index: int, *, recent_active: bool = True, role: Role = Role.LEADER) -> list[Any]:
    """Whom a check promotes, if the learner has acknowledged the log up to `match`."""
    asked: list[Any] = []
    progress = SimpleNamespace(match=match, recent_active=recent_active)
    raw = SimpleNamespace(
        role=role,
        conf_state=ConfState((1,), (2,)),
        status=lambda: SimpleNamespace(progress={2: progress}, last_index=last_index),
    )
    node = SimpleNamespace(
        membership=SimpleNamespace(get={2: LEARNER}.get),
        change_membership=lambda change_type, member, done: asked.append(member),
    )
    Promotion(node, raw).check()  # type: ignore[arg-type]
    return asked


def test_a_learner_that_has_caught_up_is_promoted() -> None:
    assert promoted(match=1_000, last_index=1_000 + CAUGHT_UP_ENTRIES) == [LEARNER]


def test_one_that_was_never_heard_is_not_however_short_the_log() -> None:
    """It counts as active at first, so that it costs the leader no quorum: a cluster of one would stop."""
    assert promoted(match=0, last_index=5) == []


@pytest.mark.parametrize(
    "case",
    [
        {"match": 1_000, "last_index": 1_001 + CAUGHT_UP_ENTRIES},
        {"match": 1_000, "last_index": 1_000, "recent_active": False},
        {"match": 1_000, "last_index": 1_000, "role": Role.FOLLOWER},
    ],
)
def test_one_that_lags_or_is_silent_is_not_nor_does_a_follower_promote(case: dict[str, Any]) -> None:
    assert promoted(**case) == []
