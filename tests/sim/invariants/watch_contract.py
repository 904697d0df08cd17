"""The watch contract (etcd's documentation of v2, "Waiting for a change"): a watcher gets each event on its path
once, in order, without a gap; after a break it goes on at the next index, at any member, or is told that the history
is gone (401)."""

from __future__ import annotations

from random import Random
from typing import Any

from etcdpy.commands import Watch
from etcdpy.errors import EtcdError

from .applied_state_equal import AppliedStateEqual

PATHS = (("/", True), ("/r", True), ("/r/0", False))


class _Watcher:
    """`position` is the last store index that it has seen or need not see."""

    def __init__(self, path: str, recursive: bool) -> None:
        self.path = path
        self.recursive = recursive
        self.position: int | None = None
        self.member: Any = None
        self.received: list[Any] = []
        self.closed = False

    def sees(self, event: Any) -> bool:
        if event is None:
            return False
        key = event[1].key
        return bool(key == self.path or (self.recursive and (self.path == "/" or key.startswith(self.path + "/"))))


class WatchContract:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._watch = watch
        self._random = Random(f"{watch.world.seed}/watchers")
        self._watchers = [_Watcher(*where) for where in PATHS]

    @property
    def _events(self) -> dict[int, Any]:
        events: dict[int, Any] = self._watch.get(AppliedStateEqual).events
        return events

    def after_step(self, member: Any, raft: Any) -> None:
        for watcher in self._watchers:
            if watcher.received:
                self._check(watcher)
            if watcher.closed:
                watcher.member = None
            if watcher.member is None:
                self._connect(watcher)

    def _connect(self, watcher: _Watcher) -> None:
        running = self._world.running()
        if not running:
            return
        member = self._random.choice(running)
        watcher.closed = False
        since = 0 if watcher.position is None else watcher.position + 1
        request = Watch(watcher.path, watcher.recursive, True, since)
        try:
            opened, _ = member.service.watch(request, watcher.received.append, lambda: setattr(watcher, "closed", True))
        except EtcdError as error:
            if error.code != 401:
                self._world.fail("watch contract", f"{member} refuses a watch with {error}")
            watcher.position = None  # the history is gone, and it was told so
            return
        watcher.member = member
        if watcher.position is None:
            watcher.position = opened.start_index
        opened.resume()

    def _check(self, watcher: _Watcher) -> None:
        received, watcher.received[:] = list(watcher.received), []
        for event in received:
            self._next(watcher, event)

    def _next(self, watcher: _Watcher, event: Any) -> None:
        position, index, events = watcher.position, event.index, self._events
        assert position is not None
        where = f"the watcher of {watcher.path} at {watcher.member}"
        if index <= position:
            self._world.fail("watch contract", f"{where} gets {index} after {position}")
        for missed in range(position + 1, index):
            if watcher.sees(events.get(missed)):
                self._world.fail("watch contract", f"{where} gets {index} after {position} and misses {missed}")
        if index in events and events[index] != (event.action, event.node, event.prev_node):
            self._world.fail("watch contract", f"{where} gets {event.action} at {index}, which is {events[index]}")
        watcher.position = index

    def died(self, member: Any) -> None:
        for watcher in self._watchers:
            if watcher.member is member:
                if watcher.received:
                    self._check(watcher)
                watcher.member = None

    def at_end(self) -> None:
        for watcher in self._watchers:
            if watcher.received:
                self._check(watcher)
            if watcher.member is None or watcher.closed:
                continue
            for index in range(watcher.position + 1, watcher.member.store.index + 1):  # type: ignore[operator]
                if watcher.sees(self._events.get(index)):
                    self._world.fail("watch contract", f"the watcher of {watcher.path} never gets {index}")
