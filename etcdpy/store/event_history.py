"""The last events, by index, so that a watch may begin in the past (etcd 3.4, v2store/event_history.go).

Every store index has one slot. A slot is None where something took an index that no watcher may see: a refresh, or
cluster bookkeeping. Slots are consecutive, so the one for an index is found by subtraction.

By default a replayed watch sees exactly what a live one sees. With `quirks`, etcd's two matching bugs are kept: hidden
keys leak into recursive watches above them, and a deleted directory `/dd` also answers a watch on `/ddx`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeAlias

from etcdpy.errors import EVENT_INDEX_CLEARED, EtcdError
from etcdpy.store.event import Event

Slot: TypeAlias = Event | None


class EventHistory:
    def __init__(self, capacity: int, quirks: bool = False) -> None:
        self.last_index = 0
        self._slots: deque[Slot] = deque(maxlen=capacity)
        self._quirks = quirks

    @property
    def oldest_index(self) -> int:
        return self.last_index - len(self._slots) + 1

    def append(self, slot: Slot) -> None:
        """Fills the slot of the next index."""
        self.last_index += 1
        self._slots.append(slot)

    def scan(self, path: str, recursive: bool, since: int) -> Iterator[Event]:
        """The events of index `since` and later that a watch on `path` is to see, oldest first.

        Raises EtcdError 401 at once when events from `since` on may have been forgotten.
        """
        oldest = self.oldest_index
        if since < oldest:
            cause = f"the requested history has been cleared [{oldest}/{since}]"
            raise EtcdError(EVENT_INDEX_CLEARED, cause, self.last_index)
        matches = _matches_as_etcd if self._quirks else _matches
        slots = islice(self._slots, since - oldest, None)
        return (event for event in slots if event is not None and matches(event, path, recursive))

    def slots(self) -> Iterator[Slot]:
        """All slots, the oldest first."""
        return iter(self._slots)

    def load(self, slots: Iterable[Slot], last_index: int) -> None:
        """Replaces everything; the last slot is that of `last_index`."""
        self._slots.clear()
        self._slots.extend(slots)
        self.last_index = last_index


def _matches(event: Event, path: str, recursive: bool) -> bool:
    key = event.node.key
    if key == path:
        return True
    if recursive and key.startswith(_as_prefix(path)):
        return "/_" not in key[len(_as_prefix(path)) - 1 :]
    return _removes_directory(event) and path.startswith(key + "/")


def _matches_as_etcd(event: Event, path: str, recursive: bool) -> bool:
    key = event.node.key
    if key == path or (recursive and key.startswith(_as_prefix(path))):
        return True
    return _removes_directory(event) and path.startswith(key)


def _as_prefix(path: str) -> str:
    return path if path == "/" else path + "/"


def _removes_directory(event: Event) -> bool:
    return event.node.dir and event.action in ("delete", "expire")
