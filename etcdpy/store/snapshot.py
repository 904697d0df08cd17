"""The store as bytes, and back: the state's part of a snapshot file.

Format 1 is a stream of msgpack values; how it is cut into pieces means nothing. Text is UTF-8, with the bytes that are
not UTF-8 as they are.

    {"format": "etcdpy store", "version": 1, "index": i, "counters": {name: count}}
    ["nodes", [[directory, name, value, created, modified, expiration], ...]]   as often as needed
    ["deadlines", [[deadline, created, path], ...]]                             as often as needed
    ["events", [[action, node, prev_node] or nil, ...]]                         as often as needed
    ["end", nodes, deadlines, events]                                           how many there were of each

Directories are numbered in the order in which they appear, the root (which has no row) being 0; `directory` is the
number of the one that a node is in. `value` is nil for a directory. Times are nanoseconds since the epoch, nil for
never. An event's nodes are `NodeView`s without `nodes`. Equal stores give equal bytes, on every member.

The file that holds this carries its checksum, so what is read here is what was written; the checks below are for a
format of another version and for a stream that stops short.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeAlias

import msgpack  # type: ignore[import-untyped]

from etcdpy.store.event import Event, NodeView
from etcdpy.store.event_history import Slot
from etcdpy.store.key_node import Directory, File
from etcdpy.store.store import Store
from etcdpy.store.ttl_heap import Deadline

FORMAT = "etcdpy store"
VERSION = 1
PIECE_BYTES = 1 << 20

_BATCH_ROWS = 2048
_MAX_VALUE_BYTES = 2**31 - 1  # msgpack's own limit on what it takes for one value

Row: TypeAlias = tuple[int, str, str | None, int, int, int | None]


class SnapshotFormatError(ValueError):
    """The bytes are not a whole snapshot of a version that can be read."""


def dump(store: Store) -> Iterator[bytes]:
    """Yields the store in pieces of at most PIECE_BYTES. It must not change before the last piece is taken."""
    pack = msgpack.Packer(unicode_errors="surrogateescape").pack
    piece = bytearray()
    for value in _values(store):
        piece += pack(value)
        while len(piece) >= PIECE_BYTES:
            yield bytes(piece[:PIECE_BYTES])
            del piece[:PIECE_BYTES]
    if piece:
        yield bytes(piece)


def load(store: Store, pieces: Iterable[bytes]) -> None:
    """Replaces the store's state by a dumped one. Raises SnapshotFormatError, and then the store is as it was."""
    with _collector_off():
        loaded = _Loaded()
        for value in _unpacked(pieces):
            loaded.take(value)
        loaded.check_complete()
    header = loaded.header
    store.restore(header["index"], loaded.root, loaded.deadlines, loaded.slots, header["counters"])


def _values(store: Store) -> Iterator[Any]:
    yield {"format": FORMAT, "version": VERSION, "index": store.index, "counters": store.stats.replicated()}
    totals = []
    for name, rows in (
        ("nodes", _node_rows(store.root)),
        ("deadlines", iter(store.deadlines.live())),
        ("events", _event_rows(store.history.slots())),
    ):
        total = 0
        while batch := list(islice(rows, _BATCH_ROWS)):
            total += len(batch)
            yield [name, batch]
        totals.append(total)
    yield ["end", *totals]


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

    def __init__(self) -> None:
        self.header: dict[str, Any] = {}
        self.root = Directory(0, 0, None)
        self.deadlines: list[Deadline] = []
        self.slots: list[Slot] = []
        self._directories = [self.root]
        self._nodes = 0
        self._totals: list[int] | None = None

    def take(self, value: Any) -> None:
        if not self.header:
            self._take_header(value)
            return
        kind, *content = value
        if kind == "nodes":
            self._take_nodes(content[0])
        elif kind == "deadlines":
            self.deadlines.extend(content[0])
        elif kind == "events":
            self.slots.extend(map(_slot, content[0]))
        elif kind == "end":
            self._totals = content
        else:
            raise SnapshotFormatError(f"unknown part {kind!r} in a store snapshot")

    def check_complete(self) -> None:
        found = [self._nodes, len(self.deadlines), len(self.slots)]
        if self._totals != found:
            raise SnapshotFormatError(f"a store snapshot is cut short: it holds {found}, its end says {self._totals}")

    def _take_header(self, value: Any) -> None:
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise SnapshotFormatError("this is not a store snapshot")
        if value["version"] != VERSION:
            raise SnapshotFormatError(
                f"store snapshot version {value['version']} is not {VERSION}, which is known here"
            )
        self.header = value

    def _take_nodes(self, rows: Sequence[Row]) -> None:
        directories = self._directories
        for number, name, value, created_index, modified_index, expiration_ns in rows:
            if created_index == modified_index:
                modified_index = created_index  # one number in memory instead of two
            if value is None:
                directory = Directory(created_index, modified_index, expiration_ns)
                directories[number].children[name] = directory
                directories.append(directory)
            else:
                directories[number].children[name] = File(value, created_index, modified_index, expiration_ns)
        self._nodes += len(rows)


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
