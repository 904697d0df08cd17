"""Each rule of etcd's v2 key space that has a row of its own: refusals, indexes, what an answer shows, TTLs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from etcdpy.errors import EtcdError
from etcdpy.store.event import NodeView
from etcdpy.store.store import EXPIRED_AT_ONCE, Store

SECOND = 10**9
NOW = 1_700_000_000 * SECOND


@pytest.fixture
def store() -> Store:
    """Index 3: /file ("v", 1), /dir/child ("c", 2), /empty (3)."""
    store = Store()
    store.set("/file", "v", False, None, False, NOW)
    store.set("/dir/child", "c", False, None, False, NOW)
    store.set("/empty", "", True, None, False, NOW)
    return store


def put(store: Store, path: str, value: str = "v", ttl: int | None = None, now: int = NOW) -> Any:
    return store.set(path, value, False, None if ttl is None else ttl * SECOND, False, now)


REFUSALS: list[tuple[str, Callable[[Store], object], tuple[int, str]]] = [
    ("set /", lambda s: s.set("/", "", False, None, False, NOW), (107, "/")),
    ("set dir /", lambda s: s.set("/", "", True, None, False, NOW), (107, "/")),
    ("refresh /", lambda s: s.set("/", "", False, SECOND, True, NOW), (107, "/")),
    ("create /", lambda s: s.create("/", "", False, False, None, NOW), (107, "/")),
    ("update /", lambda s: s.update("/", "", None, False, NOW), (107, "/")),
    ("cas /", lambda s: s.compare_and_swap("/", "x", 0, "", None, False, NOW), (107, "/")),
    ("delete /", lambda s: s.delete("/", True, True, NOW), (107, "/")),
    ("cad / has no cause", lambda s: s.compare_and_delete("/", "x", 0, NOW), (102, "")),
    ("cad of a directory", lambda s: s.compare_and_delete("/dir", "x", 0, NOW), (102, "/dir")),
    ("cas of a directory", lambda s: s.compare_and_swap("/dir", "", 1, "x", None, False, NOW), (102, "/dir")),
    ("set on a directory", lambda s: s.set("/dir", "x", False, None, False, NOW), (102, "/dir")),
    ("set dir on a directory", lambda s: s.set("/dir", "", True, None, False, NOW), (102, "/dir")),
    ("refresh of a directory", lambda s: s.set("/dir", "", False, SECOND, True, NOW), (102, "/dir")),
    ("value for a directory", lambda s: s.update("/dir", "x", None, False, NOW), (102, "/dir")),
    ("delete without dir", lambda s: s.delete("/empty", False, False, NOW), (102, "/empty")),
    ("delete of a full directory", lambda s: s.delete("/dir", True, False, NOW), (108, "/dir")),
    ("create again", lambda s: s.create("/file", "", False, False, None, NOW), (105, "/file")),
    ("create a directory again", lambda s: s.create("/dir", "", True, False, None, NOW), (105, "/dir")),
    ("set below a file", lambda s: s.set("/file/x/y", "", False, None, False, NOW), (104, "/file")),
    ("refresh below a file", lambda s: s.set("/file/x", "", False, SECOND, True, NOW), (104, "/file")),
    ("in-order create on a file", lambda s: s.create("/file", "", False, True, None, NOW), (104, "/file")),
    ("get below a file", lambda s: s.get("/file/x/y", False, False, NOW), (104, "/file")),
    ("delete below a file", lambda s: s.delete("/file/x", False, False, NOW), (104, "/file")),
    ("update below a file", lambda s: s.update("/file/x", "", None, False, NOW), (104, "/file")),
    ("get: the first that is missing", lambda s: s.get("/dir/no/way", False, False, NOW), (100, "/dir/no")),
    ("update of a missing key", lambda s: s.update("/no", "x", None, False, NOW), (100, "/no")),
    ("cas of a missing key", lambda s: s.compare_and_swap("/no/x", "x", 0, "", None, False, NOW), (100, "/no")),
    ("delete of a missing key", lambda s: s.delete("/dir/no", True, True, NOW), (100, "/dir/no")),
    ("cad of a missing key", lambda s: s.compare_and_delete("/no", "x", 0, NOW), (100, "/no")),
    ("refresh of a missing key", lambda s: s.set("/no/x", "", False, SECOND, True, NOW), (100, "/no")),
    ("cas: value", lambda s: s.compare_and_swap("/file", "n", 1, "", None, False, NOW), (101, "[n != v]")),
    ("cas: index", lambda s: s.compare_and_swap("/file", "v", 9, "", None, False, NOW), (101, "[9 != 1]")),
    ("cas: both", lambda s: s.compare_and_swap("/file", "n", 9, "", None, False, NOW), (101, "[n != v] [9 != 1]")),
    ("cad: both", lambda s: s.compare_and_delete("/file", "n", 9, NOW), (101, "[n != v] [9 != 1]")),
]


@pytest.mark.parametrize(("operation", "refusal"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_a_refusal_says_why_and_changes_nothing(
    store: Store, operation: Callable[[Store], object], refusal: tuple[int, str]
) -> None:
    before = store.get("/", True, True, NOW).node
    with pytest.raises(EtcdError) as error:
        operation(store)
    assert error.value.args == (*refusal, 3)
    assert store.index == store.history.last_index == 3
    assert store.get("/", True, True, NOW).node == before


def test_set_answers_with_the_previous_node_and_a_new_created_index(store: Store) -> None:
    event = put(store, "/file", "w")
    assert event.node == NodeView("/file", "w", False, 4, 4)
    assert event.prev_node == NodeView("/file", "v", False, 1, 1)
    assert not event.created


def test_update_keeps_the_created_index_and_replaces_the_ttl(store: Store) -> None:
    put(store, "/file", "w", ttl=9)
    event = store.update("/file", "x", None, False, NOW)
    assert event.node == NodeView("/file", "x", False, 5, 4)
    assert event.prev_node == NodeView("/file", "w", False, 4, 4, NOW + 9 * SECOND, 9)
    assert store.next_deadline_ns() is None


def test_compare_and_swap_without_a_ttl_makes_the_key_permanent(store: Store) -> None:
    put(store, "/file", "w", ttl=9)
    event = store.compare_and_swap("/file", "w", 4, "x", None, False, NOW)
    assert (event.action, event.node) == ("compareAndSwap", NodeView("/file", "x", False, 5, 4))
    assert store.expire(NOW + 10 * SECOND) == []


def test_no_condition_at_all_swaps_and_deletes(store: Store) -> None:
    assert store.compare_and_swap("/file", "", 0, "x", None, False, NOW).node.value == "x"
    assert store.compare_and_delete("/file", "", 0, NOW).prev_node == NodeView("/file", "x", False, 4, 1)


def test_parents_are_made_with_the_index_of_the_child(store: Store) -> None:
    put(store, "/p/q/r")
    assert store.get("/p", False, False, NOW).node == NodeView(
        "/p", None, True, 4, 4, nodes=(NodeView("/p/q", None, True, 4, 4),)
    )


def test_a_directory_replaces_a_file_and_ignores_the_value(store: Store) -> None:
    event = store.set("/file", "ignored", True, None, False, NOW)
    assert event.node == NodeView("/file", None, True, 4, 4)
    assert event.prev_node == NodeView("/file", "v", False, 1, 1)
    put(store, "/file/x")


def test_in_order_keys_are_twenty_digits_of_the_new_index(store: Store) -> None:
    assert store.create("/q", "1", False, True, None, NOW).node.key == "/q/00000000000000000004"
    assert store.create("/", "2", True, True, None, NOW).node.key == "/00000000000000000005"
    with pytest.raises(EtcdError):
        store.create("/file", "3", False, True, None, NOW)
    assert store.create("/q", "4", False, True, None, NOW).node == NodeView("/q/00000000000000000006", "4", False, 6, 6)


def test_updating_a_directory_shows_an_index_that_it_does_not_keep(store: Store) -> None:
    event = store.update("/dir", "", 5 * SECOND, False, NOW)
    assert event.node == NodeView("/dir", None, True, 4, 2, NOW + 5 * SECOND, 5)
    assert event.prev_node == NodeView("/dir", None, True, 2, 2)
    assert store.get("/dir", False, False, NOW).node.modified_index == 2


def test_a_deleted_node_has_no_value_and_a_deleted_directory_no_children(store: Store) -> None:
    file = store.delete("/file", True, False, NOW)  # dir=true is fine for a file
    assert (file.node, file.prev_node) == (NodeView("/file", None, False, 4, 1), NodeView("/file", "v", False, 1, 1))
    directory = store.delete("/dir", False, True, NOW)
    assert directory.node == NodeView("/dir", None, True, 5, 2)
    assert directory.prev_node == NodeView("/dir", None, True, 2, 2)


def test_refresh_keeps_the_value_takes_an_index_and_renews_the_ttl(store: Store) -> None:
    put(store, "/file", "w", ttl=5)
    event = store.set("/file", "", False, 9 * SECOND, True, NOW + 2 * SECOND)
    assert event.node == NodeView("/file", "w", False, 5, 5, NOW + 11 * SECOND, 9)
    assert event.refresh
    assert store.update("/file", "", 20 * SECOND, True, NOW).node.value == "w"
    assert store.compare_and_swap("/file", "w", 0, "", 30 * SECOND, True, NOW).node.value == "w"


def test_the_root_has_no_key_and_index_zero(store: Store) -> None:
    root = store.get("/", False, False, NOW).node
    assert (root.key, root.dir, root.modified_index, root.created_index) == ("", True, 0, 0)
    assert Store().get("/", True, True, NOW).node.nodes is None


def test_listings_leave_out_hidden_nodes_but_they_can_be_reached() -> None:
    store = Store()
    put(store, "/d/_h/x")
    put(store, "/d/_k")
    assert store.get("/d", True, False, NOW).node.nodes is None
    assert [node.key for node in store.get("/d/_h", False, False, NOW).node.nodes or ()] == ["/d/_h/x"]
    assert store.get("/d/_k", False, False, NOW).node.value == "v"


def test_sorting_goes_by_bytes_at_every_level() -> None:
    store = Store()
    keys = ["/\U0001f600", "/é", "/\udcff", "/\uffff", "/z", "/a-", "/a/2", "/a/1"]
    for key in keys:
        put(store, key)
    root = store.get("/", True, True, NOW).node
    expected = sorted(("/a", *keys[:6]), key=lambda key: key.encode("utf-8", "surrogateescape"))
    assert [node.key for node in root.nodes or ()] == expected
    assert [node.key for node in (root.nodes or ())[0].nodes or ()] == ["/a/1", "/a/2"]


def test_bytes_that_are_not_utf8_and_nul_are_ordinary_key_text() -> None:
    store = Store()
    for key in ("/\udcff", "/\udcfe", "/nul\0x", "/new\nline"):
        put(store, key, key)
        assert store.get(key, False, False, NOW).node.value == key


class TestTtl:
    def test_the_seconds_shown_are_rounded_up_and_go_below_zero(self) -> None:
        store = Store()
        put(store, "/k", ttl=10)
        shown = [store.get("/k", False, False, NOW + late).node.ttl for late in (0, 1, SECOND, 10 * SECOND - 1)]
        assert shown == [10, 10, 9, 1]
        overdue = [store.get("/k", False, False, NOW + late * SECOND // 2).node.ttl for late in (20, 21, 22, 26)]
        assert overdue == [0, 0, -1, -3]

    def test_a_ttl_of_zero_has_an_expiration_and_is_due_at_once(self) -> None:
        store = Store()
        assert put(store, "/k", ttl=0).node == NodeView("/k", "v", False, 1, 1, NOW, 0)
        assert [event.node.key for event in store.expire(NOW)] == ["/k"]

    def test_expiry_is_one_event_and_one_index_for_each_node_by_deadline_then_age_then_path(self) -> None:
        store = Store()
        put(store, "/late", ttl=3)
        put(store, "/old", ttl=2)
        put(store, "/new", ttl=2)
        put(store, "/x/y")
        for path in ("/x/y", "/x"):
            store.update(path, "", 2 * SECOND, False, NOW)  # same deadline, same created index
        put(store, "/soon", ttl=1)
        assert store.next_deadline_ns() == NOW + SECOND
        events = store.expire(NOW + 2 * SECOND)
        assert [(event.node.key, event.index) for event in events] == [
            ("/soon", 8),
            ("/old", 9),
            ("/new", 10),
            ("/x", 11),
        ]
        assert {event.action for event in events} == {"expire"}
        assert events[1].prev_node == NodeView("/old", "v", False, 2, 2, NOW + 2 * SECOND, 0)
        assert events[3].node == NodeView("/x", None, True, 11, 4)
        assert store.next_deadline_ns() == NOW + 3 * SECOND

    def test_a_directory_takes_along_what_would_expire_later_below_it(self) -> None:
        store = Store()
        store.set("/d", "", True, SECOND, False, NOW)
        put(store, "/d/k", ttl=2)
        assert len(store.expire(NOW + 9 * SECOND)) == 1
        assert store.next_deadline_ns() is None

    def test_many_that_are_due_go_a_bounded_number_at_a_time(self) -> None:
        store = Store()
        for i in range(EXPIRED_AT_ONCE + 5):
            put(store, f"/{i}", ttl=1)
        assert len(store.expire(NOW + SECOND)) == EXPIRED_AT_ONCE
        assert store.next_deadline_ns() == NOW + SECOND
        assert [event.node.key for event in store.expire(NOW + SECOND)] == [f"/{EXPIRED_AT_ONCE + i}" for i in range(5)]
        assert store.next_deadline_ns() is None

    def test_a_deleted_or_replaced_node_does_not_expire_another(self) -> None:
        store = Store()
        put(store, "/k", ttl=1)
        put(store, "/k")
        put(store, "/d/k", ttl=1)
        store.delete("/d", False, True, NOW)
        put(store, "/d/k")
        assert store.expire(NOW + 9 * SECOND) == []

    @pytest.mark.parametrize("seconds", [9_223_372_036, 10_000_000_000])
    def test_an_overflow_is_permanent_on_set_and_overdue_on_update(self, seconds: int) -> None:
        """etcd's arithmetic, for clients that ask for it; every member has it, whatever its clients ask for."""
        ttl_ns = (seconds * SECOND + 2**63) % 2**64 - 2**63
        store = Store()
        assert store.set("/k", "v", False, ttl_ns, False, NOW).node.expiration_ns is None
        updated = store.update("/k", "v", ttl_ns, False, NOW).node
        assert updated.expiration_ns == NOW + seconds * SECOND - 2**64
        assert updated.ttl < -(2**32)
        assert len(store.expire(NOW)) == 1

    def test_a_new_node_that_would_have_expired_before_2000_is_permanent(self) -> None:
        store = Store()
        year_2000_ns = 946_684_800 * SECOND
        assert store.create("/a", "", False, False, year_2000_ns - NOW - 1, NOW).node.expiration_ns is None
        assert store.create("/b", "", False, False, year_2000_ns - NOW, NOW).node.expiration_ns == year_2000_ns

    def test_a_far_past_expiration_shows_the_shortest_duration_of_64_bits(self) -> None:
        store = Store()
        put(store, "/k")
        store.update("/k", "v", 2**63 - NOW, False, NOW)
        assert store.get("/k", False, False, NOW).node.ttl == -9_223_372_036


