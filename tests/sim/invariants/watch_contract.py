"""The watch contract (etcd's documentation of v2, "Waiting for a change"): a watcher gets each event on its path
once, in order, without a gap; after a break it goes on at the next index, at any member, or is told that the history
is gone (401). Hidden keys are seen only by who watches them. Where a directory goes, those who watch below it are told,
if what they watch was there."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any, NamedTuple

from etcdpy.commands import Watch
from etcdpy.errors import EtcdError
from tests.etcdpy.store_model import replays, wants

from .applied_state_equal import AppliedStateEqual
from .state_machine_model import StateMachineModel


class _Path(NamedTuple):
    path: str
    recursive: bool
    stream: bool


PATHS = (
    _Path("/", True, True),
    _Path("/r", True, True),
    _Path("/r/0", False, True),
    _Path("/d", True, True),
    _Path("/d", False, True),
    _Path("/d/1/0", False, True),
    _Path("/d/2/_0", True, True),
    _Path("/r/1", False, False),
    _Path("/d", True, False),
    _Path("/t/0", False, False),
)


BREAK_EVERY = 250
"""Steps, about, from one watcher that breaks off to the next."""


class _Watcher:
    """`position` is the last store index that it has seen or need not see. One that waits for a single event begins
    anew after each."""

    def __init__(self, where: _Path) -> None:
        self.where = where
        self.path = where.path
        self.position: int | None = None
        self.member: Any = None
        self.end: Any = None
        self.received: list[Any] = []
        self.closed = False
        self.rests_until = 0

    def must_see(self, event: Any, gone: Collection[str]) -> bool:
        return event is not None and (self.path in gone or wants(self.path, self.where.recursive, event[1].key))

    def may_see(self, event: Any) -> bool:
        return event is not None and replays(self.path, self.where.recursive, event)

    def __str__(self) -> str:
        return f"the watcher of {self.path} at {self.member}"


class WatchContract:
    def __init__(self, watch: Any) -> None:
        self._world = watch.world
        self._watch = watch
        self._random = Random(f"{watch.world.seed}/watchers")
        self._watchers = [_Watcher(where) for where in PATHS]
        self._breaks_at = BREAK_EVERY

    @property
    def _events(self) -> dict[int, Any]:
        events: dict[int, Any] = self._watch.get(AppliedStateEqual).events
        return events

    def _must_see(self, watcher: _Watcher, index: int) -> bool:
        gone = self._watch.get(StateMachineModel).model.gone
        return watcher.must_see(self._events.get(index), gone.get(index, ()))

    def after_step(self, member: Any, raft: Any) -> None:
        for watcher in self._watchers:
            if watcher.received:
                self._check(watcher)
            if watcher.closed:
                watcher.member = None
            if watcher.member is None and watcher.rests_until <= self._world.step:
                self._connect(watcher)
        if self._world.step >= self._breaks_at:
            self._break()

    def _break(self) -> None:
        """Somebody goes away, and comes back later."""
        self._breaks_at = self._world.step + self._random.randrange(2 * BREAK_EVERY)
        watcher = self._random.choice(self._watchers)
        if watcher.member is not None:
            watcher.end()
            watcher.member = None
            watcher.rests_until = self._world.step + self._random.choice((0, 300, 2000))

    def _connect(self, watcher: _Watcher) -> None:
        running = self._world.running()
        if not running:
            return
        member = self._random.choice(running)
        watcher.closed = False
        since = 0 if watcher.position is None else watcher.position + 1
        request = Watch(watcher.path, watcher.where.recursive, watcher.where.stream, since)
        try:
            opened, watcher.end = member.service.watch(
                request, watcher.received.append, lambda: setattr(watcher, "closed", True)
            )
        except EtcdError as error:
            self._check_refusal(member, watcher, error)
            watcher.position = None  # the history is gone, and it was told so
            return
        watcher.member = member
        if watcher.position is None:
            watcher.position = opened.start_index
        opened.resume()
        if watcher.received:
            self._check(watcher)

    def _check_refusal(self, member: Any, watcher: _Watcher, error: EtcdError) -> None:
        if error.code != 401:
            self._world.fail("watch contract", f"{member} refuses a watch with {error}")
        oldest = member.store.index - self._world.plan.history_capacity + 1
        if watcher.position is not None and watcher.position + 1 >= oldest:
            text = f"{member} says that {watcher.position + 1} is gone, and remembers all from {oldest} on"
            self._world.fail("watch contract", text)

    def _check(self, watcher: _Watcher) -> None:
        received, watcher.received[:] = list(watcher.received), []
        if not watcher.where.stream and len(received) > 1:
            self._world.fail("watch contract", f"{watcher} waits for one event and gets {len(received)}")
        for event in received:
            self._next(watcher, event)
        if not watcher.where.stream:
            watcher.closed = True

    def _next(self, watcher: _Watcher, event: Any) -> None:
        position, index, events = watcher.position, event.index, self._events
        assert position is not None
        if index <= position:
            self._world.fail("watch contract", f"{watcher} gets {index} after {position}")
        for missed in range(position + 1, index):
            if self._must_see(watcher, missed):
                self._world.fail("watch contract", f"{watcher} gets {index} after {position} and misses {missed}")
        if index in events and events[index] != (event.action, event.node, event.prev_node):
            self._world.fail("watch contract", f"{watcher} gets {event.action} at {index}, which is {events[index]}")
        if not watcher.may_see((event.action, event.node, event.prev_node)):
            self._world.fail("watch contract", f"{watcher} gets {event.action} of {event.node.key} at {index}")
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
                if self._must_see(watcher, index):
                    self._world.fail("watch contract", f"{watcher} never gets {index}")
