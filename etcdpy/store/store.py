"""etcd's v2 key space: a tree of directories and files with one index, TTLs, an event history and watches.

Owns the tree and the index; the meaning of every operation is here (etcd 3.4, etcdserver/api/v2store/store.go). Knows
nothing of Raft, HTTP or clocks: each operation is given `now_ns`, the cluster's time in nanoseconds since the epoch.

Invariants
- State is a function of the operations and their `now_ns`: no hash order, no clock, no randomness.
- Every index from 1 to `index` belongs to one event; each has one slot in the history while it is remembered. A refused
  operation changes nothing and takes no index.
- Nothing recurses over the tree: a path may have as many components as a request can hold.
- Events are published after the tree and the index have changed, one operation at a time.

Paths are canonical (see `etcdpy.commands`). Operations raise `EtcdError` with the index at which they were refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Concatenate, ParamSpec

from etcdpy.errors import (
    COMPARE_FAILED,
    DIRECTORY_NOT_EMPTY,
    KEY_EXISTS,
    KEY_NOT_FOUND,
    NOT_A_DIRECTORY,
    NOT_A_FILE,
    ROOT_READ_ONLY,
    EtcdError,
)
from etcdpy.store.event import Event, NodeView
from etcdpy.store.event_history import EventHistory, Slot
from etcdpy.store.key_node import Directory, File, Node
from etcdpy.store.stats import StoreStats
from etcdpy.store.ttl_heap import Deadline, TtlHeap
from etcdpy.store.watcher import Watcher
from etcdpy.store.watcher_hub import WatcherHub

HISTORY_CAPACITY = 1000

# So that no answer waits long when a great many keys run out together (etcd has no such bound). Part of what the
# replicated log means: members that had different numbers here would come to different states.
EXPIRED_AT_ONCE = 2000

# etcd takes an expiration before this for a mistake and makes a new node permanent: 2000-01-01T00:00:00Z. It can only
# come of a TTL that overflows.
_MIN_EXPIRATION_NS = 946_684_800 * 1_000_000_000

_P = ParamSpec("_P")
_Operation = Callable[Concatenate["Store", _P], Event]


def _counted(kind: str) -> Callable[[_Operation[_P]], _Operation[_P]]:
    """Counts the operation as a success or a failure of its kind."""
    success, failure = f"{kind}Success", f"{kind}Fail"

    def decorate(operation: _Operation[_P]) -> _Operation[_P]:
        @wraps(operation)
        def counted(store: Store, /, *args: _P.args, **kwargs: _P.kwargs) -> Event:
            try:
                event = operation(store, *args, **kwargs)
            except EtcdError:
                store.stats.counters[failure] += 1
                raise
            store.stats.counters[success] += 1
            return event

        return counted

    return decorate


class Store:
    """`quirks` keeps etcd's bugs in watches, for clients only: it never changes the state.

    The public attributes are for snapshots and statistics; write to them only through the methods.
    """

    def __init__(self, quirks: bool = False, history_capacity: int = HISTORY_CAPACITY) -> None:
        self.index = 0
        self.root = Directory(0, 0, None)
        self.history = EventHistory(history_capacity, quirks)
        self.hub = WatcherHub(quirks)
        self.deadlines = TtlHeap(self._is_live)
        self.stats = StoreStats()
        self._quirks = quirks

    # Reads

    @_counted("gets")
    def get(self, path: str, recursive: bool, sorted: bool, now_ns: int) -> Event:
        """The node; of a directory also the children, or with `recursive` all that is below."""
        node = self._find(path)
        key = "" if path == "/" else path
        if isinstance(node, Directory):
            view = _view_below(node, key, recursive, sorted, now_ns)
        else:
            view = node.view(key, now_ns)
        return Event("get", view, store_index=self.index)

    def statistics(self) -> dict[str, int]:
        """What `/v2/stats/store` shows, in its order."""
        return {**self.stats.counters, "watchers": self.hub.count}

    # Writes

    @_counted("sets")
    def set(self, path: str, value: str, dir: bool, ttl_ns: int | None, refresh: bool, now_ns: int) -> Event:
        """Makes a file or an empty directory, or replaces a file; `refresh` needs a node and keeps its value."""
        if refresh:
            value = _value_of(self._find(path))
        siblings, name = self._make_way(path)
        node = siblings.get(name)
        if isinstance(node, Directory):
            raise EtcdError(NOT_A_FILE, path, self.index)
        prev_view = node.view(path, now_ns) if node is not None else None
        view = self._put(siblings, name, path, value, dir, ttl_ns, now_ns)
        return self._publish(Event("set", view, prev_view, self.index, refresh))

    @_counted("create")
    def create(self, path: str, value: str, dir: bool, unique: bool, ttl_ns: int | None, now_ns: int) -> Event:
        """Makes a file or a directory where there is none; with `unique`, below `path`, named after its index."""
        if unique:
            path = f"{'' if path == '/' else path}/{self.index + 1:020}"
        siblings, name = self._make_way(path)
        if name in siblings:
            raise EtcdError(KEY_EXISTS, path, self.index)
        view = self._put(siblings, name, path, value, dir, ttl_ns, now_ns)
        return self._publish(Event("create", view, None, self.index))

    @_counted("update")
    def update(self, path: str, value: str, ttl_ns: int | None, refresh: bool, now_ns: int) -> Event:
        """A new value and TTL for a file, a new TTL for a directory (whose stored modified index stays, as in etcd)."""
        self._refuse_root(path)
        node = self._find(path)
        if isinstance(node, Directory) and value:
            raise EtcdError(NOT_A_FILE, path, self.index)
        return self._write("update", path, node, _value_of(node) if refresh else value, ttl_ns, refresh, now_ns)

    @_counted("compareAndSwap")
    def compare_and_swap(
        self, path: str, prev_value: str, prev_index: int, value: str, ttl_ns: int | None, refresh: bool, now_ns: int
    ) -> Event:
        """A new value and TTL for a file that has the value and the modified index that are given ("" and 0: any)."""
        self._refuse_root(path)
        node = self._matching_file(path, prev_value, prev_index)
        return self._write("compareAndSwap", path, node, node.value if refresh else value, ttl_ns, refresh, now_ns)

    @_counted("delete")
    def delete(self, path: str, dir: bool, recursive: bool, now_ns: int) -> Event:
        """Removes a file; an empty directory if `dir`; anything if `recursive`."""
        self._refuse_root(path)
        node = self._find(path)
        if isinstance(node, Directory) and not recursive:
            if not dir:
                raise EtcdError(NOT_A_FILE, path, self.index)
            if node.children:
                raise EtcdError(DIRECTORY_NOT_EMPTY, path, self.index)
        return self._remove("delete", path, node, now_ns)

    @_counted("compareAndDelete")
    def compare_and_delete(self, path: str, prev_value: str, prev_index: int, now_ns: int) -> Event:
        """Removes a file that has the value and the modified index that are given ("" and 0: any)."""
        return self._remove("compareAndDelete", path, self._matching_file(path, prev_value, prev_index), now_ns)

    def expire(self, now_ns: int) -> list[Event]:
        """Removes the nodes whose time has come, in the order of deadline, created index and path; a directory goes
        with all that is below it, as one event. At most EXPIRED_AT_ONCE go; `next_deadline_ns` tells of the rest."""
        events: list[Event] = []
        while len(events) < EXPIRED_AT_ONCE and (first := self.deadlines.first(now_ns)) is not None:
            path = first[2]
            events.append(self._remove("expire", path, self._find(path), now_ns))
        self.stats.counters["expireCount"] += len(events)
        return events

    def next_deadline_ns(self) -> int | None:
        """When `expire` next has something to do; None while no node has a TTL."""
        first = self.deadlines.first()
        return None if first is None else first[0]

    def record_internal_event(self) -> None:
        """Takes an index and a history slot for something that no client may see (etcd keeps members and users in
        its own store, next to the keys)."""
        self.index += 1
        self.history.append(None)

    # Watches

    def watch(
        self,
        path: str,
        recursive: bool,
        stream: bool,
        since: int,
        on_event: Callable[[Event], object],
        on_closed: Callable[[], object],
    ) -> Watcher:
        """Waits for one event, or with `stream` for all, from the index `since` on (0: from now).

        The watcher is paused: call `resume` when it may deliver; end it with `unwatch`. Past events come first, then
        live ones, with no gap and no repeat. Raises EtcdError 401 if the history no longer reaches back to `since`.
        """
        in_past = 0 < since <= self.index
        replay = list(self.history.scan(path, recursive, since)) if in_past else []
        is_served = bool(replay) and (self._quirks or not stream)  # etcd's past streams stop after one event
        if is_served:
            del replay[1:]
        live_since = max(since, self.index + 1)
        watcher = Watcher(
            path, recursive, stream, live_since, self.index, on_event, on_closed, replay, active=not is_served
        )
        if watcher.active:
            self.hub.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Ends the watch: its callbacks are not called again. Ending it twice does no harm."""
        self.hub.remove(watcher)

    # Snapshots

    def restore(
        self,
        index: int,
        root: Directory,
        deadlines: Iterable[Deadline],
        slots: Iterable[Slot],
        counters: dict[str, int],
    ) -> None:
        """Replaces the whole state. Watchers stay: they get the events they missed, or are closed if those are gone."""
        previous_index = self.index
        self.index = index
        self.root = root
        self.deadlines.load(deadlines)
        self.history.load(slots, index)
        self.stats.counters.update(counters)
        self.hub.catch_up(self.history, previous_index)

    # How it is done

    def _lookup(self, path: str) -> Node | None:
        node: Node = self.root
        if path == "/":
            return node
        for name in path.split("/")[1:]:
            if isinstance(node, File):
                return None
            child = node.children.get(name)
            if child is None:
                return None
            node = child
        return node

    def _find(self, path: str) -> Node:
        node = self._lookup(path)
        if node is None:
            raise self._why_missing(path)
        return node

    def _why_missing(self, path: str) -> EtcdError:
        node: Node = self.root
        names = path.split("/")
        for depth in range(1, len(names)):
            if isinstance(node, File):
                return EtcdError(NOT_A_DIRECTORY, "/".join(names[:depth]), self.index)
            if names[depth] not in node.children:
                break
            node = node.children[names[depth]]
        return EtcdError(KEY_NOT_FOUND, "/".join(names[: depth + 1]), self.index)

    def _make_way(self, path: str) -> tuple[dict[str, Node], str]:
        """The children among which the last name of `path` belongs, and that name; makes directories on the way.

        A directory is made only where nothing was, so whoever asks cannot be refused any more after that.
        """
        self._refuse_root(path)
        names = path.split("/")
        children = self.root.children
        for depth in range(1, len(names) - 1):
            node = children.get(names[depth])
            if node is None:
                node = children[names[depth]] = Directory(self.index + 1, self.index + 1, None)
            elif isinstance(node, File):
                raise EtcdError(NOT_A_DIRECTORY, "/".join(names[: depth + 1]), self.index)
            children = node.children
        return children, names[-1]

    def _refuse_root(self, path: str) -> None:
        if path == "/":
            raise EtcdError(ROOT_READ_ONLY, "/", self.index)

    def _matching_file(self, path: str, prev_value: str, prev_index: int) -> File:
        node = self._find(path)
        if isinstance(node, Directory):
            raise EtcdError(NOT_A_FILE, "" if path == "/" else path, self.index)
        mismatches = []
        if prev_value not in ("", node.value):
            mismatches.append(f"[{prev_value} != {node.value}]")
        if prev_index not in (0, node.modified_index):
            mismatches.append(f"[{prev_index} != {node.modified_index}]")
        if mismatches:
            raise EtcdError(COMPARE_FAILED, " ".join(mismatches), self.index)
        return node

    def _put(
        self,
        siblings: dict[str, Node],
        name: str,
        path: str,
        value: str,
        dir: bool,
        ttl_ns: int | None,
        now_ns: int,
    ) -> NodeView:
        """Makes a new node, under the next index."""
        index = self.index = self.index + 1
        expiration_ns = _expiration(ttl_ns, now_ns)
        if expiration_ns is not None:
            if expiration_ns < _MIN_EXPIRATION_NS:
                expiration_ns = None
            else:
                self.deadlines.push((expiration_ns, index, path))
        node = Directory(index, index, expiration_ns) if dir else File(value, index, index, expiration_ns)
        siblings[name] = node
        return node.view(path, now_ns)

    def _write(
        self, action: str, path: str, node: Node, value: str, ttl_ns: int | None, refresh: bool, now_ns: int
    ) -> Event:
        """Changes a node that stays, under the next index."""
        prev_view = node.view(path, now_ns)
        self.index += 1
        if isinstance(node, File):
            node.value = value
            node.modified_index = self.index
        node.expiration_ns = _expiration(ttl_ns, now_ns)
        if node.expiration_ns is not None:
            self.deadlines.push((node.expiration_ns, node.created_index, path))
        view = node.view(path, now_ns)
        if isinstance(node, Directory):
            view = view._replace(modified_index=self.index)
        return self._publish(Event(action, view, prev_view, self.index, refresh))

    def _remove(self, action: str, path: str, node: Node, now_ns: int) -> Event:
        """Takes a node and all below it out of the tree, under the next index."""
        prev_view = node.view(path, now_ns)
        parent_path, _, name = path.rpartition("/")
        parent = self._find(parent_path or "/")
        assert isinstance(parent, Directory)
        del parent.children[name]
        self.index += 1
        view = NodeView(path, None, prev_view.dir, self.index, node.created_index)
        return self._publish(Event(action, view, prev_view, self.index), removed=node)

    def _publish(self, event: Event, removed: Node | None = None) -> Event:
        self.history.append(None if event.refresh else event)
        if self.hub.count and not event.refresh:
            self.hub.notify(event, removed)
        return event

    def _is_live(self, deadline: Deadline) -> bool:
        deadline_ns, created_index, path = deadline
        node = self._lookup(path)
        return node is not None and node.expiration_ns == deadline_ns and node.created_index == created_index