def test_statistics_count_each_operation_once() -> None:
    store = Store()
    operations: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (lambda: store.get("/", False, False, NOW), lambda: store.get("/no", False, False, NOW)),
        (lambda: put(store, "/k"), lambda: put(store, "/")),
        (
            lambda: store.create("/c", "", False, False, None, NOW),
            lambda: store.create("/k/x", "", False, False, None, 0),
        ),
        (lambda: store.update("/k", "v", SECOND, False, NOW), lambda: store.update("/no", "", None, False, NOW)),
        (
            lambda: store.compare_and_swap("/k", "v", 0, "w", SECOND, False, NOW),
            lambda: store.compare_and_swap("/", "v", 0, "w", None, False, NOW),
        ),
        (lambda: store.delete("/c", False, False, NOW), lambda: store.delete("/", True, True, NOW)),
        (lambda: put(store, "/c"), lambda: store.compare_and_delete("/c", "no", 0, NOW)),
        (lambda: store.compare_and_delete("/c", "v", 0, NOW), lambda: store.compare_and_delete("/", "", 0, NOW)),
    ]
    for success, failure in operations:
        success()
        with pytest.raises(EtcdError):
            failure()
    store.expire(NOW + SECOND)
    store.watch("/", True, True, 0, lambda event: None, lambda: None)
    assert list(store.statistics().items()) == [
        ("getsSuccess", 1), ("getsFail", 1), ("setsSuccess", 2), ("setsFail", 1), ("deleteSuccess", 1),
        ("deleteFail", 1), ("updateSuccess", 1), ("updateFail", 1), ("createSuccess", 1), ("createFail", 1),
        ("compareAndSwapSuccess", 1), ("compareAndSwapFail", 1), ("compareAndDeleteSuccess", 1),
        ("compareAndDeleteFail", 2), ("expireCount", 1), ("watchers", 1),
    ]  # fmt: skip


def test_ten_thousand_components_do_not_recurse() -> None:
    store = Store()
    path = "/d" * 10_000
    put(store, path, ttl=1)
    assert store.get(path, False, False, NOW).node.value == "v"
    depth, view = 0, store.get("/", True, True, NOW).node
    while view.nodes:
        depth, view = depth + 1, view.nodes[0]
    assert (depth, view.key) == (10_000, path)
    del view
    got: list[str] = []
    for watched in (path, "/d", "/d/d/d"):
        store.watch(watched, False, False, 0, lambda event: got.append(event.node.key), got.clear).resume()
    store.delete("/d", False, True, NOW)
    assert got == ["/d"] * 3
    assert store.next_deadline_ns() is None
    assert store.get("/", True, False, NOW).node.nodes is None
