"""Quorum reads: one round for all who wait, an answer only when the state is new enough, lost rounds asked again."""

from __future__ import annotations

from cluster.reads import Reads
from raft.messages import ReadState


def asked(reads: Reads, count: int, now: float = 0.0) -> list[Exception | None]:
    answers: list[Exception | None] = []
    for _ in range(count):
        reads.ask(answers.append, now)
    return answers


def test_one_round_serves_everybody_who_waited() -> None:
    reads = Reads()
    answers = asked(reads, 3)
    context = reads.begin_round(now=0.0)
    assert len(reads) == 0
    reads.confirm([ReadState(5, context)])
    reads.answer(applied_index=5)
    assert answers == [None, None, None]


def test_a_read_waits_until_its_index_is_applied() -> None:
    reads = Reads()
    answers = asked(reads, 1)
    reads.confirm([ReadState(5, reads.begin_round(now=0.0))])
    reads.answer(applied_index=4)
    assert answers == []
    reads.answer(applied_index=6)
    assert answers == [None]


def test_a_read_asked_after_the_round_began_is_not_served_by_it() -> None:
    reads = Reads()
    context = reads.begin_round(now=0.0)
    answers = asked(reads, 1)
    reads.confirm([ReadState(5, context)])
    reads.answer(applied_index=9)
    assert answers == []


def test_a_dropped_round_is_asked_again_but_not_at_once() -> None:
    """At once it could be dropped again, and so on, without a turn for anything else."""
    reads = Reads()
    answers = asked(reads, 1)
    reads.confirm([ReadState(0, reads.begin_round(now=0.0))])
    assert len(reads) == 0
    reads.ask_again(sent_before=-1.0)
    assert len(reads) == 1
    reads.confirm([ReadState(1, reads.begin_round(now=1.0))])
    reads.answer(applied_index=1)
    assert answers == [None]


def test_a_late_confirmation_of_a_round_asked_again_answers_nobody() -> None:
    reads = Reads()
    answers = asked(reads, 1)
    old = reads.begin_round(now=0.0)
    reads.ask_again(sent_before=1.0)
    new = reads.begin_round(now=1.0)
    reads.confirm([ReadState(3, old)])
    reads.answer(applied_index=9)
    assert answers == []
    reads.confirm([ReadState(3, new)])
    reads.answer(applied_index=9)
    assert answers == [None]


def test_expiry_finds_reads_wherever_they_wait() -> None:
    reads = Reads()
    asked(reads, 1, now=0.0)
    reads.confirm([ReadState(9, reads.begin_round(now=0.0))])
    asked(reads, 1, now=0.0)
    reads.begin_round(now=0.0)
    asked(reads, 1, now=0.0)
    reads.confirm([ReadState(0, reads.begin_round(now=0.0))])
    asked(reads, 1, now=0.0)
    young = asked(reads, 1, now=5.0)
    assert len(reads.take_expired(begun_before=1.0)) == 4
    reads.confirm([ReadState(1, reads.begin_round(now=5.0))])
    reads.answer(applied_index=1)
    assert young == [None]