def _expiration(ttl_ns: int | None, now_ns: int) -> int | None:
    """The end of a TTL in nanoseconds since the epoch, in signed 64 bits, as etcd's arithmetic has it.

    Within `etcdpy.commands.MAX_TTL_SECONDS` nothing overflows. Beyond, every member must still come to the same number.
    """
    if ttl_ns is None:
        return None
    return (now_ns + ttl_ns + 2**63) % 2**64 - 2**63


def _value_of(node: Node) -> str:
    return "" if isinstance(node, Directory) else node.value


def _view_below(directory: Directory, key: str, recursive: bool, in_order: bool, now_ns: int) -> NodeView:
    """The directory with its visible children, or with all that is visible below it.

    The first loop lists directories before those inside them, the second makes their views in the opposite order, so
    that each finds its children's ready.
    """
    listings = []
    pending: list[tuple[str, Directory]] = [(key, directory)]
    while pending:
        above, listed = pending.pop()
        children = [(f"{above}/{name}", child) for name, child in listed.visible_children(in_order)]
        listings.append((above, listed, children))
        if recursive:
            pending.extend((path, child) for path, child in children if isinstance(child, Directory))
    views: dict[str, NodeView] = {}
    for above, listed, children in reversed(listings):
        nodes = tuple(views.pop(path) if path in views else child.view(path, now_ns) for path, child in children)
        views[above] = listed.view(above, now_ns, nodes or None)
    return views[key]
