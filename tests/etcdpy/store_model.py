"""The store's slow, obvious twin: one flat dict of paths, all history kept, every rule written out as it is told.

Refusals are `(code, cause, index)`, events `(action, node, prev_node)`, a node what a NodeView holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any

SECOND = 10**9


class Refused(Exception):
    pass


@dataclass
class Place:
    value: str | None  # None: a directory
    created: int
    modified: int
    expiration: int | None


@dataclass(eq=False)
class Wait:
    path: str
    recursive: bool
    stream: bool
    since: int
    got: list[int] = field(default_factory=list)
    over: bool = False


def parent_of(path: str) -> str:
    return path.rsplit("/", 1)[0] or "/"


def is_below(path: str, above: str) -> bool:
    return path != above and path.startswith(above if above == "/" else above + "/")


class Model:
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.index = 0
        self.places = {"/": Place(None, 0, 0, None)}
        self.log: dict[int, Any] = {}  # index -> event, or None for what nobody may see
        self.waits: list[Wait] = []

    # What the rules have in common

    def refuse(self, code: int, cause: str) -> None:
        raise Refused(code, cause, self.index)

    def is_dir(self, path: str) -> bool:
        return self.places[path].value is None

    def ancestors(self, path: str) -> list[str]:
        names = path.split("/")[1:]
        return ["/" + "/".join(names[:depth]) for depth in range(1, len(names))]

    def need(self, path: str) -> Place:
        for above in self.ancestors(path):
            if above not in self.places:
                self.refuse(100, above)
            if not self.is_dir(above):
                self.refuse(104, above)
        if path not in self.places:
            self.refuse(100, path)
        return self.places[path]

    def show(self, path: str, now: int) -> tuple[Any, ...]:
        place = self.places[path]
        ttl = 0 if place.expiration is None else ceil((place.expiration - now) / SECOND)
        is_dir = place.value is None
        return (path, place.value, is_dir, place.modified, place.created, place.expiration, ttl, None)

    def publish(self, event: Any, refresh: bool = False, gone: frozenset[str] = frozenset()) -> Any:
        self.log[self.index] = None if refresh else event
        for wait in self.waits:
            sees = wants(wait.path, wait.recursive, event[1][0]) or wait.path in gone
            if not wait.over and not refresh and self.index >= wait.since and sees:
                wait.got.append(self.index)
                wait.over = not wait.stream
        return event

    def make(self, action: str, path: str, value: str, dir: bool, ttl: int | None, now: int, refresh: bool) -> Any:
        prev = self.show(path, now) if path in self.places else None
        self.index += 1
        for above in self.ancestors(path):
            self.places.setdefault(above, Place(None, self.index, self.index, None))
        expiration = None if ttl is None else now + ttl
        self.places[path] = Place(None if dir else value, self.index, self.index, expiration)
        return self.publish((action, self.show(path, now), prev), refresh)

    def check_way(self, path: str) -> None:
        if path == "/":
            self.refuse(107, "/")
        for above in self.ancestors(path):
            if above in self.places and not self.is_dir(above):
                self.refuse(104, above)

    def write(self, action: str, path: str, value: str, ttl: int | None, refresh: bool, now: int) -> Any:
        place, prev = self.places[path], self.show(path, now)
        self.index += 1
        place.expiration = None if ttl is None else now + ttl
        if place.value is not None:
            place.modified = self.index
            place.value = place.value if refresh else value
        shown = self.show(path, now)
        return self.publish((action, (*shown[:3], self.index, *shown[4:]), prev), refresh)

    def remove(self, action: str, path: str, now: int) -> Any:
        prev = self.show(path, now)
        gone = frozenset(other for other in self.places if other == path or is_below(other, path))
        for other in gone:
            del self.places[other]
        self.index += 1
        return self.publish((action, (path, None, prev[2], self.index, prev[4], None, 0, None), prev), gone=gone)

    def compare(self, path: str, prev_value: str, prev_index: int) -> None:
        place = self.need(path)
        if place.value is None:
            self.refuse(102, "" if path == "/" else path)
        causes = []
        if prev_value and prev_value != place.value:
            causes.append(f"[{prev_value} != {place.value}]")
        if prev_index and prev_index != place.modified:
            causes.append(f"[{prev_index} != {place.modified}]")
        if causes:
            self.refuse(101, " ".join(causes))

    # The operations

    def set(self, path: str, value: str, dir: bool, ttl: int | None, refresh: bool, now: int) -> Any:
        if refresh:
            value = self.need(path).value or ""
        self.check_way(path)
        if path in self.places and self.is_dir(path):
            self.refuse(102, path)
        return self.make("set", path, value, dir, ttl, now, refresh)

    def create(self, path: str, value: str, dir: bool, unique: bool, ttl: int | None, now: int) -> Any:
        if unique:
            path = ("" if path == "/" else path) + "/" + str(self.index + 1).rjust(20, "0")
        self.check_way(path)
        if path in self.places:
            self.refuse(105, path)
        return self.make("create", path, value, dir, ttl, now, False)

    def update(self, path: str, value: str, ttl: int | None, refresh: bool, now: int) -> Any:
        if path == "/":
            self.refuse(107, "/")
        if self.need(path).value is None and value:
            self.refuse(102, path)
        return self.write("update", path, value, ttl, refresh, now)

    def compare_and_swap(
        self, path: str, prev_value: str, prev_index: int, value: str, ttl: int | None, refresh: bool, now: int
    ) -> Any:
        if path == "/":
            self.refuse(107, "/")
        self.compare(path, prev_value, prev_index)
        return self.write("compareAndSwap", path, value, ttl, refresh, now)

    def delete(self, path: str, dir: bool, recursive: bool, now: int) -> Any:
        if path == "/":
            self.refuse(107, "/")
        if self.need(path).value is None and not recursive:
            if not dir:
                self.refuse(102, path)
            if any(is_below(other, path) for other in self.places):
                self.refuse(108, path)
        return self.remove("delete", path, now)

    def compare_and_delete(self, path: str, prev_value: str, prev_index: int, now: int) -> Any:
        self.compare(path, prev_value, prev_index)
        return self.remove("compareAndDelete", path, now)

    def due(self) -> list[tuple[int, int, str]]:
        return sorted((p.expiration, p.created, path) for path, p in self.places.items() if p.expiration is not None)

    def expire(self, now: int) -> list[Any]:
        events = []
        while (due := self.due()) and due[0][0] <= now:
            events.append(self.remove("expire", due[0][2], now))
        return events

    def get(self, path: str, recursive: bool, now: int) -> Any:
        self.need(path)
        return ("get", self.listing(path, recursive, now, top=True), None)

    def listing(self, path: str, recursive: bool, now: int, top: bool) -> tuple[Any, ...]:
        shown = self.show(path, now)
        nodes = []
        if self.is_dir(path) and (top or recursive):
            for child in sorted(self.places):
                if child != "/" and parent_of(child) == path and not child.rsplit("/", 1)[1].startswith("_"):
                    nodes.append(self.listing(child, recursive, now, top=False))
        return ("" if path == "/" else path, *shown[1:7], tuple(nodes) or None)

    def watch(self, path: str, recursive: bool, stream: bool, since: int) -> Wait:
        oldest = max(1, self.index - self.capacity + 1)
        if 0 < since < oldest and self.index:
            self.refuse(401, f"the requested history has been cleared [{oldest}/{since}]")
        wait = Wait(path, recursive, stream, max(since, self.index + 1))
        if since:
            for index in range(since, self.index + 1):
                event = self.log[index]
                if event and not wait.over and replays(path, recursive, event):
                    wait.got.append(index)
                    wait.over = not stream
        self.waits.append(wait)
        return wait


def wants(path: str, recursive: bool, key: str) -> bool:
    """Live: the key itself, or recursively what is below and not hidden from there."""
    if key == path:
        return True
    rest = key[len(path.rstrip("/")) :]
    return recursive and is_below(key, path) and not any(name.startswith("_") for name in rest.split("/"))


def replays(path: str, recursive: bool, event: Any) -> bool:
    """From history: the same, and everything below a directory that goes (what existed below is not known any more)."""
    action, node, _ = event
    return wants(path, recursive, node[0]) or (node[2] and action in ("delete", "expire") and is_below(path, node[0]))
