"""Batches: in order, as few as the size allows, nothing lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cluster.batching import MAX_BATCH_BYTES, Asked, Batching


def asked(size: int, begun: float = 0.0) -> Asked:
    return Asked(b"x" * size, lambda result: None, begun)


@given(st.lists(st.integers(1, MAX_BATCH_BYTES + 10), max_size=12))
def test_batches_keep_order_lose_nothing_and_respect_the_limit(sizes: list[int]) -> None:
    batching = Batching()
    everything = [asked(size) for size in sizes]
    for one in everything:
        batching.ask(one)
    batches = batching.take_batches()
    assert [one for batch in batches for one in batch] == everything
    assert all(len(batch) == 1 or sum(len(one.packed) for one in batch) <= MAX_BATCH_BYTES for batch in batches)
    joined = [sum(len(one.packed) for one in batch + following[:1]) for batch, following in pairwise(batches)]
    assert all(size > MAX_BATCH_BYTES for size in joined)
    assert len(batching) == 0


def test_expired_commands_leave_and_the_others_stay() -> None:
    batching = Batching()
    old, young = asked(1, begun=1.0), asked(1, begun=3.0)
    batching.ask(old)
    batching.ask(young)
    assert batching.take_expired(begun_before=2.0) == [old]
    assert batching.take_batches() == [[young]]
