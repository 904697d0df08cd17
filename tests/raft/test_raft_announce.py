"""What is committed is news that may wait for company (`RawNode.ready(announce=False)`)."""

from __future__ import annotations

from test_raft_paper import APP_RESP, lead, member

from raft.messages import Entry, EntryType, HardState, Message, MessageType, Ready
from raft.rawnode import RawNode
from raft.storage import MemoryStorage

Pair = tuple[RawNode, MemoryStorage]


def appends(ready: Ready) -> list[tuple[int, int, int]]:
    return [(message.to, len(message.entries), message.commit) for message in ready.messages]


def committed(pair: Pair, index: int) -> Ready:
    """The Ready that follows when a majority has acknowledged `index`, without announcing it."""
    for follower in (2, 3):
        pair[0].step(Message(APP_RESP, 1, follower, 1, index=index))
    return pay(pair)


def pay(pair: Pair, *, announce: bool = False) -> Ready:
    raw, storage = pair
    ready = raw.ready(announce=announce)
    storage.save(ready.hard_state, ready.entries, ready.snapshot)
    raw.advance(ready)
    return ready


def test_a_commit_alone_is_applied_but_neither_sent_nor_saved() -> None:
    pair = raw, _ = lead()
    ready = committed(pair, 1)
    assert [entry.index for entry in ready.committed_entries] == [1]
    assert (appends(ready), ready.hard_state) == ([], None)
    assert not raw.has_ready(announce=False)


def test_the_news_travels_with_the_next_entries() -> None:
    pair = raw, _ = lead()
    committed(pair, 1)
    raw.propose(b"a")
    ready = pay(pair)
    assert appends(ready) == [(2, 1, 1), (3, 1, 1)]
    assert ready.hard_state == HardState(1, 1, 1)
    assert not raw.has_ready()


def test_the_news_goes_alone_when_it_is_announced() -> None:
    pair = raw, _ = lead()
    committed(pair, 1)
    assert raw.has_ready()
    ready = pay(pair, announce=True)
    assert appends(ready) == [(2, 0, 1), (3, 0, 1)]
    assert (ready.hard_state, ready.must_sync) == (HardState(1, 1, 1), False)
    assert not raw.has_ready()


def test_a_member_that_waits_for_its_own_proposal_is_told_at_once() -> None:
    pair = raw, _ = lead()
    committed(pair, 1)
    raw.step(Message(MessageType.PROP, 1, 2, entries=raw_entry(b"from 2")))
    assert appends(pay(pair)) == [(2, 1, 1), (3, 1, 1)]
    assert appends(committed(pair, 2)) == [(2, 0, 2)]
    assert appends(pay(pair, announce=True)) == [(3, 0, 2)]


def test_a_follower_saves_the_commit_with_the_next_entries() -> None:
    pair = raw, _ = member()
    raw.step(Message(MessageType.APP, 1, 2, 1, 0, 0, raw_entry(b"a", term=1, index=1), 0))
    pay(pair)
    raw.step(Message(MessageType.APP, 1, 2, 1, 1, 1, (), 1))
    ready = pay(pair)
    assert [entry.index for entry in ready.committed_entries] == [1]
    assert ready.hard_state is None
    raw.step(Message(MessageType.APP, 1, 2, 1, 1, 1, raw_entry(b"b", term=1, index=2), 1))
    assert pay(pair).hard_state == HardState(1, 0, 1)


def raw_entry(data: bytes, *, term: int = 0, index: int = 0) -> tuple[Entry, ...]:
    return (Entry(term, index, EntryType.NORMAL, data),)
