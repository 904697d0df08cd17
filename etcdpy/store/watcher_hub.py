"""Who hears of an event: the watchers on its path and above, and, when a directory goes, those below.

Watchers hang on a tree of branches shaped like the keys that are watched, so an event costs its depth (as far as
anybody watches) plus the watchers that it reaches, and a removed directory costs only the branches that are both
watched and gone. A watcher stands on one branch, so it gets an event at most once.

Rules (etcd 3.4, v2store/watcher_hub.go): above the key only recursive watchers hear, and only if no component between
theirs and the end begins with `_`; on the key itself everybody hears; below a removed directory everybody hears whose
path existed. A long poll leaves with its first event. A watcher whose queue overflows is evicted and told.

With `quirks`, two of etcd's bugs are kept: who watches exactly the key that is removed hears of it twice (visible on
streams), and a watcher that overflows goes silent, with its connection left open.
"""

from __future__ import annotations

from etcdpy.errors import EtcdError
from etcdpy.store.event import Event
from etcdpy.store.event_history import EventHistory
from etcdpy.store.key_node import Directory, Node
from etcdpy.store.watcher import Watcher


class _Branch:
    __slots__ = ("branches", "watchers")

    def __init__(self) -> None:
        self.branches: dict[str, _Branch] = {}
        self.watchers: dict[Watcher, None] = {}  # a set that keeps the order of arrival


class WatcherHub:
    def __init__(self, quirks: bool = False) -> None:
        self.count = 0
        self._root = _Branch()
        self._quirks = quirks

    def add(self, watcher: Watcher) -> None:
        branch = self._root
        for name in _components(watcher.path):
            branch = branch.branches.setdefault(name, _Branch())
        branch.watchers[watcher] = None
        self.count += 1

    def remove(self, watcher: Watcher) -> None:
        """Ends the watch; nothing is delivered any more. Does nothing if it has ended already."""
        self._detach(watcher)
        watcher.discard()

    def notify(self, event: Event, removed: Node | None = None) -> None:
        """Delivers the event. `removed` is the node that it took out of the tree, with all that was below."""
        if not self.count:
            return
        names = _components(event.node.key)
        last_hidden = max((depth for depth, name in enumerate(names) if name.startswith("_")), default=-1)
        branch: _Branch | None = self._root
        for depth, name in enumerate(names):
            if branch is None:
                return
            if branch.watchers and depth > last_hidden:
                self._deliver(branch, event, only_recursive=True)
            branch = branch.branches.get(name)
        if branch is not None:
            self._deliver_at_and_below(branch, event, removed)

    def catch_up(self, history: EventHistory, after_index: int) -> None:
        """The state has just jumped from `after_index` to that of `history` (a snapshot was installed): watchers get
        the events between, and those whose events are forgotten are told that they missed some."""
        for watcher in self._all():
            try:
                missed = history.scan(watcher.path, watcher.recursive, max(after_index + 1, watcher.since))
            except EtcdError:
                self._evict(watcher)
                continue
            for event in missed:
                if watcher.active:
                    self._hand(watcher, event)

    def _hand(self, watcher: Watcher, event: Event) -> None:
        if not watcher.stream:
            self._detach(watcher)
            watcher.offer(event)
        elif not watcher.offer(event):
            self._evict(watcher)

    def _deliver_at_and_below(self, branch: _Branch, event: Event, removed: Node | None) -> None:
        if removed is not None and self._quirks:
            self._deliver(branch, event)
        self._deliver(branch, event)
        if isinstance(removed, Directory):
            self._deliver_below(branch, event, removed)

    def _deliver_below(self, branch: _Branch, event: Event, removed: Directory) -> None:
        pending = [(branch, removed)]
        while pending:
            branch, directory = pending.pop()
            for name, below in list(branch.branches.items()):
                child = directory.children.get(name)
                if child is None:
                    continue
                self._deliver(below, event)
                if isinstance(child, Directory):
                    pending.append((below, child))

    def _deliver(self, branch: _Branch, event: Event, only_recursive: bool = False) -> None:
        index = event.index
        served: Watcher | None = None
        for watcher in tuple(branch.watchers):  # a callback may add or remove watchers
            if not watcher.active or watcher.since > index or (only_recursive and not watcher.recursive):
                continue
            if watcher.stream:
                if not watcher.offer(event):
                    self._evict(watcher)
            else:
                served = watcher
                self._take(watcher, branch)
                watcher.offer(event)
        if served is not None:
            self._prune(served.path)

    def _evict(self, watcher: Watcher) -> None:
        self._detach(watcher)
        if not self._quirks:
            watcher.discard()
            watcher.on_closed()

    def _detach(self, watcher: Watcher) -> None:
        if not watcher.active:
            return
        branch = self._root
        for name in _components(watcher.path):
            branch = branch.branches[name]
        self._take(watcher, branch)
        self._prune(watcher.path)

    def _take(self, watcher: Watcher, branch: _Branch) -> None:
        del branch.watchers[watcher]
        watcher.active = False
        self.count -= 1

    def _prune(self, path: str) -> None:
        """Takes out the branches on `path` on which, and beyond which, nobody watches."""
        names = _components(path)
        trail = [self._root]
        for name in names:
            below = trail[-1].branches.get(name)
            if below is None:
                break
            trail.append(below)
        while len(trail) > 1 and not (trail[-1].watchers or trail[-1].branches):
            trail.pop()
            del trail[-1].branches[names[len(trail) - 1]]

    def _all(self) -> list[Watcher]:
        found: list[Watcher] = []
        pending = [self._root]
        while pending:
            branch = pending.pop()
            found.extend(branch.watchers)
            pending.extend(branch.branches.values())
        return found


def _components(path: str) -> list[str]:
    return [] if path == "/" else path.split("/")[1:]
