"""A place in the tree: a `File` holds text, a `Directory` holds more places.

Owns the fields of one node and how it looks to a client. It knows neither its parent nor its own name, so that nodes
form no reference cycles (reference counting alone frees a deleted tree, and a collector that is frozen has nothing to
find) and a key costs only the bytes of its last component. Half a million of these exist at once: every slot counts.
"""

from __future__ import annotations

from typing import TypeAlias

from etcdpy.store.event import NodeView

_SECOND_NS = 1_000_000_000
_MIN_DURATION_NS = -(2**63)


class KeyNode:
    """What both kinds have. `expiration_ns` is in nanoseconds since the epoch, None for a permanent node."""

    __slots__ = ("created_index", "expiration_ns", "modified_index")

    def __init__(self, created_index: int, modified_index: int, expiration_ns: int | None) -> None:
        self.created_index = created_index
        self.modified_index = modified_index
        self.expiration_ns = expiration_ns

    def seconds_left(self, now_ns: int) -> int:
        """The TTL that clients see: rounded up, negative for an overdue node, 0 for a permanent one."""
        if self.expiration_ns is None:
            return 0
        return -(-max(self.expiration_ns - now_ns, _MIN_DURATION_NS) // _SECOND_NS)


class File(KeyNode):
    __slots__ = ("value",)

    def __init__(self, value: str, created_index: int, modified_index: int, expiration_ns: int | None) -> None:
        self.value = value
        self.created_index = created_index
        self.modified_index = modified_index
        self.expiration_ns = expiration_ns

    def view(self, key: str, now_ns: int) -> NodeView:
        expiration_ns = self.expiration_ns
        ttl = 0 if expiration_ns is None else self.seconds_left(now_ns)
        return NodeView(key, self.value, False, self.modified_index, self.created_index, expiration_ns, ttl)


class Directory(KeyNode):
    """`children` keeps the order in which names were first added: every member lists them alike."""

    __slots__ = ("children",)

    def __init__(self, created_index: int, modified_index: int, expiration_ns: int | None) -> None:
        self.children: dict[str, Node] = {}
        self.created_index = created_index
        self.modified_index = modified_index
        self.expiration_ns = expiration_ns

    def view(self, key: str, now_ns: int, nodes: tuple[NodeView, ...] | None = None) -> NodeView:
        """The directory itself; children only as far as they are given."""
        ttl = self.seconds_left(now_ns)
        return NodeView(key, None, True, self.modified_index, self.created_index, self.expiration_ns, ttl, nodes)

    def visible_children(self, in_order: bool) -> list[tuple[str, Node]]:
        """What a listing shows: children whose name does not begin with `_`, by name's bytes if `in_order`."""
        shown = [item for item in self.children.items() if not item[0].startswith("_")]
        if in_order:
            shown.sort(key=lambda item: item[0].encode("utf-8", "surrogateescape"))
        return shown


Node: TypeAlias = File | Directory
