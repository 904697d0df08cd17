"""A dumped and loaded store is the same store: tree, TTLs, history, counters, and the next bytes that it dumps."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgpack
import pytest

from etcdpy.errors import EtcdError
from etcdpy.store import snapshot
from etcdpy.store.event import Event
from etcdpy.store.store import Store

NOW = 1_700_000_000 * 10**9
SECOND = 10**9


def busy_store(writes: int = 3000) -> Store:
    store = Store()
    random_source = random.Random(7)
    names = ["a", "b", "_h", "é", "\udcff", "nul\0"]
    for i in range(writes):
        path = "/" + "/".join(random_source.choices(names, k=random_source.randint(1, 4)))
        ttl_ns = random_source.choice([None, None, 60 * SECOND, random_source.randint(0, 9) * SECOND])
        try:
            match random_source.randint(0, 9):
                case 0:
                    store.create(path, f"{i}", i % 2 == 0, i % 3 == 0, ttl_ns, NOW + i)
                case 1:
                    store.update(path, "", ttl_ns, i % 2 == 0, NOW + i)
                case 2:
                    store.delete(path, True, i % 4 == 0, NOW + i)
                case 3:
                    store.record_internal_event()
                case _:
                    store.set(path, f"{i}\udc80", False, ttl_ns, False, NOW + i)
        except EtcdError:
            pass
    return store


def copied(store: Store, pieces: Iterable[bytes] | None = None) -> Store:
    copy = Store()
    snapshot.load(copy, snapshot.dump(store) if pieces is None else pieces)
    return copy


def test_everything_comes_back() -> None:
    store = busy_store()
    copy = copied(store)
    later = NOW + SECOND
    assert copy.index == store.index > 1000
    assert copy.get("/", True, False, later).node == store.get("/", True, False, later).node
    assert copy.next_deadline_ns() == store.next_deadline_ns() is not None
    assert copy.stats.replicated() == store.stats.replicated()
    assert [_plain(slot) for slot in copy.history.slots()] == [_plain(slot) for slot in store.history.slots()]
    assert None in copy.history.slots()
    far = NOW + 100 * SECOND
    expired, expected = copy.expire(far), store.expire(far)
    assert len(expected) > 10
    assert [_plain(event) for event in expired] == [_plain(event) for event in expected]
    assert b"".join(snapshot.dump(copy)) == b"".join(snapshot.dump(store))


def _plain(slot: Event | None) -> object:
    return slot and (slot.action, slot.node, slot.prev_node, slot.index, slot.store_index, slot.refresh)


def test_an_empty_store_comes_back() -> None:
    assert copied(Store()).get("/", True, True, NOW).node == Store().get("/", True, True, NOW).node


def test_what_was_there_is_replaced() -> None:
    store = busy_store(50)
    snapshot.load(store, snapshot.dump(Store()))
    assert (store.index, store.next_deadline_ns(), list(store.history.slots())) == (0, None, [])
    assert store.get("/", True, True, NOW).node.nodes is None


def test_pieces_are_bounded_and_may_be_cut_anywhere() -> None:
    store = busy_store(200)
    store.set("/large", "é" * 1_700_000, False, None, False, NOW)
    pieces = list(snapshot.dump(store))
    assert len(pieces) > 3
    assert max(map(len, pieces)) <= snapshot.PIECE_BYTES
    whole = b"".join(pieces)
    for size in (1000, len(whole)):
        copy = copied(store, (whole[at : at + size] for at in range(0, len(whole), size)))
        assert copy.get("/large", False, False, NOW).node.value == "é" * 1_700_000


@pytest.mark.plain
def test_one_number_serves_both_indexes_where_they_are_equal() -> None:
    store = Store()
    store.index = 10**6
    store.set("/k", "v", False, None, False, NOW)
    node = copied(store).root.children["k"]
    assert node.created_index is node.modified_index


def test_deep_and_wide_trees() -> None:
    store = Store()
    store.set("/d" * 10_000, "deep", False, 60 * SECOND, False, NOW)
    for i in range(20_000):
        store.set(f"/w/{i}", "", i % 2 == 0, None, False, NOW)
    copy = copied(store)
    assert copy.get("/d" * 10_000, False, False, NOW).node.value == "deep"
    assert copy.get("/w", False, False, NOW).node == store.get("/w", False, False, NOW).node
    assert copy.next_deadline_ns() == NOW + 60 * SECOND


def test_every_cut_is_noticed_and_leaves_the_store_as_it_was() -> None:
    whole = b"".join(snapshot.dump(busy_store(12)))
    store = busy_store(5)
    before = b"".join(snapshot.dump(store))
    for length in range(len(whole)):
        with pytest.raises(snapshot.SnapshotFormatError):
            snapshot.load(store, [whole[:length]])
    assert b"".join(snapshot.dump(store)) == before


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ({"format": "etcdpy store", "version": 3}, "version 3; known here: 2"),
        ({"format": "another", "version": 1}, "not a store snapshot"),
        (["nodes", []], "not a store snapshot"),
    ],
)
def test_another_format_is_refused(header: object, complaint: str) -> None:
    with pytest.raises(snapshot.SnapshotFormatError, match=complaint):
        copied(Store(), [msgpack.packb(header)])


def test_a_missing_row_is_noticed() -> None:
    unpacker = msgpack.Unpacker(unicode_errors="surrogateescape", use_list=False)
    unpacker.feed(b"".join(snapshot.dump(busy_store(12))))
    values = list(unpacker)
    del values[values.index("nodes") + 1]
    packed = [msgpack.packb(value, unicode_errors="surrogateescape") for value in values]
    with pytest.raises((snapshot.SnapshotFormatError, IndexError)):
        copied(Store(), packed)


def test_the_first_format_can_still_be_read() -> None:
    """As it was first written, byte by byte: a change of format needs a new version and keeps this readable."""
    pieces = [
        msgpack.packb({"format": "etcdpy store", "version": 1, "index": 7, "counters": {"setsSuccess": 5}}),
        *map(msgpack.packb, ["nodes", [0, "d", None, 5, 5, None], [1, "k", "v", 5, 6, 9], [0, "f", "", 7, 7, None]]),
        *map(msgpack.packb, ["deadlines", [9, 5, "/d/k"], "events"]),
        msgpack.packb(["set", ["/d/k", "w", False, 5, 5, None, 0, None], None]),
        msgpack.packb(None),
        msgpack.packb(["delete", ["/f", None, False, 7, 6, None, 0, None], ["/f", "", False, 6, 6, 8, -1, None]]),
        *map(msgpack.packb, ["end", [3, 1, 3]]),
    ]
    store = copied(Store(), pieces)
    assert store.get("/d/k", False, False, 9).node == ("/d/k", "v", False, 6, 5, 9, 0, None)
    assert store.get("/f", False, False, 9).node == ("/f", "", False, 7, 7, None, 0, None)
    assert store.statistics()["setsSuccess"] == 5
    assert [event.node.key for event in store.history.scan("/", True, 5)] == ["/d/k", "/f"]
    with pytest.raises(EtcdError, match=r"cleared \[5/4\]"):
        store.history.scan("/", True, 4)
    assert [event.node for event in store.expire(9)] == [("/d/k", None, False, 8, 5, None, 0, None)]
