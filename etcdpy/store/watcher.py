"""One client's wait for events, and its flow control.

A watcher is born paused and its owner calls `resume` once it can take events (an HTTP answer: once the headers are
out). While paused, events queue up here; the bound is what keeps a reader that stopped reading from filling the
memory. Knows nothing of the tree or of the other watchers: whoever evicts it is the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from etcdpy.store.event import Event

BACKLOG_LIMIT = 100  # etcd 3.4: watcher_hub.go, the capacity of eventChan


class Watcher:
    """`start_index` is the store's index when the watch was accepted; `since` the first index that it may still see.
    `active` says that more events may come: it turns False when a long poll has its event, and on eviction or removal.

    `on_event` is called with each event, in index order, each at most once; `on_closed` when no event will follow
    because some were lost: the owner closes its connection, so that the client resyncs. Both are called in the middle
    of applying a command: they must be quick, must not raise, and must not write to the store. They may pause, resume
    or remove any watcher.
    """

    __slots__ = (
        "_backlog",
        "_limit",
        "_paused",
        "active",
        "on_closed",
        "on_event",
        "path",
        "recursive",
        "since",
        "start_index",
        "stream",
    )

    def __init__(
        self,
        path: str,
        recursive: bool,
        stream: bool,
        since: int,
        start_index: int,
        on_event: Callable[[Event], object],
        on_closed: Callable[[], object],
        replay: Iterable[Event] = (),
        active: bool = True,
    ) -> None:
        self.path = path
        self.recursive = recursive
        self.stream = stream
        self.since = since
        self.start_index = start_index
        self.on_event = on_event
        self.on_closed = on_closed
        self.active = active
        self._paused = True
        self._backlog = list(replay)
        self._limit = BACKLOG_LIMIT + len(self._backlog)  # what history owes does not count against the reader

    def offer(self, event: Event) -> bool:
        """Delivers or queues the event; False says that the queue is full and the event is lost."""
        if not self._paused:
            self.on_event(event)
            return True
        if len(self._backlog) >= self._limit:
            return False
        self._backlog.append(event)
        return True

    def pause(self) -> None:
        """From now on events are queued."""
        self._paused = True

    def resume(self) -> None:
        """Delivers what has queued up, until paused again, then lets events through as they come."""
        self._paused = False
        while self._backlog and not self._paused:
            self.on_event(self._backlog.pop(0))

    def discard(self) -> None:
        """Ends the watch and drops what has not been delivered."""
        self.active = False
        self._backlog.clear()
