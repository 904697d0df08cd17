"""What happened to a node, as clients are told (etcd 3.4, etcdserver/api/v2store/event.go and node_extern.go)."""

from __future__ import annotations

from typing import NamedTuple


class NodeView(NamedTuple):
    """One node as an answer shows it. `value` is None where JSON has no `value` (directories, deleted and expired
    nodes); `expiration_ns` is in nanoseconds since the epoch, `ttl` in whole seconds, rounded up. The root's `key`
    is ""."""

    key: str
    value: str | None
    dir: bool
    modified_index: int
    created_index: int
    expiration_ns: int | None = None
    ttl: int = 0
    nodes: tuple[NodeView, ...] | None = None


class Event:
    """`index` is the store index of the event; `store_index` the store's index when the answer was made; `refresh`
    says that no watcher may see it. `created` is HTTP's 201 against 200. `rendered` holds the body once somebody has
    rendered it, `chunked` the body as a chunk: an event that a thousand watchers want is rendered once.
    """

    __slots__ = ("action", "chunked", "index", "node", "prev_node", "refresh", "rendered", "store_index")

    def __init__(
        self,
        action: str,
        node: NodeView,
        prev_node: NodeView | None = None,
        store_index: int = 0,
        refresh: bool = False,
    ) -> None:
        self.action = action
        self.node = node
        self.prev_node = prev_node
        self.index = node.modified_index
        self.store_index = store_index
        self.refresh = refresh
        self.rendered: bytes | None = None
        self.chunked: bytes | None = None

    @property
    def created(self) -> bool:
        """True for an answer with HTTP 201 (etcd: Event.IsCreated)."""
        return self.action == "create" or (self.action == "set" and self.prev_node is None)
