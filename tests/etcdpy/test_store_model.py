"""The store against its obvious twin: the same operations give the same answers, indexes, errors and watch events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from store_model import SECOND, Model, Refused, Wait

from etcdpy.errors import EtcdError
from etcdpy.store import snapshot
from etcdpy.store.event import Event, NodeView
from etcdpy.store.store import Store
from etcdpy.store.watcher import Watcher

CAPACITY = 12

# Few and related, so that operations and watches meet.
TREE = ["/a", "/a/b", "/a/b/c", "/a/_h", "/a/_h/x", "/ab", "/ab/b", "/_h", "/_h/b"]
paths = st.sampled_from(["/", *TREE])
values = st.sampled_from(["", "x", "y", "é\udcff"])
ttls = st.sampled_from([None, None, 0, 1 * SECOND, 5 * SECOND, 7 * SECOND + 1])
flags = st.booleans()
ages = st.integers(-3, CAPACITY + 3)


def plain(event: Event) -> tuple[Any, ...]:
    return (event.action, event.node, event.prev_node)


def outcome(operation: Callable[..., Any], *args: Any) -> Any:
    """What it returned, or why it refused."""
    try:
        return operation(*args)
    except (EtcdError, Refused) as refused:
        return refused.args


def in_order(view: NodeView) -> NodeView:
    nodes = view.nodes and tuple(sorted(map(in_order, view.nodes)))
    return view._replace(nodes=nodes)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1_700_000_000 * SECOND
        self.store = Store(history_capacity=CAPACITY)
        self.model = Model(CAPACITY)
        self.watches: list[tuple[Watcher, list[int], Wait]] = []

    @initialize(made=st.sets(st.sampled_from(TREE)), watched=st.lists(st.tuples(paths, flags, flags), max_size=4))
    def begin_with_something(self, made: set[str], watched: list[tuple[str, bool, bool]]) -> None:
        for path in sorted(made):
            self.both("create", path, "y", False, False, None)
        for path, recursive, stream in watched:
            self.watch(path, recursive, stream, 0, True)

    def both(self, operation: str, *args: Any) -> None:
        expected = outcome(getattr(self.model, operation), *args, self.now)
        event = outcome(getattr(self.store, operation), *args, self.now)
        if not isinstance(event, Event):
            assert event == expected
            return
        assert plain(event) == expected
        assert event.index == event.store_index == self.model.index
        assert event.created == (expected[0] == "create" or (expected[0] == "set" and expected[2] is None))

    @rule(path=paths, value=values, dir=flags, ttl=ttls, refresh=flags)
    def set(self, path: str, value: str, dir: bool, ttl: int | None, refresh: bool) -> None:
        self.both("set", path, value, dir, ttl, refresh)

    @rule(path=paths, value=values)
    def plain_set(self, path: str, value: str) -> None:
        self.both("set", path, value, False, None, False)

    @rule(path=paths, value=values, dir=flags, unique=flags, ttl=ttls)
    def create(self, path: str, value: str, dir: bool, unique: bool, ttl: int | None) -> None:
        self.both("create", path, value, dir, unique, ttl)

    @rule(path=paths, value=values, ttl=ttls, refresh=flags)
    def update(self, path: str, value: str, ttl: int | None, refresh: bool) -> None:
        self.both("update", path, value, ttl, refresh)

    @rule(path=paths, prev=values, age=st.integers(0, 9), value=values, ttl=ttls, refresh=flags)
    def swap(self, path: str, prev: str, age: int, value: str, ttl: int | None, refresh: bool) -> None:
        self.both("compare_and_swap", path, prev, self.some_index(path, age), value, ttl, refresh)

    @rule(path=paths, dir=flags, recursive=flags)
    def delete(self, path: str, dir: bool, recursive: bool) -> None:
        self.both("delete", path, dir, recursive)

    @rule(path=paths, prev=values, age=st.integers(0, 9))
    def compare_and_delete(self, path: str, prev: str, age: int) -> None:
        self.both("compare_and_delete", path, prev, self.some_index(path, age))

    def some_index(self, path: str, choice: int) -> int:
        """Mostly no condition or the right one."""
        place = self.model.places.get(path)
        return 0 if choice < 4 else choice if choice < 6 or place is None else place.modified

    @rule(nanoseconds=st.sampled_from([1, SECOND, 4 * SECOND]))
    def wait_and_expire(self, nanoseconds: int) -> None:
        self.now += nanoseconds
        assert [plain(event) for event in self.store.expire(self.now)] == self.model.expire(self.now)

    @rule()
    def internal_event(self) -> None:
        self.store.record_internal_event()
        self.model.index += 1
        self.model.log[self.model.index] = None

    @rule(path=paths, recursive=flags, sorted=flags)
    def get(self, path: str, recursive: bool, sorted: bool) -> None:
        expected = outcome(self.model.get, path, recursive, self.now)
        event = outcome(self.store.get, path, recursive, sorted, self.now)
        if not isinstance(event, Event):
            assert event == expected
            return
        view = event.node if sorted else in_order(event.node)
        assert (event.action, view, event.prev_node, event.store_index) == (*expected, self.model.index)

    @rule(path=paths, recursive=flags, stream=flags, age=ages, from_now=flags)
    def watch(self, path: str, recursive: bool, stream: bool, age: int, from_now: bool) -> None:
        since = 0 if from_now else max(0, self.model.index - age)
        got: list[int] = []
        wait = outcome(self.model.watch, path, recursive, stream, since)
        watcher = outcome(
            self.store.watch, path, recursive, stream, since, lambda event: got.append(event.index), got.clear
        )
        if not isinstance(watcher, Watcher):
            assert watcher == wait
            return
        assert watcher.start_index == self.model.index
        watcher.resume()
        self.watches.append((watcher, got, wait))

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def unwatch(self, data: st.DataObject) -> None:
        watcher, _, wait = self.watches.pop(data.draw(st.integers(0, len(self.watches) - 1)))
        self.store.unwatch(watcher)
        self.model.waits.remove(wait)

    @precondition(lambda self: self.watches)
    @rule(data=st.data(), paused=flags)
    def pause_or_resume(self, data: st.DataObject, paused: bool) -> None:
        watcher, got, _ = data.draw(st.sampled_from(self.watches))
        watcher.pause()
        before = list(got)
        self.both("set", "/a/b", "x", False, None, False)
        assert got == before
        watcher.resume()

    @rule(luck=st.integers(0, 3))
    def restart(self, luck: int) -> None:
        """A new process with the state of the old one; clients' watches are gone."""
        if luck:
            return
        before = b"".join(snapshot.dump(self.store))
        self.store = Store(history_capacity=CAPACITY)
        snapshot.load(self.store, [before[at : at + 7] for at in range(0, len(before), 7)])
        assert b"".join(snapshot.dump(self.store)) == before
        self.watches.clear()
        self.model.waits.clear()

    @invariant()
    def watchers_got_what_they_should(self) -> None:
        for watcher, got, wait in self.watches:
            assert got == wait.got, (watcher.path, watcher.recursive)
            assert watcher.active != wait.over

    @invariant()
    def bookkeeping_agrees(self) -> None:
        assert self.store.index == self.store.history.last_index == self.model.index
        assert self.store.hub.count == sum(watcher.active for watcher, _, _ in self.watches)
        due = self.model.due()
        assert self.store.next_deadline_ns() == (due[0][0] if due else None)
        assert self.store.deadlines.live() == due


TestStoreAgainstModel = StoreMachine.TestCase
TestStoreAgainstModel.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)
