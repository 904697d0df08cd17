"""The store as bytes, and back: the state's part of a snapshot file.

Format 2 is a stream of msgpack values; how it is cut into pieces means nothing. Format 1, which can be read, had no
`auth`. Text is UTF-8, with the bytes that are
not UTF-8 as they are.

    {"format": "etcdpy store", "version": 2, "index": i, "counters": {name: count}, "auth": any}
    "nodes"      [directory, name, value, created, modified, expiration] ...
    "deadlines"  [deadline, created, path] ...
    "events"     [action, node, prev_node] or nil ...
    "end"        [how many nodes, deadlines, events there were]

Directories are numbered in the order in which they appear, the root (which has no row) being 0; `directory` is the
number of the one that a node is in. `value` is nil for a directory. Times are nanoseconds since the epoch, nil for
never. An event's nodes are `NodeView`s without `nodes`. `auth` is state that is kept beside the keys and means nothing
here. Equal stores give equal bytes, on every member.

The file that holds this carries its checksum, so what is read here is what was written; the checks below are for a
format of another version and for a stream that stops short.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import msgpack

from etcdpy.store.event import Event, NodeView
from etcdpy.store.event_history import Slot
from etcdpy.store.key_node import Directory, File, Node
from etcdpy.store.store import Store
from etcdpy.store.ttl_heap import Deadline

FORMAT = "etcdpy store"
VERSION = 2
READABLE_VERSIONS = (1, 2)
PIECE_BYTES = 1 << 20


_MAX_VALUE_BYTES = 2**31 - 1  # msgpack's own limit on what it takes for one value

Row: TypeAlias = tuple[int, str, str | None, int, int, int | None]


class SnapshotFormatError(ValueError):
    """The bytes are not a whole snapshot of a version that can be read."""


def dump(store: Store, auth: Any = None) -> Iterator[bytes]:
    """Yields the store, with `auth` beside it, in pieces of at most PIECE_BYTES. It must not change before the last
    piece is taken."""
    pack = msgpack.Packer(unicode_errors="surrogateescape").pack
    piece = bytearray()
    for value in _values(store, auth):
        piece += pack(value)
        while len(piece) >= PIECE_BYTES:
            yield bytes(piece[:PIECE_BYTES])
            del piece[:PIECE_BYTES]
    if piece:
        yield bytes(piece)


def load(store: Store, pieces: Iterable[bytes]) -> Any:
    """Replaces the store's state by a dumped one; returns what was beside it. Raises SnapshotFormatError, and then the
    store is as it was."""
    with _collector_off():
        loaded = _Loaded(_unpacked(pieces))
    header = loaded.header
    store.restore(header["index"], loaded.root, loaded.deadlines, loaded.slots, header["counters"])
    return header.get("auth")


def _values(store: Store, auth: Any) -> Iterator[Any]:
    header = {"format": FORMAT, "version": VERSION, "index": store.index, "counters": store.stats.replicated()}
    yield {**header, "auth": auth}
    yield "nodes"
    nodes = yield from _counted(_node_rows(store.root))
    yield "deadlines"
    deadlines = yield from _counted(store.deadlines.live())
    yield "events"
    events = yield from _counted(_event_rows(store.history.slots()))
    yield "end"
    yield [nodes, deadlines, events]


def _counted(rows: Iterable[Any]) -> Generator[Any, None, int]:
    count = 0
    for row in rows:
        count += 1
        yield row
    return count


def _node_rows(root: Directory) -> Iterator[Row]:
    pending = deque([root])
    number = 0
    while pending:
        for name, node in pending.popleft().children.items():
            value = None
            if isinstance(node, File):
                value = node.value
            else:
                pending.append(node)
            yield number, name, value, node.created_index, node.modified_index, node.expiration_ns
        number += 1


def _event_rows(slots: Iterable[Slot]) -> Iterator[Any]:
    for slot in slots:
        yield None if slot is None else (slot.action, slot.node, slot.prev_node)


class _Loaded:
    """A state being put together from the values of a stream."""

    def __init__(self, values: Iterator[Any]) -> None:
        self.header = _checked_header(next(values, None))
        self.root = Directory(0, 0, None)
        self.deadlines: list[Deadline] = []
        self.slots: list[Slot] = []
        _expect("nodes", values)
        nodes = self._take_nodes(values)
        self.deadlines.extend(_rows_until("events", values))
        self.slots.extend(map(_slot, _rows_until("end", values)))
        found = (nodes, len(self.deadlines), len(self.slots))
        if next(values, None) != found:
            raise SnapshotFormatError(f"a store snapshot holds {found} rows, which is not what its end says")

    def _take_nodes(self, values: Iterator[Any]) -> int:
        directories = [self.root]
        count = 0
        for row in _rows_until("deadlines", values):
            number, name, value, created_index, modified_index, expiration_ns = row
            if created_index == modified_index:
                modified_index = created_index  # one number in memory instead of two
            node: Node
            if value is None:
                node = Directory(created_index, modified_index, expiration_ns)
                directories.append(node)
            else:
                node = File(value, created_index, modified_index, expiration_ns)
            directories[number].children[name] = node
            count += 1
        return count


def _checked_header(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise SnapshotFormatError("this is not a store snapshot")
    if value["version"] not in READABLE_VERSIONS:
        raise SnapshotFormatError(f"a store snapshot of version {value['version']}; known here: {VERSION}")
    return value


def _expect(marker: str, values: Iterator[Any]) -> None:
    if next(values, None) != marker:
        raise SnapshotFormatError(f"a store snapshot without {marker!r} where it belongs")


def _rows_until(marker: str, values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        if value == marker:
            return
        yield value
    raise SnapshotFormatError(f"a store snapshot is cut short: {marker!r} never came")


def _slot(row: Any) -> Slot:
    if row is None:
        return None
    action, node, prev_node = row
    return Event(action, NodeView(*node), prev_node and NodeView(*prev_node), node[3])


def _unpacked(pieces: Iterable[bytes]) -> Iterator[Any]:
    unpacker = msgpack.Unpacker(
        use_list=False, unicode_errors="surrogateescape", max_buffer_size=_MAX_VALUE_BYTES, strict_map_key=True
    )
    for piece in pieces:
        unpacker.feed(piece)
        yield from unpacker


@contextmanager
def _collector_off() -> Iterator[None]:
    """Millions of new objects, none of them garbage: the cyclic collector would only walk them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
