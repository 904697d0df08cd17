"""Pending proposals: answered once, proposed again only when they cannot be applied any more."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.pending import Pending, Waiting


def waiting(answers: list[Any], term: int = 1, deadline: float = 10.0, count: int = 1) -> Waiting:
    return Waiting(term, 0.0, deadline, [answers.append] * count, b"")


def test_each_waiter_gets_its_own_result_in_order() -> None:
    pending, answers = Pending(), list[Any]()
    pending.add(7, waiting(answers, count=3))
    pending.resolve(7, ["a", "b", "c"])
    assert answers == ["a", "b", "c"]


def test_a_second_resolve_answers_nobody() -> None:
    pending, answers = Pending(), list[Any]()
    pending.add(7, waiting(answers))
    pending.resolve(7, ["a"])
    pending.resolve(7, ["b"])
    assert answers == ["a"]


def test_a_batch_with_too_few_results_is_an_error_of_ours() -> None:
    pending = Pending()
    pending.add(7, waiting([], count=2))
    with pytest.raises(ValueError, match="shorter"):
        pending.resolve(7, ["a"])


def test_only_proposals_of_earlier_terms_are_dead() -> None:
    pending, answers = Pending(), list[Any]()
    pending.add(1, waiting(answers, term=1))
    pending.add(2, waiting(answers, term=2))
    assert [id_ for id_, _ in pending.take_dead(applied_term=2)] == [1]
    pending.resolve(1, ["late"])
    assert answers == []
    assert len(pending) == 1


def test_after_a_snapshot_nothing_is_ever_declared_dead() -> None:
    pending = Pending()
    pending.add(1, waiting([], term=1))
    pending.lose_sight()
    assert pending.take_dead(applied_term=1 << 63) == []
    assert len(pending.take_expired(now=10.0)) == 1


def test_expiry_takes_what_is_due_and_nothing_else() -> None:
    pending = Pending()
    pending.add(1, waiting([], deadline=5.0))
    pending.add(2, waiting([], deadline=6.0))
    assert len(pending.take_expired(now=5.0)) == 1
    assert len(pending) == 1
